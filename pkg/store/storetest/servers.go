package storetest

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// The key with which the test's S3 server is asked.
const (
	AccessKey = "storetest"
	SecretKey = "storetest-secret"
)

// program finds a server's program, which `make testbed-bin` builds.
func program(name string) (string, error) {
	dir := os.Getenv("ETCD_BINARIES")
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(home, ".cache", "kubectl-etcd-testbed", "bin")
	}
	path := filepath.Join(dir, name)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%w; build it with: make testbed-bin", err)
	}
	return path, nil
}

// serve starts a server on a free port of loopback, and waits until it answers.
func serve(ctx context.Context, name, ready string, args func(host, port string) []string, env ...string) (endpoint string, stop func(), err error) {
	path, err := program(name)
	if err != nil {
		return "", nil, err
	}
	for range 3 { // somebody else may take the port before the server does
		address, aerr := freeAddress()
		if aerr != nil {
			return "", nil, aerr
		}
		host, port, _ := net.SplitHostPort(address)
		cmd := exec.Command(path, args(host, port)...)
		cmd.Env = append(os.Environ(), env...)
		out := &tail{}
		cmd.Stdout, cmd.Stderr = out, out
		if err = cmd.Start(); err != nil {
			return "", nil, err
		}
		ended := make(chan struct{})
		go func() { _ = cmd.Wait(); close(ended) }()
		stop := func() { _ = cmd.Process.Kill(); <-ended }
		if err = answers(ctx, "http://"+address+ready, ended); err == nil {
			return "http://" + address, stop, nil
		}
		stop()
		err = fmt.Errorf("%w: %s", err, out)
	}
	return "", nil, err
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func answers(ctx context.Context, url string, ended <-chan struct{}) error {
	deadline := time.Now().Add(30 * time.Second)
	for {
		err := asked(ctx, url)
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the server does not answer: %w", err)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ended:
			return fmt.Errorf("the server has ended: %w", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func asked(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// tail keeps what a program says.
type tail struct {
	mu  sync.Mutex
	all []byte
}

func (o *tail) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all = append(o.all, p...)
	return len(p), nil
}

func (o *tail) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.all)
}

// ServeS3 starts a real S3 gateway over a folder, in which each folder is a bucket; metadata is kept in another one, which is not
// called alike: the gateway compares by prefix. It takes AccessKey and SecretKey.
func ServeS3(ctx context.Context, folder, metadata string) (endpoint string, stop func(), err error) {
	return serve(ctx, "versitygw", "/", func(host, port string) []string {
		return []string{"--port", net.JoinHostPort(host, port), "--quiet", "posix", "--sidecar", metadata, folder}
	}, "ROOT_ACCESS_KEY="+AccessKey, "ROOT_SECRET_KEY="+SecretKey)
}

// S3 is ServeS3 for the time of a test.
func S3(t testing.TB, folder string) (endpoint string) {
	t.Helper()
	endpoint, stop, err := ServeS3(t.Context(), folder, t.TempDir())
	return until(t, endpoint, stop, err)
}

func until(t testing.TB, endpoint string, stop func(), err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return endpoint
}

// GCS starts a server that speaks Google's JSON API, with empty buckets of these names.
func GCS(t testing.TB, buckets ...string) (endpoint string) {
	t.Helper()
	root, data := t.TempDir(), t.TempDir()
	for _, b := range buckets {
		if err := os.Mkdir(filepath.Join(root, b), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	endpoint, stop, err := serve(t.Context(), "fake-gcs-server", "/storage/v1/b", func(host, port string) []string {
		address := net.JoinHostPort(host, port)
		return []string{"-scheme", "http", "-host", host, "-port", port, "-data", root, "-filesystem-root", data, "-public-host", address, "-external-url", "http://" + address}
	})
	return until(t, endpoint, stop, err)
}
