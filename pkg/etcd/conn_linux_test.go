package etcd_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/snapshot"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify/etcdtest"
)

func dial(t *testing.T, cfg etcd.Config) *etcd.Conn {
	t.Helper()
	c, err := etcd.Dial(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestEveryMinor(t *testing.T) {
	t.Parallel()
	for _, minor := range etcdtest.Minors {
		t.Run(minor, func(t *testing.T) {
			t.Parallel()
			s := etcdtest.Start(t, etcdtest.Find(t, minor))
			live := s.Fill(t, 100)
			c := dial(t, etcd.Config{Endpoint: s.Endpoint})
			ctx := soon(t)

			st, err := c.Status(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(st.Version, minor+".") || st.Leader != st.MemberID || st.Latency <= 0 || st.Revision < 100 || st.DBSize == 0 || len(st.Errors) > 0 {
				t.Errorf("status: %+v", st)
			}
			members, err := c.Members(ctx)
			if err != nil || len(members) != 1 || members[0].ID != st.MemberID || members[0].Name != "test" {
				t.Errorf("members: %+v, %v", members, err)
			}
			if alarms, err := c.Alarms(ctx); err != nil || len(alarms) != 0 {
				t.Errorf("alarms: %v, %v", alarms, err)
			}
			keys, rev, err := c.Count(ctx, 0)
			if err != nil || keys != live || rev != st.Revision {
				t.Errorf("count: %d keys at %d, %v; want %d at %d", keys, rev, err, live, st.Revision)
			}
			hashes(t, c, st.Revision)
			stream(t, c, st)
		})
	}
}

// hashes asks for what can be answered and for what cannot: the compacted and the future.
func hashes(t *testing.T, c *etcd.Conn, rev int64) {
	t.Helper()
	now, err := c.HashKV(soon(t), 0)
	if err != nil || now.Revision != rev || now.CompactRevision <= 0 || now.Hash == 0 {
		t.Errorf("hash now: %+v, %v; want revision %d", now, err, rev)
	}
	at, err := c.HashKV(soon(t), rev)
	if err != nil || *at != *now {
		t.Errorf("hash at %d: %+v, %v; want %+v", rev, at, err, now)
	}
	for _, bad := range []int64{now.CompactRevision - 1, rev + 1000} {
		if _, err := c.HashKV(soon(t), bad); !etcd.IsRetryableHash(err) {
			t.Errorf("hash at %d (compacted to %d, now %d): %v; want a retryable error", bad, now.CompactRevision, rev, err)
		}
	}
}

func stream(t *testing.T, c *etcd.Conn, st *etcd.Status) {
	t.Helper()
	check := snapshot.NewChecker()
	var seen, remain int64 = 0, -1
	_, err := c.Snapshot(soon(t), check, func(done, remaining int64) { seen, remain = done, remaining })
	if err != nil {
		t.Fatal(err)
	}
	proof, err := check.Finish()
	if err != nil || !proof.Trailer || proof.Size != seen || remain != 0 {
		t.Errorf("snapshot: %+v, %v; progress ended at %d with %d to go", proof, err, seen, remain)
	}
}

func TestAlarm(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t, etcdtest.Find(t, "3.6"), "--quota-backend-bytes", "65536")
	ctx := soon(t)
	for i := range 1000 {
		if _, err := s.Client.Put(ctx, "key", strings.Repeat("x", 20000+i)); err != nil {
			break
		}
	}
	c := dial(t, etcd.Config{Endpoint: s.Endpoint})
	st, err := c.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	alarms, err := c.Alarms(ctx)
	if err != nil || len(alarms) != 1 || alarms[0].Type != "NOSPACE" || alarms[0].MemberID != st.MemberID {
		t.Errorf("alarms: %v, %v", alarms, err)
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	cl := etcdtest.StartCluster(t, etcdtest.Config{Binaries: []etcdtest.Binaries{etcdtest.Find(t, "3.6")}, TLS: true})
	endpoint, f := cl.Members[0].Endpoint, cl.TLS
	plain := strings.Replace(endpoint, "https:", "http:", 1)
	broken := filepath.Join(t.TempDir(), "broken.crt")
	if err := os.WriteFile(broken, []byte("not PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name                string
		endpoint            string
		ca, cert, key, host string
		want                string // in the error; "" for success
	}{
		{"good", endpoint, f.CA, f.Cert, f.Key, "", ""},
		{"another name of the certificate", endpoint, f.CA, f.Cert, f.Key, etcdtest.ServerName, ""},
		{"wrong CA", endpoint, f.OtherCA, f.Cert, f.Key, "", "certificate signed by unknown authority"},
		{"wrong server name", endpoint, f.CA, f.Cert, f.Key, "db.example.com", "certificate is valid for localhost, etcd.test, not db.example.com"},
		{"no client certificate", endpoint, f.CA, "", "", "", "certificate required"},
		{"client certificate of another CA", endpoint, f.CA, f.OtherCert, f.OtherKey, "", "unknown certificate authority"},
		{"no TLS", plain, "", "", "", "", "does this endpoint want https?"},
		{"key of another certificate", endpoint, f.CA, f.Cert, f.OtherKey, "", "read client certificate"},
		{"CA that is none", endpoint, broken, f.Cert, f.Key, "", "read CA certificate"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			files, err := etcd.ReadTLS(c.ca, c.cert, c.key)
			if err != nil {
				t.Fatal(err)
			}
			ctx := soon(t)
			conn, err := etcd.Dial(ctx, etcd.Config{Endpoint: c.endpoint, TLS: files, ServerName: c.host})
			if err == nil {
				defer conn.Close()
				_, err = conn.Status(ctx)
			}
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			wantError(t, err, c.want, c.endpoint)
		})
	}
}

// wantError checks that an error says what is wrong with which endpoint, in words that are not gRPC's.
func wantError(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q lacks %q", err, w)
		}
	}
	for _, w := range []string{"rpc error", "desc =", "transport:"} {
		if strings.Contains(err.Error(), w) {
			t.Errorf("error %q speaks gRPC: %q", err, w)
		}
	}
}

func TestEndpoints(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ endpoint, want string }{
		{"10.0.0.1:2379", "want https://"},
		{"https://10.0.0.1", "want scheme://host:port"},
		{"ftp://10.0.0.1:2379", "want https://"},
		{"://", "parse endpoint"},
		{"https://10.0.0.1:2379", "no TLS files"},
	} {
		_, err := etcd.Dial(t.Context(), etcd.Config{Endpoint: c.endpoint})
		wantError(t, err, c.want, c.endpoint)
	}
	if _, err := etcd.ReadTLS(filepath.Join(t.TempDir(), "absent.crt"), "", ""); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent CA: %v", err)
	}
	c := dial(t, etcd.Config{Endpoint: "http://127.0.0.1:1"})
	_, err := c.Status(soon(t))
	wantError(t, err, "http://127.0.0.1:1", "connection refused")
}

