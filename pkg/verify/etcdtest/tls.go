package etcdtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TLS are PEM files: a CA, a server's and a client's certificate of it, and a CA and a client's certificate that have
// nothing to do with them.
type TLS struct {
	CA, ServerCert, ServerKey, Cert, Key string
	OtherCA, OtherCert, OtherKey         string
	// MovedCert is of the CA, and for another address than that of any member.
	MovedCert, MovedKey string
	// NotClientCert is of the CA, and for servers only.
	NotClientCert, NotClientKey string
}

// ServerName is a name in the server's certificate, which is also valid for 127.0.0.1, ::1 and localhost.
const ServerName = "etcd.test"

// NewTLS writes the files for the time of the test.
func NewTLS(t testing.TB) *TLS {
	t.Helper()
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	f := &TLS{
		CA: path("ca.crt"), ServerCert: path("server.crt"), ServerKey: path("server.key"), Cert: path("client.crt"), Key: path("client.key"),
		OtherCA: path("other-ca.crt"), OtherCert: path("other.crt"), OtherKey: path("other.key"),
		MovedCert: path("moved.crt"), MovedKey: path("moved.key"), NotClientCert: path("not-client.crt"), NotClientKey: path("not-client.key"),
	}
	ca := newAuthority(t, f.CA)
	here := []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	both := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	ca.issue(t, "server", f.ServerCert, f.ServerKey, here, both)
	ca.issue(t, "client", f.Cert, f.Key, here, both)
	ca.issue(t, "server", f.MovedCert, f.MovedKey, []net.IP{net.IPv4(192, 0, 2, 7)}, both)
	ca.issue(t, "server", f.NotClientCert, f.NotClientKey, here, both[:1])
	newAuthority(t, f.OtherCA).issue(t, "client", f.OtherCert, f.OtherKey, here, both)
	return f
}

type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB, path string) *authority {
	t.Helper()
	tmpl := template("authority")
	tmpl.IsCA, tmpl.BasicConstraintsValid, tmpl.KeyUsage = true, true, x509.KeyUsageCertSign|x509.KeyUsageDigitalSignature
	key := newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, path, "CERTIFICATE", der)
	return &authority{cert, key}
}

func (a *authority) issue(t testing.TB, name, certPath, keyPath string, ips []net.IP, usage []x509.ExtKeyUsage) {
	t.Helper()
	tmpl := template(name)
	tmpl.KeyUsage, tmpl.ExtKeyUsage = x509.KeyUsageDigitalSignature, usage
	tmpl.DNSNames, tmpl.IPAddresses = []string{ServerName}, ips
	if ips[0].IsLoopback() {
		tmpl.DNSNames = []string{"localhost", ServerName}
	}
	key := newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	k, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, certPath, "CERTIFICATE", der)
	writePEM(t, keyPath, "PRIVATE KEY", k)
}

func template(name string) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62))
	return &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func writePEM(t testing.TB, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}
