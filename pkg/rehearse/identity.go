package rehearse

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
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
// name in a client certificate of the CA that it was started with, and this one is started by us. The CA and our own key
// never leave this process; etcd's key is in dir, which is removed.
type identity struct {
	args   []string // etcd's
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
	key, err := x509.MarshalPKCS8PrivateKey(server.PrivateKey)
	if err != nil {
		return nil, fmt.Errorf("encode key: %w", err)
	}
	id := &identity{args: []string{"--client-cert-auth"}}
	for _, f := range []struct {
		flag, name, kind string
		der              []byte
	}{
		{"--trusted-ca-file", "ca.crt", "CERTIFICATE", ca.cert.Raw},
		{"--cert-file", "server.crt", "CERTIFICATE", server.Certificate[0]},
		{"--key-file", "server.key", "PRIVATE KEY", key},
	} {
		path := filepath.Join(dir, f.name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: f.kind, Bytes: f.der}), 0o600); err != nil {
			return nil, fmt.Errorf("write certificate: %w", err)
		}
		id.args = append(id.args, f.flag, path)
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	id.client = &tls.Config{Certificates: []tls.Certificate{client}, RootCAs: pool, MinVersion: tls.VersionTLS12}
	return id, nil
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