func TestIPv6(t *testing.T) {
	t.Parallel()
	cl := etcdtest.StartCluster(t, etcdtest.Config{Binaries: []etcdtest.Binaries{etcdtest.Find(t, "3.7")}, TLS: true, Host: "[::1]"})
	files, err := etcd.ReadTLS(cl.TLS.CA, cl.TLS.Cert, cl.TLS.Key)
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, etcd.Config{Endpoint: cl.Members[0].Endpoint, TLS: files})
	if s, err := c.Status(soon(t)); err != nil || s.Latency == 0 {
		t.Errorf("status over IPv6: %+v, %v", s, err)
	}
}

func TestAuth(t *testing.T) {
	t.Parallel()
	for _, minor := range etcdtest.Minors {
		t.Run(minor, func(t *testing.T) {
			t.Parallel()
			s := etcdtest.Start(t, etcdtest.Find(t, minor))
			s.Fill(t, 20)
			s.EnableAuth(t)
			ctx := soon(t)

			root := dial(t, etcd.Config{Endpoint: s.Endpoint, Username: "root", Password: etcdtest.Password})
			st, err := root.Status(ctx)
			if err != nil || len(st.Errors) > 0 {
				t.Fatalf("status: %+v, %v", st, err)
			}
			hashes(t, root, st.Revision)
			stream(t, root, st)
			if _, err := root.Members(ctx); err != nil {
				t.Error(err)
			}
			if _, err := root.Alarms(ctx); err != nil {
				t.Error(err)
			}

			_, err = etcd.Dial(ctx, etcd.Config{Endpoint: s.Endpoint, Username: "root", Password: "wrong"})
			wantError(t, err, "authenticate root at", s.Endpoint, "authentication failed, invalid user ID or password")
			if strings.Contains(err.Error(), "wrong") {
				t.Errorf("the password is in the error: %v", err)
			}
			_, err = dial(t, etcd.Config{Endpoint: s.Endpoint}).Snapshot(ctx, io.Discard, func(int64, int64) {})
			wantError(t, err, s.Endpoint, "user name is empty")
			guest := dial(t, etcd.Config{Endpoint: s.Endpoint, Username: "guest", Password: etcdtest.Password})
			_, err = guest.Snapshot(ctx, io.Discard, func(int64, int64) {})
			wantError(t, err, s.Endpoint, "permission denied")
			// Where a guest may ask for the status, that the read is denied proves a quorum as well as an answer does.
			if st, err := guest.Status(ctx); err != nil {
				wantError(t, err, s.Endpoint, "permission denied")
			} else if st.Latency == 0 {
				t.Errorf("guest's status: %+v", st)
			}
		})
	}
}

func TestLearner(t *testing.T) {
	t.Parallel()
	b := etcdtest.Find(t, "3.6")
	cl := etcdtest.StartCluster(t, etcdtest.Config{Binaries: []etcdtest.Binaries{b}})
	l := cl.AddLearner(t, b)
	c := dial(t, etcd.Config{Endpoint: l.Endpoint})
	s, err := c.Status(soon(t))
	if err != nil || !s.IsLearner || s.Latency != 0 || s.Leader == 0 {
		t.Errorf("learner's status: %+v, %v", s, err)
	}
}

