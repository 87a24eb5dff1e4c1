//go:build e2e

package e2e

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// userPKI is what a user cluster's API servers and their clients are known by. All of it is PEM.
type userPKI struct {
	CA                        []byte
	Server, Admin, Manager    pair
	AccountKey, AccountPublic []byte // for service accounts' tokens
}

// pair is a certificate with its key.
type pair struct{ Cert, Key []byte }

// authority signs.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t testing.TB, name string) authority {
	t.Helper()
	a := authority{cert: certificate(name), key: newKey(t)}
	a.cert.IsCA, a.cert.BasicConstraintsValid, a.cert.KeyUsage = true, true, x509.KeyUsageCertSign
	a.pem = a.sign(t, a.cert, a.key)
	return a
}

func (a authority) sign(t testing.TB, c *x509.Certificate, k *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, k.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return block("CERTIFICATE", der)
}

// issue makes a certificate with its key.
func (a authority) issue(t testing.TB, c *x509.Certificate, usage ...x509.ExtKeyUsage) pair {
	t.Helper()
	k := newKey(t)
	c.ExtKeyUsage = usage
	return pair{a.sign(t, c, k), keyPEM(t, k)}
}

// makeUserPKI makes the API servers' anew, for these names and addresses.
func makeUserPKI(t testing.TB, names []string, ips []net.IP) userPKI {
	t.Helper()
	ca, account := newAuthority(t, "e2e user cluster CA"), newKey(t)
	server, admin := certificate("kube-apiserver"), certificate("kubernetes-admin")
	server.DNSNames, server.IPAddresses, admin.Subject.Organization = names, ips, []string{"system:masters"}
	public, err := x509.MarshalPKIXPublicKey(account.Public())
	if err != nil {
		t.Fatal(err)
	}
	return userPKI{
		CA: ca.pem, Server: ca.issue(t, server, x509.ExtKeyUsageServerAuth), Admin: ca.issue(t, admin, x509.ExtKeyUsageClientAuth),
		Manager:    ca.issue(t, certificate("system:kube-controller-manager"), x509.ExtKeyUsageClientAuth),
		AccountKey: keyPEM(t, account), AccountPublic: block("PUBLIC KEY", public),
	}
}

// makeEtcdPKI makes etcd's. A member checks that a peer's certificate is for the address that it calls from, which is its
// node's where the network masquerades what goes from node to node: hence the nodes' addresses.
func makeEtcdPKI(t testing.TB, names []string, ips []net.IP) certs {
	t.Helper()
	ca, c := newAuthority(t, "e2e etcd CA"), certificate("kube-etcd")
	c.DNSNames, c.IPAddresses = names, ips
	p := ca.issue(t, c, x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth)
	return certs{CA: ca.pem, Cert: p.Cert, Key: p.Key, ca: &ca}
}

// certificate is for nothing yet, and valid for a day.
func certificate(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, KeyUsage: x509.KeyUsageDigitalSignature,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
}

func keyPEM(t testing.TB, k *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return block("EC PRIVATE KEY", der)
}

// kubeconfig is one for this address and this client.
func (p userPKI) kubeconfig(t testing.TB, server string, client pair) []byte {
	t.Helper()
	text, err := clientcmd.Write(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{"user": {Server: server, CertificateAuthorityData: p.CA}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{"user": {ClientCertificateData: client.Cert, ClientKeyData: client.Key}},
		Contexts:       map[string]*clientcmdapi.Context{"user": {Cluster: "user", AuthInfo: "user"}},
		CurrentContext: "user",
	})
	if err != nil {
		t.Fatal(err)
	}
	return text
}
