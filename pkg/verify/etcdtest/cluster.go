package etcdtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// Config says what cluster to start.
type Config struct {
	// Binaries has one entry for each member; they may be of different versions.
	Binaries []Binaries
	// TLS serves clients on https, only with a certificate of Cluster.TLS. Otherwise they are served on unix sockets.
	TLS bool
	// PeerTLS has members talk to each other with TLS, on ports of the loopback, both sides showing a certificate that
	// is for this address. It needs TLS.
	PeerTLS bool
	// Host is what members listen on instead of unix sockets: 127.0.0.1 or [::1]. TLS implies the former.
	Host string
	// Args are passed to every member.
	Args []string
}

// Cluster is a running etcd cluster whose members can be stopped, held and changed one by one.
type Cluster struct {
	Members []*Member
	// TLS is nil without Config.TLS.
	TLS *TLS

	cfg Config
	dir string
}

// Member is one etcd process.
type Member struct {
	Binaries
	Name     string
	Endpoint string
	// DB is the path of the database.
	DB string
	// PeerURL is what it tells the others.
	PeerURL string

	cluster *Cluster
	args    []string
	cmd     *exec.Cmd
	log     *words
	done    chan struct{}
}

// StartCluster starts a cluster that is stopped at the end of the test, and waits until every member serves
// linearizable reads.
func StartCluster(t testing.TB, cfg Config) *Cluster {
	t.Helper()
	dir, err := os.MkdirTemp("", "etcdtest")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	c := &Cluster{cfg: cfg, dir: dir}
	if cfg.TLS {
		c.TLS = NewTLS(t)
		if c.cfg.Host == "" {
			c.cfg.Host = "127.0.0.1"
		}
	}
	var initial []string
	for i, b := range cfg.Binaries {
		m := c.newMember(t, fmt.Sprintf("m%d", i+1), b)
		initial = append(initial, m.Name+"="+m.PeerURL)
		c.Members = append(c.Members, m)
	}
	for _, m := range c.Members {
		m.args = append(m.args, "--initial-cluster", strings.Join(initial, ","))
		m.Start(t)
	}
	for _, m := range c.Members {
		m.Wait(t)
	}
	return c
}

func (c *Cluster) newMember(t testing.TB, name string, b Binaries) *Member {
	t.Helper()
	m := &Member{Binaries: b, Name: name, cluster: c, DB: filepath.Join(c.dir, name, "member", "snap", "db"), PeerURL: "unix://" + name + "-peer.sock:0"}
	if c.cfg.PeerTLS {
		m.PeerURL = strings.Replace(freeURL(t), "http:", "https:", 1)
	}
	client := "unix://" + name + ".sock:0"
	m.Endpoint = "unix://" + c.dir + "/" + name + ".sock:0"
	if c.cfg.Host != "" {
		client = freeURLOn(t, c.cfg.Host)
		if c.TLS != nil {
			client = strings.Replace(client, "http:", "https:", 1)
		}
		m.Endpoint = client
	}
	m.args = append([]string{"--name", name, "--data-dir", name, "--logger", "zap",
		"--listen-client-urls", client, "--advertise-client-urls", client,
		"--listen-peer-urls", m.PeerURL, "--initial-advertise-peer-urls", m.PeerURL,
		"--heartbeat-interval", "50", "--election-timeout", "500", "--unsafe-no-fsync",
		// Members that are young may add a learner.
		"--strict-reconfig-check=false"}, c.cfg.Args...)
	if c.TLS != nil {
		m.args = append(m.args, "--cert-file", c.TLS.ServerCert, "--key-file", c.TLS.ServerKey,
			"--trusted-ca-file", c.TLS.CA, "--client-cert-auth")
	}
	if c.cfg.PeerTLS {
		m.args = append(m.args, "--peer-cert-file", c.TLS.ServerCert, "--peer-key-file", c.TLS.ServerKey,
			"--peer-trusted-ca-file", c.TLS.CA, "--peer-client-cert-auth")
	}
	return m
}

// AddLearner adds a member that does not vote and waits until it answers. It needs a leader.
func (c *Cluster) AddLearner(t testing.TB, b Binaries) *Member {
	t.Helper()
	m := c.newMember(t, fmt.Sprintf("m%d", len(c.Members)+1), b)
	// A member that joins before the others have agreed on their version gives up.
	c.Members[0].until(t, "the cluster's version is decided", func(ctx context.Context) error {
		_, err := c.Members[0].Client(t).Downgrade(ctx, clientv3.DowngradeValidate, "3.0.0")
		if errors.Is(err, rpctypes.ErrClusterVersionUnavailable) {
			return err
		}
		return nil // whatever it says of that version
	})
	r, err := c.Members[0].Client(t).MemberAddAsLearner(t.Context(), []string{m.PeerURL})
	if err != nil {
		t.Fatalf("add learner: %v", err)
	}
	initial := []string{m.Name + "=" + m.PeerURL}
	for _, o := range c.Members {
		initial = append(initial, o.Name+"="+o.PeerURL)
	}
	m.args = append(m.args, "--initial-cluster", strings.Join(initial, ","), "--initial-cluster-state", "existing")
	m.Start(t)
	cl := m.Client(t)
	m.until(t, "learner joins", func(ctx context.Context) error {
		s, err := cl.Status(ctx, m.Endpoint)
		if err == nil && (s.Header.MemberId != r.Member.ID || s.RaftAppliedIndex == 0) {
			err = fmt.Errorf("status: %v", s)
		}
		return err
	})
	c.Members = append(c.Members, m)
	return m
}

