package rehearse

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

const (
	memberName = "rehearsal"
	dataDir    = "data"

	askTimeout  = 30 * time.Second
	stopTimeout = 10 * time.Second
)

// urls are where the etcd of a rehearsal listens.
type urls struct{ client, peer string }

// chooseURLs prefers sockets in the temporary folder, which only our user can reach: what is restored holds all of a
// cluster's Secrets, and a port on the loopback interface can be reached by everyone on the machine. Windows has no
// choice.
func chooseURLs() (urls, error) {
	if runtime.GOOS != "windows" {
		// Relative to the working directory, because the path of a socket must be short. etcd wants a port.
		return urls{client: "unix://client.sock:0", peer: "unix://peer.sock:0"}, nil
	}
	var u [2]string
	for i := range u {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return urls{}, fmt.Errorf("find free port: %w", err)
		}
		defer l.Close()
		u[i] = "http://" + l.Addr().String()
	}
	return urls{client: u[0], peer: u[1]}, nil
}

// clientEndpoint is how a client outside of dir reaches etcd.
func (u urls) clientEndpoint(dir string) string {
	if name, ok := strings.CutPrefix(u.client, "unix://"); ok {
		return "unix://" + filepath.Join(dir, name)
	}
	return u.client
}

// server is a running etcd.
type server struct {
	cmd      *exec.Cmd
	log      *lastLines
	endpoint string
	// done is closed when the process is gone; err says how it ended.
	done chan struct{}
	err  error
}

func startEtcd(ctx context.Context, program, dir string, u urls, quota int64) (*server, error) {
	s := &server{log: &lastLines{}, endpoint: u.clientEndpoint(dir), done: make(chan struct{})}
	// Not CommandContext: when ctx ends, stop is called, which waits too.
	s.cmd = exec.Command(program, "--name", memberName, "--data-dir", dataDir,
		"--listen-client-urls", u.client, "--advertise-client-urls", u.client,
		"--listen-peer-urls", u.peer, "--initial-advertise-peer-urls", u.peer,
		"--initial-cluster", memberName+"="+u.peer, "--initial-cluster-token", "kubectl-etcd-rehearsal",
		"--quota-backend-bytes", strconv.FormatInt(quota, 10), "--logger", "zap")
	s.cmd.Dir = dir
	s.cmd.Env = environment()
	s.cmd.WaitDelay = 5 * time.Second
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	dieWithParent(s.cmd)
	started := make(chan error)
	go func() {
		// The kernel ties the process to the thread that started it, so that thread must live as long.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := s.cmd.Start()
		started <- err
		if err == nil {
			s.err = s.cmd.Wait()
		}
		close(s.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("%w: %w", ErrStart, err)
	}
	return s, nil
}

// runLocked runs a command on a thread of its own, for dieWithParent.
func runLocked(cmd *exec.Cmd) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		result <- cmd.Run()
	}()
	return <-result
}

// stop ends etcd and waits until it is gone, so that its folder can be removed. Nothing of its data is needed again.
func (s *server) stop() {
	_ = s.cmd.Process.Kill()
	select {
	case <-s.done:
	case <-time.After(stopTimeout): // a process that waits for a broken disk cannot even be killed
	}
}

// waitHealthy waits until etcd has a leader and answers a read.
func (s *server) waitHealthy(ctx context.Context, timeout time.Duration) (*clientv3.Client, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("no answer within %s", timeout))
	defer cancel()
	go func() {
		select {
		case <-s.done:
			cancel()
		case <-ctx.Done():
		}
	}()
	client, err := clientv3.New(clientv3.Config{Context: context.WithoutCancel(ctx), Endpoints: []string{s.endpoint},
		Logger: zap.NewNop()})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrStart, err)
	}
	for {
		var asked error
		if _, asked = client.Get(ctx, "kubectl-etcd-rehearsal"); asked == nil {
			return client, nil
		}
		select {
		case <-ctx.Done():
			client.Close()
			return nil, s.whyNot(ctx, asked)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// whyNot says why etcd did not answer before ctx ended, which it also does when etcd ends.
func (s *server) whyNot(ctx context.Context, asked error) error {
	select {
	case <-s.done:
		return fmt.Errorf("%w: it ended (%v); its last words: %s", ErrStart, s.err, s.log.last())
	default:
		return fmt.Errorf("%w: %w (%v); its last words: %s", ErrStart, context.Cause(ctx), asked, s.log.last())
	}
}

// errNoAnswer says that etcd was healthy and then did not answer.
var errNoAnswer = errors.New("restored etcd does not answer")
