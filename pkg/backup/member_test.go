package backup_test

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/backup"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/survey"
)

// balance listens before several members, and gives each connection to the next.
func balance(t *testing.T, endpoints ...string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	var n atomic.Int64
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			socket := strings.TrimPrefix(endpoints[int(n.Add(1))%len(endpoints)], "unix://")
			go func() {
				defer func() { _ = client.Close() }()
				server, err := net.Dial("unix", socket)
				if err != nil {
					return
				}
				defer func() { _ = server.Close() }()
				go func() { _, _ = io.Copy(server, client) }()
				_, _ = io.Copy(client, server)
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

// TestLoadBalancer: the member whose health and hash were asked has to be the one that gives the bytes. Behind a load
// balancer it may be another, of which nothing is known.
func TestLoadBalancer(t *testing.T) {
	t.Parallel()
	c := cluster(t, "3.6", "3.6", "3.6")
	cfg := config(t, balance(t, endpoints(c)...))
	_, err := run(t, cfg, &listener{})
	var other *backup.ErrOtherMember
	if !errors.As(err, &other) || other.Endpoint != cfg.Direct[0].Endpoint || other.Answers == other.Member || !strings.HasPrefix(other.Answers, "m") {
		t.Fatalf("%v", err)
	}
	if !strings.Contains(other.Hint(), "--endpoint") || !strings.Contains(err.Error(), "another member answers at "+cfg.Direct[0].Endpoint) {
		t.Errorf("%v; hint: %s", err, other.Hint())
	}
	empty(t, cfg.To)
	// One that gives all connections to one member is as good as the member.
	must(t, config(t, balance(t, c.Members[1].Endpoint)))
}

// TestOneMemberTwice: two names of one member are one voter.
func TestOneMemberTwice(t *testing.T) {
	t.Parallel()
	c := cluster(t, "3.6")
	cfg := config(t, c.Members[0].Endpoint, balance(t, c.Members[0].Endpoint))
	r := must(t, cfg)
	if len(r.Survey.Members) != 1 || r.Survey.Consistency != survey.NotAsked || r.Survey.Note != "" {
		t.Errorf("%+v", r.Survey)
	}
	cfg.To, cfg.Member = t.TempDir(), cfg.Plane.Members[1].Name
	if r = must(t, cfg); r.Snapshot.Source.Member != "m1" {
		t.Errorf("%+v", r.Snapshot.Source)
	}
}