// Leader is the member that leads now.
func (c *Cluster) Leader(t testing.TB) *Member {
	t.Helper()
	for _, m := range c.Members {
		if m.cmd == nil {
			continue
		}
		ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
		s, err := m.Client(t).Status(ctx, m.Endpoint)
		cancel()
		if err == nil && s.Leader == s.Header.MemberId {
			return m
		}
	}
	t.Fatal("no member leads")
	return nil
}

// Followers are the others that run.
func (c *Cluster) Followers(t testing.TB) []*Member {
	t.Helper()
	l := c.Leader(t)
	var out []*Member
	for _, m := range c.Members {
		if m != l && m.cmd != nil {
			out = append(out, m)
		}
	}
	return out
}

// Put writes one key through the first member that runs.
func (c *Cluster) Put(t testing.TB, key, value string) {
	t.Helper()
	for _, m := range c.Members {
		if m.cmd == nil {
			continue
		}
		ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
		defer cancel()
		if _, err := m.Client(t).Put(ctx, key, value); err != nil {
			t.Fatalf("put %s: %v", key, err)
		}
		return
	}
	t.Fatal("no member runs")
}

// Client is a client of this member alone, closed at the end of the test.
func (m *Member) Client(t testing.TB) *clientv3.Client {
	t.Helper()
	cfg := clientv3.Config{Endpoints: []string{m.Endpoint}, DialTimeout: startTimeout, Logger: zap.NewNop()}
	if m.cluster.TLS != nil {
		cfg.TLS = m.cluster.TLS.client(t)
	}
	c, err := clientv3.New(cfg)
	if err != nil {
		t.Fatalf("connect to etcd: %v", err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// Start starts the member's process, at first or again.
func (m *Member) Start(t testing.TB) {
	t.Helper()
	m.log, m.done = &words{}, make(chan struct{})
	m.cmd = m.Command()
	m.cmd.Stdout, m.cmd.Stderr = m.log, m.log
	if err := m.cmd.Start(); err != nil {
		t.Fatalf("start etcd: %v", err)
	}
	cmd, done := m.cmd, m.done
	go func() { _ = cmd.Wait(); close(done) }()
	t.Cleanup(m.Stop)
}

// Log is what its process has said so far.
func (m *Member) Log() string { return m.log.String() }

// words are a process's, and can be read while it speaks.
type words struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (w *words) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(b)
}

func (w *words) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}

// Command is the member's process, not started, for a test that starts and ends it by itself.
func (m *Member) Command() *exec.Cmd {
	cmd := exec.Command(m.Etcd, m.args...)
	cmd.Dir = m.cluster.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "ETCD_UNSUPPORTED_ARCH=" + runtime.GOARCH}
	return cmd
}

// Wait waits until the member serves a linearizable read.
func (m *Member) Wait(t testing.TB) {
	t.Helper()
	c := m.Client(t)
	m.until(t, "etcd answers", func(ctx context.Context) error {
		_, err := c.Get(ctx, "health")
		return err
	})
}

func (m *Member) until(t testing.TB, what string, try func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		one, stop := context.WithTimeout(ctx, 5*time.Second)
		err := try(one)
		stop()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-m.done:
			t.Fatalf("wait until %s: %s ended\n%s", what, m.Name, m.log)
		case <-ctx.Done():
			m.Stop()
			t.Fatalf("wait until %s: %v\n%s", what, err, m.log)
		}
	}
}

// Stop ends the member and waits until it is gone; its data stays.
func (m *Member) Stop() {
	if m.cmd == nil {
		return
	}
	_ = m.cmd.Process.Kill() // also ends one that is held
	<-m.done
	m.cmd = nil
}

// Shutdown ends the member in good order, so that all it knows is in its database, not only in its log.
func (m *Member) Shutdown(t testing.TB) {
	t.Helper()
	_ = m.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-m.done:
		m.cmd = nil
	case <-time.After(startTimeout):
		t.Fatalf("%s does not end", m.Name)
	}
}

// Process is the member's, to be sent signals.
func (m *Member) Process() *os.Process { return m.cmd.Process }

// client is the TLS configuration of a client that is let in.
func (f *TLS) client(t testing.TB) *tls.Config {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(f.CA)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	return &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: pool, MinVersion: tls.VersionTLS12}
}

// PutBytes writes about n bytes of values that hardly compress, and waits until the database is that large.
func (c *Cluster) PutBytes(t testing.TB, n int) {
	t.Helper()
	const each = 128 << 10 // a large value leaves as much free behind it as it takes, where every write is a commit of its own
	value := make([]byte, each)
	client := c.Members[0].Client(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for i := range (n + each - 1) / each {
		_, _ = rand.Read(value)
		if _, err := client.Put(ctx, fmt.Sprintf("/big/%d", i), string(value)); err != nil {
			t.Fatalf("fill etcd: %v", err)
		}
	}
	m := c.Members[0]
	m.until(t, "the database has grown", func(ctx context.Context) error {
		r, err := client.Status(ctx, m.Endpoint)
		if err == nil && r.DbSize < int64(n) {
			err = fmt.Errorf("%d bytes", r.DbSize)
		}
		return err
	})
}

// Tamper changes one byte of one value behind etcd's back, as a failing disk or a bug does. The member has to be shut down.
func (m *Member) Tamper(t testing.TB) {
	t.Helper()
	db, err := bolt.Open(m.DB, 0o600, &bolt.Options{Timeout: 5 * time.Second, NoFreelistSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.Update(func(tx *bolt.Tx) error {
		b := tx.Bucket([]byte("key"))
		k, v := b.Cursor().Last()
		v = bytes.Clone(v)
		v[len(v)-1] ^= 1 // the value is the last field of an entry without a lease
		return b.Put(bytes.Clone(k), v)
	})
	if err != nil {
		t.Fatal(err)
	}
}
