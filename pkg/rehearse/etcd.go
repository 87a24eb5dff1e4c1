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

	"github.com/kubectl-etcd/kubectl-etcd/pkg/child"
)

const (
	memberName = "rehearsal"
	dataDir    = "data"
	// etcd wants a port in the name of a socket too.
	clientSocket, peerSocket = "client.sock:0", "peer.sock:0"

	askTimeout = 30 * time.Second
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
	*child.Process
	endpoint string
	identity *identity
}

// startEtcd starts etcd on the restored data, with TLS where there is an identity.
func startEtcd(program string, p place, quota int64, id *identity) (*server, error) {
	cmd := exec.Command(program, "--name", memberName, "--data-dir", filepath.Join(p.dir, dataDir),
		"--listen-client-urls", p.client, "--advertise-client-urls", p.client,
		"--listen-peer-urls", p.peer, "--initial-advertise-peer-urls", p.peer,
		"--initial-cluster", memberName+"="+p.peer, "--initial-cluster-token", "kubectl-etcd-rehearsal",
		"--quota-backend-bytes", strconv.FormatInt(quota, 10), "--logger", "zap")
	if id != nil {
		cmd.Args = append(cmd.Args, id.args...)
	}
	cmd.Dir = p.sockets
	cmd.Env = environment()
	process, err := child.Start(cmd)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrStart, err)
	}
	return &server{process, p.endpoint(), id}, nil
}

// waitHealthy waits until etcd has a leader and answers a read.
func (s *server) waitHealthy(ctx context.Context, timeout time.Duration) (*clientv3.Client, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("no answer within %s", timeout))
	defer cancel()
	go func() {
		select {
		case <-s.Done():
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
	case <-s.Done():
		return fmt.Errorf("%w: %s", ErrStart, s.Ended())
	default:
		return fmt.Errorf("%w: %w (%v); %s", ErrStart, context.Cause(ctx), asked, s.LastWords())
	}
}

// errNoAnswer says that etcd started and then did not answer.
var errNoAnswer = errors.New("restored etcd does not answer")
