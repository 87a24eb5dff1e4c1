package rehearse

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

const (
	memberName = "rehearsal"
	dataDir    = "data"
	// etcd wants a port in the name of a socket too.
	clientSocket, peerSocket = "client.sock:0", "peer.sock:0"

	askTimeout  = 30 * time.Second
	stopTimeout = 10 * time.Second
)

// place is where the etcd of a rehearsal is: its folder, the folder of its sockets, and what it listens on.
type place struct{ dir, sockets, client, peer string }

// choosePlace prefers sockets in a private folder, which only our user can reach: what is restored holds all of a
// cluster's Secrets, and a port on the loopback interface can be reached by everyone on the machine. Windows has no
// choice.
func choosePlace(dir string, secure bool) (p place, err error) {
	p.dir = dir
	if p.sockets, err = socketFolder(dir); err != nil {
		return p, err
	}
	s := ""
	if secure {
		s = "s"
	}
	if runtime.GOOS != "windows" {
		// Relative to the sockets' folder, which is etcd's working directory.
		p.client, p.peer = "unix"+s+"://"+clientSocket, "unix://"+peerSocket
		return p, nil
	}
	var u [2]string
	for i := range u {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return p, fmt.Errorf("find free port: %w", err)
		}
		defer l.Close()
		u[i] = l.Addr().String()
	}
	p.client, p.peer = "http"+s+"://"+u[0], "http://"+u[1]
	return p, nil
}

// remove removes what is not in dir.
func (p place) remove() {
	if p.sockets != p.dir {
		_ = os.RemoveAll(p.sockets)
	}
}

// endpoint is how a client in another folder reaches etcd.
func (p place) endpoint() string {
	if scheme, ok := strings.CutSuffix(p.client, clientSocket); ok {
		return scheme + filepath.Join(p.sockets, clientSocket)
	}
	return p.client
}

// server is a running etcd.
type server struct {
	cmd      *exec.Cmd
	log      *lastLines
	endpoint string
	identity *identity
	// done is closed when the process is gone; err says how it ended.
	done chan struct{}
	err  error
}

// startEtcd starts etcd on the restored data, with TLS where there is an identity.
func startEtcd(program string, p place, quota int64, id *identity) (*server, error) {
	s := &server{log: &lastLines{}, endpoint: p.endpoint(), identity: id, done: make(chan struct{})}
	// Not CommandContext: when ctx ends, stop is called, which waits too.
	s.cmd = exec.Command(program, "--name", memberName, "--data-dir", filepath.Join(p.dir, dataDir),
		"--listen-client-urls", p.client, "--advertise-client-urls", p.client,
		"--listen-peer-urls", p.peer, "--initial-advertise-peer-urls", p.peer,
		"--initial-cluster", memberName+"="+p.peer, "--initial-cluster-token", "kubectl-etcd-rehearsal",
		"--quota-backend-bytes", strconv.FormatInt(quota, 10), "--logger", "zap")
	if id != nil {
		s.cmd.Args = append(s.cmd.Args, id.args...)
	}
	s.cmd.Dir = p.sockets
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
	cfg := clientv3.Config{Context: context.WithoutCancel(ctx), Endpoints: []string{s.endpoint}, Logger: zap.NewNop()}
	if s.identity != nil {
		cfg.TLS = s.identity.client
	}
	client, err := clientv3.New(cfg)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrStart, err)
	}
	for {
		var asked error
		if _, asked = client.Get(ctx, "kubectl-etcd-rehearsal"); asked == nil {
			return client, nil
		}
		if errors.Is(asked, rpctypes.ErrUserEmpty) || errors.Is(asked, rpctypes.ErrPermissionDenied) {
			client.Close()
			return nil, fmt.Errorf("%w: its authentication is on, and refuses the user %s: %w", errNoAnswer, rootUser, asked)
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

// errNoAnswer says that etcd started and then did not answer.
var errNoAnswer = errors.New("restored etcd does not answer")
