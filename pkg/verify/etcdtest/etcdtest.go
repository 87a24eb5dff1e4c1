// Package etcdtest runs real etcd servers for tests.
package etcdtest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// Minors are the versions of etcd that tests run against.
var Minors = []string{"3.5", "3.6", "3.7"}

const (
	startTimeout = 30 * time.Second
	toolTimeout  = time.Minute
)

// Binaries are etcd's programs of one version.
type Binaries struct{ Etcd, Etcdctl, Etcdutl string }

// Find returns the binaries of a minor version. They are in $ETCD_BINARIES/etcd-3.6, for example, and by default where
// `make testbed-bin` puts them. Their absence fails the test: a skip would look like success.
func Find(t testing.TB, minor string) Binaries {
	t.Helper()
	dir := os.Getenv("ETCD_BINARIES")
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			t.Fatalf("find etcd binaries: %v", err)
		}
		dir = filepath.Join(cache, "kubectl-etcd-testbed", "bin")
	}
	dir = filepath.Join(dir, "etcd-"+minor)
	b := Binaries{filepath.Join(dir, "etcd"), filepath.Join(dir, "etcdctl"), filepath.Join(dir, "etcdutl")}
	for _, path := range []string{b.Etcd, b.Etcdctl, b.Etcdutl} {
		if _, err := os.Stat(path); err != nil {
			t.Fatalf("etcd %s is missing (%v); run: make testbed-bin", minor, err)
		}
	}
	return b
}

// Server is a running etcd with one member and without TLS, on a unix socket that only this user can reach.
type Server struct {
	Binaries
	// Endpoint is for etcdctl --endpoints.
	Endpoint string
	// DB is the path of the live database.
	DB     string
	Client *clientv3.Client

	cmd  *exec.Cmd
	log  *bytes.Buffer
	done chan struct{}
}

// Start starts an etcd that is stopped at the end of the test. Further arguments are passed to it.
func Start(t testing.TB, b Binaries, args ...string) *Server {
	t.Helper()
	// Not t.TempDir: its name holds the test's, and the path of a socket must be short.
	dir, err := os.MkdirTemp("", "etcdtest")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	client, peer := "unix://client.sock:0", "unix://peer.sock:0"
	if runtime.GOOS == "windows" {
		client, peer = freeURL(t), freeURL(t)
	}
	s := &Server{Binaries: b, DB: filepath.Join(dir, "data", "member", "snap", "db"), log: &bytes.Buffer{}, done: make(chan struct{})}
	s.cmd = exec.Command(b.Etcd, append([]string{"--name", "test", "--data-dir", "data", "--logger", "zap",
		"--listen-client-urls", client, "--advertise-client-urls", client,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "test=" + peer,
		// Nothing of what tests write needs to survive a power cut.
		"--unsafe-no-fsync"}, args...)...)
	s.cmd.Dir = dir
	s.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "ETCD_UNSUPPORTED_ARCH=" + runtime.GOARCH}
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	if err := s.cmd.Start(); err != nil {
		t.Fatalf("start etcd: %v", err)
	}
	go func() { _ = s.cmd.Wait(); close(s.done) }()
	t.Cleanup(s.Stop)
	s.Endpoint = strings.Replace(client, "unix://", "unix://"+dir+"/", 1)
	s.connect(t)
	return s
}

func (s *Server) connect(t testing.TB) {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{s.Endpoint}, DialTimeout: startTimeout, Logger: zap.NewNop()})
	if err != nil {
		t.Fatalf("connect to etcd: %v", err)
	}
	t.Cleanup(func() { c.Close() })
	s.Client = c
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	go func() {
		select {
		case <-s.done:
			cancel()
		case <-ctx.Done():
		}
	}()
	// A linearizable read waits for the leader.
	for {
		_, err := c.Get(ctx, "health")
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			s.Stop()
			t.Fatalf("etcd does not answer: %v\n%s", err, s.log)
		}
	}
}

// Stop ends etcd and waits until it is gone.
func (s *Server) Stop() {
	_ = s.cmd.Process.Kill()
	<-s.done
}

// Versioned waits until etcd has written the version of its storage, some time after it has begun to answer: what an older one
// makes of a snapshot depends on it. 3.5 has none.
func (s *Server) Versioned(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		st, err := s.Client.Status(ctx, s.Endpoint)
		if err != nil {
			t.Fatalf("wait for etcd's storage version: %v", err)
		}
		// Until it is written, etcd says that the data is as an older one's.
		minor := st.Version[:strings.LastIndex(st.Version, ".")+1]
		if strings.HasPrefix(st.StorageVersion, minor) || minor == "3.5." {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// Save takes a snapshot with etcdctl and returns its path.
func (s *Server) Save(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "snapshot.db")
	Tool(t, s.Etcdctl, "--endpoints", s.Endpoint, "snapshot", "save", path)
	return path
}

// Tool runs a program and returns its standard output.
func Tool(t testing.TB, name string, args ...string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), toolTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", filepath.Base(name), strings.Join(args, " "), err, out, stderr.Bytes())
	}
	return out
}

