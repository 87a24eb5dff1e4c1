package etcd_test

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify/etcdtest"
)

// freePort was free a moment ago.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// TestWrongPorts: what an endpoint is that is no port for clients, or not with that scheme, is said.
func TestWrongPorts(t *testing.T) {
	t.Parallel()
	for _, minor := range etcdtest.Minors {
		t.Run(minor, func(t *testing.T) {
			t.Parallel()
			metrics := fmt.Sprintf("http://127.0.0.1:%d", freePort(t))
			b := []etcdtest.Binaries{etcdtest.Find(t, minor)}
			secure := etcdtest.StartCluster(t, etcdtest.Config{Binaries: b, TLS: true, PeerTLS: true, Args: []string{"--listen-metrics-urls", metrics}})
			open := etcdtest.StartCluster(t, etcdtest.Config{Binaries: b, Host: "127.0.0.1"})
			f, m := secure.TLS, secure.Members[0]
			tls := func(url string) string { return strings.Replace(url, "http:", "https:", 1) }
			plain := func(url string) string { return strings.Replace(url, "https:", "http:", 1) }
			const noTLS, wantTLS, other = "does this endpoint speak no TLS?", "does this endpoint want https?", "is this the port of etcd's metrics, or of its peers?"
			for _, c := range []struct{ endpoint, cert, key, want string }{
				{metrics, f.Cert, f.Key, other},
				{tls(metrics), f.Cert, f.Key, noTLS},
				{m.PeerURL, f.Cert, f.Key, other},
				{plain(m.PeerURL), f.Cert, f.Key, wantTLS},
				{tls(open.Members[0].Endpoint), f.Cert, f.Key, noTLS},
				{plain(m.Endpoint), f.Cert, f.Key, wantTLS},
				{m.Endpoint, f.NotClientCert, f.NotClientKey, "the client certificate is not for clients"},
			} {
				files, err := etcd.ReadTLS(f.CA, c.cert, c.key)
				if err != nil {
					t.Fatal(err)
				}
				_, err = dial(t, etcd.Config{Endpoint: c.endpoint, TLS: files}).Status(soon(t))
				wantError(t, err, c.want, c.endpoint)
			}
		})
	}
}
