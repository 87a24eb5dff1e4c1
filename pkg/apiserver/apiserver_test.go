package apiserver

import (
	"net"
	"path/filepath"
	"testing"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify/etcdtest"
)

// TestPortTaken: a port that somebody else takes before the API server does is not the end.
func TestPortTaken(t *testing.T) {
	t.Parallel()
	b := etcdtest.Find(t, "3.6")
	etcd := etcdtest.Start(t, b)
	l, err := net.Listen("tcp", loopback+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	c := Config{Program: filepath.Join(filepath.Dir(filepath.Dir(b.Etcd)), "kube-apiserver"), Dir: t.TempDir(), Endpoint: etcd.Endpoint, Prefix: "/registry"}
	tries := 0
	c.port = func() (int, error) {
		if tries++; tries < 2 {
			return l.Addr().(*net.TCPAddr).Port, nil
		}
		return freePort()
	}
	s, err := Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	s.Stop()
	if tries != 2 {
		t.Errorf("%d tries", tries)
	}
}
