package etcd_test

import (
	"context"
	"crypto/tls"
	"net"
	"os"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify/etcdtest"
)

// TestReset: of a server that does not accept the client's certificate often only the end of the connection is heard, not the
// reason before it. Another certificate may do better all the same.
func TestReset(t *testing.T) {
	t.Parallel()
	f := etcdtest.NewTLS(t)
	pair, err := tls.LoadX509KeyPair(f.ServerCert, f.ServerKey)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2"}})
			_ = s.Handshake()
			_ = c.(*net.TCPConn).SetLinger(0) // a reset, and no alert
			_ = c.Close()
		}
	}()
	var client etcd.TLS
	for into, path := range map[*[]byte]string{&client.CA: f.CA, &client.Cert: f.OtherCert, &client.Key: f.OtherKey} {
		if *into, err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, err := etcd.Dial(ctx, etcd.Config{Endpoint: "https://" + l.Addr().String(), TLS: &client})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = c.Status(ctx)
	var tries etcd.Tries
	if err == nil || !etcd.IsTLS(err) || !tries.Failed("ca", "cert", "key", err) || tries.Worth("ca", "cert", "key") {
		t.Errorf("not about the certificate: %v", err)
	}
}