func TestNoQuorum(t *testing.T) {
	t.Parallel()
	b := etcdtest.Find(t, "3.6")
	cl := etcdtest.StartCluster(t, etcdtest.Config{Binaries: []etcdtest.Binaries{b, b, b}})
	cl.Members[0].Stop()
	cl.Members[1].Stop()
	c := dial(t, etcd.Config{Endpoint: cl.Members[2].Endpoint})
	for {
		s, err := c.Status(soon(t))
		if err != nil {
			t.Fatal(err)
		}
		if s.Leader == 0 && s.Latency == 0 && len(s.Errors) > 0 {
			break // it has noticed that it is alone
		}
	}
}

// held stops a process until the test ends, without ending it.
func held(t *testing.T, p *os.Process) {
	t.Helper()
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	// All of its threads have stopped when this says so; whoever waits for its end still can.
	if err := unix.Waitid(unix.P_PID, p.Pid, nil, unix.WSTOPPED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Signal(syscall.SIGCONT) })
}

func TestHang(t *testing.T) {
	t.Parallel()
	cl := etcdtest.StartCluster(t, etcdtest.Config{Binaries: []etcdtest.Binaries{etcdtest.Find(t, "3.6")}})
	m := cl.Members[0]
	c := dial(t, etcd.Config{Endpoint: m.Endpoint})
	if _, err := c.Status(soon(t)); err != nil {
		t.Fatal(err)
	}
	held(t, m.Process())
	for what, ask := range map[string]func(context.Context) error{
		"status":   func(ctx context.Context) error { _, err := c.Status(ctx); return err },
		"members":  func(ctx context.Context) error { _, err := c.Members(ctx); return err },
		"hash":     func(ctx context.Context) error { _, err := c.HashKV(ctx, 0); return err },
		"count":    func(ctx context.Context) error { _, _, err := c.Count(ctx, 0); return err },
		"snapshot": func(ctx context.Context) error { _, err := c.Snapshot(ctx, io.Discard, nil); return err },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		start := time.Now()
		err := ask(ctx)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 5*time.Second {
			t.Errorf("%s of an etcd that hangs: %v after %s", what, err, time.Since(start))
		}
		wantError(t, err, m.Endpoint)
	}
}

// brake lets nothing through until it is released, so that a snapshot is under way for as long as a test wants.
type brake struct {
	bytes.Buffer
	reached chan struct{}
	release chan struct{}
}

func (b *brake) Write(p []byte) (int, error) {
	if b.reached != nil {
		close(b.reached)
		b.reached = nil
		<-b.release
	}
	return b.Buffer.Write(p)
}

func TestSnapshotOfHangingServer(t *testing.T) {
	t.Parallel()
	m := bigMember(t)
	c := dial(t, etcd.WithPingTimeout(etcd.Config{Endpoint: m.Endpoint}, 2*time.Second))
	b := &brake{reached: make(chan struct{}), release: make(chan struct{})}
	reached := b.reached
	done := make(chan error, 1)
	go func() {
		_, err := c.Snapshot(t.Context(), b, func(int64, int64) {})
		done <- err
	}()
	<-reached
	held(t, m.Process())
	close(b.release)
	select {
	case err := <-done:
		if !errors.Is(err, etcd.ErrCut) {
			t.Errorf("snapshot of an etcd that hangs: %v", err)
		}
		wantError(t, err, m.Endpoint, "the connection broke")
	case <-time.After(45 * time.Second):
		t.Error("the snapshot of an etcd that hangs never ends")
	}
}

// bigMember has more data than fits what a connection may hold of it unread.
func bigMember(t *testing.T) *etcdtest.Member {
	t.Helper()
	cl := etcdtest.StartCluster(t, etcdtest.Config{Binaries: []etcdtest.Binaries{etcdtest.Find(t, "3.6")}})
	cl.PutBytes(t, 24<<20)
	return cl.Members[0]
}

func TestSnapshotCut(t *testing.T) {
	t.Parallel()
	p := etcdtest.NewProxy(t, bigMember(t).Endpoint)
	p.CutAfter(5<<20, 1)
	c := dial(t, etcd.Config{Endpoint: p.Endpoint})
	_, err := c.Snapshot(soon(t), io.Discard, func(int64, int64) {})
	if !errors.Is(err, etcd.ErrCut) {
		t.Errorf("snapshot through a link that is cut: %v", err)
	}
	wantError(t, err, p.Endpoint, "after")

	// The writer's own failure is not the link's.
	full := errors.New("full")
	if _, err := c.Snapshot(soon(t), failing{full}, func(int64, int64) {}); !errors.Is(err, full) || errors.Is(err, etcd.ErrCut) {
		t.Errorf("snapshot to a writer that fails: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err = c.Snapshot(ctx, io.Discard, func(int64, int64) { cancel() })
	if !errors.Is(err, context.Canceled) || errors.Is(err, etcd.ErrCut) {
		t.Errorf("cancelled snapshot: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }
