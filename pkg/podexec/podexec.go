// Package podexec moves bytes through the exec of a pod and proves them.
//
// Run is a plain exec. Call is one framed conversation with the agent (package frame); Put, CopyFrom and CopyTo move
// whole files. All but Run are proven by length and sha256 from the other side: an exec that ends cleanly proves
// nothing, because a link cut between API server and kubelet looks exactly like the end of the command.
package podexec

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	restclient "k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/util/exec"
	"k8s.io/klog/v2"
)

var (
	// ErrCut is a conversation that ended before its End, however cleanly.
	ErrCut = errors.New("the connection ended early")
	// ErrStalled is a connection on which nothing came for too long; see StallError.
	ErrStalled = errors.New("the connection has stalled")
	// ErrWrongAgent is an agent whose executable is not the one expected, so that nothing was asked of it.
	ErrWrongAgent = errors.New("the agent in the pod is not the expected one")
)

// Target is a container. An empty Container is the pod's default one.
type Target struct {
	Namespace, Pod, Container string
}

func (t Target) String() string {
	if t.Container == "" {
		return t.Namespace + "/" + t.Pod
	}
	return t.Namespace + "/" + t.Pod + "/" + t.Container
}

// Timing is how patient a Client is.
type Timing struct {
	// Heartbeat is how often each side of a Call says that it lives.
	Heartbeat time.Duration
	// Silence without any byte makes a Call or Put fail, and the agent exit. It also bounds the connecting.
	Silence time.Duration
	// Linger is how long a finished command may take to end cleanly. Its success has been proven by then.
	Linger time.Duration
	// Backoff is the pause after a first failure of a copy; it doubles up to MaxBackoff and starts anew after progress.
	Backoff, MaxBackoff time.Duration
	// Attempts is how often in a row a copy may fail without having moved anything.
	Attempts int
}

// DefaultTiming is what New sets.
var DefaultTiming = Timing{
	Heartbeat:  5 * time.Second,
	Silence:    30 * time.Second,
	Linger:     3 * time.Second,
	Backoff:    500 * time.Millisecond,
	MaxBackoff: 15 * time.Second,
	Attempts:   6,
}

// Client runs commands in pods. It is safe for concurrent use; Timing is set before the first use.
type Client struct {
	Timing Timing

	config    *restclient.Config
	base      *url.URL
	webSocket bool
}

// New makes a client for the API server of cfg. Like kubectl it tries WebSocket first, unless the environment says
// KUBECTL_REMOTE_COMMAND_WEBSOCKETS=false.
func New(cfg *restclient.Config) (*Client, error) {
	cfg = restclient.CopyConfig(cfg)
	cfg.Timeout = 0 // bounds an API call; a transfer has its own deadlines
	base, _, err := restclient.DefaultServerUrlFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("read the API server's address: %w", err)
	}
	return &Client{
		Timing:    DefaultTiming,
		config:    cfg,
		base:      base,
		webSocket: os.Getenv("KUBECTL_REMOTE_COMMAND_WEBSOCKETS") != "false",
	}, nil
}

// Cmd is a command and its streams; nil streams are not opened.
type Cmd struct {
	Args   []string
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
}

// ExitError is a command that ended with a code other than 0.
type ExitError struct {
	Code   int
	Stderr string // its last lines
}

func (e *ExitError) Error() string {
	if e.Stderr == "" {
		return fmt.Sprintf("command ended with exit code %d", e.Code)
	}
	return fmt.Sprintf("command ended with exit code %d: %s", e.Code, e.Stderr)
}

// Run runs a command to its end. Neither nil nor the length of the output prove that all of it came: for that, use Call
// or the copies. The writers are called by the reader of the connection: one that blocks for a minute breaks it.
// When ctx is done Run returns at once, and no further write is begun.
func (c *Client) Run(ctx context.Context, t Target, cmd Cmd) error {
	stderr := &tail{limit: 4 << 10}
	both := io.Writer(stderr)
	if cmd.Stderr != nil {
		both = io.MultiWriter(stderr, cmd.Stderr)
	}
	gates := &gate{}
	defer gates.close()
	options := remotecommand.StreamOptions{Stdin: cmd.Stdin, Stderr: gates.guard(both)}
	if cmd.Stdout != nil {
		options.Stdout = gates.guard(cmd.Stdout)
	}
	executor, err := c.executor(t, cmd.Args, options)
	if err != nil {
		return fmt.Errorf("run in %v: %w", t, err)
	}
	// What client-go logs about broken streams is said better by the error.
	ctx = klog.NewContext(ctx, klog.Logger{})
	done := make(chan error, 1)
	// In a goroutine, because closing a connection whose link hangs may hang too.
	go func() { done <- executor.stream(ctx, options) }()
	select {
	case err = <-done:
	case <-ctx.Done():
	}
	if ctx.Err() != nil {
		return fmt.Errorf("run in %v: %w", t, context.Cause(ctx))
	}
	var exit exec.CodeExitError
	if errors.As(err, &exit) {
		return &ExitError{Code: exit.Code, Stderr: strings.TrimSpace(stderr.String())}
	}
	if err != nil {
		return fmt.Errorf("run in %v: %w", t, err)
	}
	return nil
}

// gate lets writers be taken back from goroutines that cannot be waited for.
type gate struct {
	mu     sync.RWMutex
	closed bool
}

var errGateClosed = errors.New("the command is over")

func (g *gate) guard(w io.Writer) io.Writer { return &guarded{g, w} }

func (g *gate) close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
}

type guarded struct {
	g *gate
	w io.Writer
}

func (w *guarded) Write(p []byte) (int, error) {
	w.g.mu.RLock()
	closed := w.g.closed
	w.g.mu.RUnlock()
	if closed {
		return 0, errGateClosed
	}
	return w.w.Write(p)
}

// tail keeps the last bytes written to it.
type tail struct {
	mu    sync.Mutex
	limit int
	buf   []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p[max(0, len(p)-t.limit):]...)
	if over := len(t.buf) - t.limit; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.ToValidUTF8(string(t.buf), "?")
}