// Status is what `etcdutl snapshot status -w json` prints.
type Status struct {
	Hash      uint32 `json:"hash"`
	Revision  int64  `json:"revision"`
	TotalKey  int64  `json:"totalKey"`
	TotalSize int64  `json:"totalSize"`
	Version   string `json:"version"`
}

// SnapshotStatus asks etcdutl about a snapshot.
func SnapshotStatus(t testing.TB, b Binaries, path string) Status {
	t.Helper()
	var s Status
	if err := json.Unmarshal(Tool(t, b.Etcdutl, "snapshot", "status", path, "-w", "json"), &s); err != nil {
		t.Fatalf("decode snapshot status: %v", err)
	}
	return s
}

// Fill writes n objects as Kubernetes does, with the history and the deletions of a live cluster, and compacts the
// first half of it. It returns how many keys exist in the end.
func (s *Server) Fill(t testing.TB, n int) int64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	value := strings.Repeat("0123456789abcdef", 16)
	step := func(op clientv3.Op) int64 {
		r, err := s.Client.Do(ctx, op)
		if err != nil {
			t.Fatalf("fill etcd: %v", err)
		}
		if p := r.Put(); p != nil {
			return p.Header.Revision
		}
		return r.Del().Header.Revision
	}
	step(clientv3.OpPut("/registry/namespaces/kube-system", string(Namespace("kube-system", KubeSystemUID))))
	live, middle := int64(1), int64(0)
	for i := range n {
		key := fmt.Sprintf("/registry/configmaps/namespace-%d/object-%d", i%7, i)
		step(clientv3.OpPut(key, fmt.Sprint(i, value)))
		live++
		if i%3 == 0 {
			step(clientv3.OpPut(key, fmt.Sprint("again", i, value)))
		}
		if i%5 == 0 {
			step(clientv3.OpDelete(key))
			live--
		}
		if i%10 == 0 {
			step(clientv3.OpPut(key, "back"))
			live++
		}
		if i == n/2 {
			middle = step(clientv3.OpPut("/registry/middle", value))
			live++
		}
	}
	if _, err := s.Client.Compact(ctx, middle, clientv3.WithCompactPhysical()); err != nil {
		t.Fatalf("compact: %v", err)
	}
	return live
}

// KubeSystemUID is the UID of the kube-system namespace that Fill writes.
const KubeSystemUID = "5a0b1c2d-3e4f-4a5b-8c6d-7e8f9a0b1c2d"

// Namespace encodes a namespace the way an API server stores it.
func Namespace(name, uid string) []byte {
	field := func(n int, value []byte) []byte {
		return append([]byte{byte(n<<3 | 2), byte(len(value))}, value...)
	}
	meta := append(field(1, []byte(name)), field(5, []byte(uid))...)
	typeMeta := append(field(1, []byte("v1")), field(2, []byte("Namespace"))...)
	unknown := append(field(1, typeMeta), field(2, field(1, meta))...)
	return append([]byte("k8s\x00"), append(unknown, 0x1a, 0, 0x22, 0)...)
}

func freeURL(t testing.TB) string { return freeURLOn(t, "127.0.0.1") }

func freeURLOn(t testing.TB, host string) string {
	l, err := net.Listen("tcp", host+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "http://" + l.Addr().String()
}

// Password is that of the users that EnableAuth makes.
const Password = "correct horse battery staple"

// EnableAuth makes a user root, a user guest without any role, a user certified without a password, and turns etcd's authentication on. Client has no user.
func (s *Server) EnableAuth(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	for _, do := range []func() error{
		func() error { _, err := s.Client.UserAdd(ctx, "root", Password); return err },
		func() error { _, err := s.Client.UserGrantRole(ctx, "root", "root"); return err },
		func() error { _, err := s.Client.UserAdd(ctx, "guest", Password); return err },
		func() error {
			_, err := s.Client.UserAddWithOptions(ctx, "certified", "", &clientv3.UserAddOptions{NoPassword: true})
			return err
		},
		func() error { _, err := s.Client.AuthEnable(ctx); return err },
	} {
		if err := do(); err != nil {
			t.Fatalf("enable auth: %v", err)
		}
	}
}
