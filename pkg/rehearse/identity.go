package rehearse

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// rootUser exists wherever etcd's authentication is on, and may do everything.
const rootUser = "root"

// identity makes us root at an etcd whose authentication is on, without any password: such an etcd believes the common
// name in a client certificate of the CA that it was started with, and this one is started by us. The CA's key
// never leaves this process, and our own only for a Served's other clients; etcd's key is in dir, which is removed.
type identity struct {
	args   []string // etcd's
	ca     string   // its file
	client *tls.Config
}

func newIdentity(dir string) (*identity, error) {
	ca, err := newAuthority()
	if err != nil {
		return nil, err
	}
	// Without a common name: etcd also uses this certificate as a client of itself, and must not be a user then.
	server, err := ca.issue("")
	if err != nil {
		return nil, err
	}
	client, err := ca.issue(rootUser)
	if err != nil {
		return nil, err
	}
	id := &identity{ca: filepath.Join(dir, "ca.crt")}
	if err := writePEM(id.ca, "CERTIFICATE", ca.cert.Raw); err != nil {
		return nil, err
	}
	certFile, keyFile, err := writePair(filepath.Join(dir, "server"), server)
	if err != nil {
		return nil, err
	}
	id.args = []string{"--client-cert-auth", "--trusted-ca-file", id.ca, "--cert-file", certFile, "--key-file", keyFile}
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	id.client = &tls.Config{Certificates: []tls.Certificate{client}, RootCAs: pool, MinVersion: tls.VersionTLS12}
	return id, nil
}

// writePair writes a certificate and its key, only the user's.
func writePair(path string, c tls.Certificate) (certFile, keyFile string, err error) {
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		return "", "", fmt.Errorf("encode key: %w", err)
	}
	certFile, keyFile = path+".crt", path+".key"
	return certFile, keyFile, errors.Join(writePEM(certFile, "CERTIFICATE", c.Certificate[0]), writePEM(keyFile, "PRIVATE KEY", key))
}

func writePEM(path, kind string, der []byte) error {
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		return fmt.Errorf("write certificate: %w", err)
	}
	return nil
}

type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority() (*authority, error) {
	t := certificate("kubectl-etcd-rehearsal", 1)
	t.IsCA, t.BasicConstraintsValid, t.KeyUsage = true, true, x509.KeyUsageCertSign
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("make certificate: %w", err)
	}
	return &authority{cert, key}, nil
}

// issue makes a certificate for a user, or with an empty name for the server.
func (a *authority) issue(user string) (tls.Certificate, error) {
	t := certificate(user, 2)
	t.KeyUsage = x509.KeyUsageDigitalSignature
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if user == "" {
		t.ExtKeyUsage = append(t.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
		// What etcd's client takes for the name of the host: for a socket that of the file.
		name, _, _ := strings.Cut(clientSocket, ":")
		t.DNSNames, t.IPAddresses = []string{"localhost", name}, []net.IP{net.IPv4(127, 0, 0, 1)}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make key: %w", err)
	}
	der, err := x509.CreateCertificate(rand.Reader, t, a.cert, key.Public(), a.key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// certificate is valid for longer than any rehearsal takes.
func certificate(name string, serial int64) *x509.Certificate {
	now := time.Now()
	return &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour)}
}
