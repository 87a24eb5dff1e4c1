// Package agent is the side of kubectl etcd that runs in the control plane: it answers one request on its stdin with
// frames on its stdout. It needs no shell, no image and no Kubernetes client.
package agent

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/frame"
)

// Version is set by the linker.
var Version = "dev"

// Handler answers one request. When it returns nil without having called Session.End, the end is sent for it. Its ctx is
// cancelled when the client is gone.
type Handler func(ctx context.Context, s *Session) error

const (
	defaultHeartbeat = 5 * time.Second
	defaultSilence   = 30 * time.Second
	// linger is how long the agent stays after its last byte for the client's Ack: some container runtimes lose the
	// last bytes of a process that exits at once after writing them.
	linger = 10 * time.Second
	// grace is how long a handler may clean up after its client has gone.
	grace = 2 * time.Second
	// uploadWindow bounds the agent's memory for uploads.
	uploadWindow = 8 << 20
)

var (
	errStdinClosed = errors.New("the client has closed the connection")
	errSilent      = errors.New("the client has been silent")
)

// Session is one conversation as its handler sees it.
type Session struct {
	request frame.Request
	w       *frame.Writer
	down    *frame.Sender
	up      *frame.Receiver
	ended   bool
	alive   *sync.WaitGroup
}

// Decode reads the body of the request. A field that is not known is an error: a client that asks for more than this
// agent can do must not believe that it was done.
func (s *Session) Decode(into any) error {
	if len(s.request.Body) == 0 {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(s.request.Body))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return frame.Errorf(frame.CodeBadRequest, "decode request %q: %v", s.request.Name, err)
	}
	return nil
}

// Data is where the handler writes what the client is to receive. It counts and hashes, and waits while the client is
// slow.
func (s *Session) Data() *frame.Sender { return s.down }

// Progress sends v as JSON, ahead of data that waits for the client. When the link is gone, the next write of data says so.
func (s *Session) Progress(v any) { _ = s.w.JSON(frame.TypeProgress, v) }

// Upload allows the client to send data and reads it. io.EOF comes only when all of it has come and its checksum agrees.
func (s *Session) Upload() (io.Reader, error) { return s.up, s.up.Open() }

// Seed puts the bytes before the offset of a resumed download into its checksum.
func (s *Session) Seed(prefix io.Reader) error { return s.down.Seed(prefix) }

// SeedUpload puts the bytes before the offset of a resumed upload into its checksum.
func (s *Session) SeedUpload(prefix io.Reader) error {
	h := sha256.New()
	if _, err := io.Copy(h, prefix); err != nil {
		return err
	}
	s.up.SetHash(h)
	return nil
}

// Outlive keeps the process for its handler, whatever becomes of the client, until release is called.
func (s *Session) Outlive() (release func()) {
	s.alive.Add(1)
	return sync.OnceFunc(s.alive.Done)
}

// UploadEnd is what the client said about the uploaded data, once Upload has been read to its end.
func (s *Session) UploadEnd() (frame.End, bool) { return s.up.Ended() }

// End tells the client that it has everything; extra goes with it as JSON. Nothing can be sent afterwards.
func (s *Session) End(extra any) error {
	if s.ended {
		return errors.New("end session: it has already ended")
	}
	s.ended = true
	end, err := s.down.End()
	if err != nil {
		return err
	}
	if extra != nil {
		if end.Extra, err = json.Marshal(extra); err != nil {
			return fmt.Errorf("encode the end: %w", err)
		}
	}
	return s.w.JSON(frame.TypeEnd, end)
}

// Serve holds one conversation: it greets, waits for a request, lets its handler answer and stays until the client says
// that it has everything. It returns as soon as the client is gone (stdin closed, or no frame for 30 s), even while a
// handler or a write hangs, unless that has said that it outlives its client; the caller must then exit the process.
func Serve(ctx context.Context, in io.Reader, out io.Writer, handlers map[string]Handler) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	c := newConversation(ctx, out)
	go c.read(in, cancel)
	go c.watch(ctx, cancel)

	done := make(chan error, 1)
	go func() { done <- c.talk(ctx, handlers) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
	c.alive.Wait()
	return fmt.Errorf("serve: %w", context.Cause(ctx))
}

// conversation holds what the goroutines of one Serve share.
type conversation struct {
	w       *frame.Writer
	down    *frame.Sender
	up      *frame.Receiver
	request chan frame.Request
	ack     chan struct{}
	retime  chan time.Duration // a new interval for the heartbeat
	heard   atomic.Int64       // when the client was last heard, in nanoseconds since start
	silence atomic.Int64
	start   time.Time
	alive   sync.WaitGroup // handlers that outlive their client
}

func newConversation(ctx context.Context, out io.Writer) *conversation {
	w := frame.NewWriter(out)
	c := &conversation{
		w:       w,
		down:    frame.NewSender(ctx, w),
		up:      frame.NewReceiver(uploadWindow, frame.SendCredit(w)),
		request: make(chan frame.Request, 1),
		ack:     make(chan struct{}, 1),
		retime:  make(chan time.Duration, 1),
		start:   time.Now(),
	}
	c.silence.Store(int64(defaultSilence))
	return c
}

func (c *conversation) talk(ctx context.Context, handlers map[string]Handler) error {
	hello, err := greeting()
	if err != nil {
		return err
	}
	if err := c.w.JSON(frame.TypeHello, hello); err != nil {
		return err
	}
	go c.beat(ctx)

	var request frame.Request
	select {
	case request = <-c.request:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	c.setTiming(request)
	if err := c.answer(ctx, request, handlers); err != nil {
		return err
	}
	timer := time.NewTimer(linger)
	defer timer.Stop()
	select {
	case <-c.ack:
	case <-timer.C:
	case <-ctx.Done(): // the client has gone, with the whole answer: it is not for the agent to complain
	}
	return nil
}

// answer runs the handler and sends its end or its error.
func (c *conversation) answer(ctx context.Context, request frame.Request, handlers map[string]Handler) error {
	handler, ok := handlers[request.Name]
	if !ok {
		return c.w.JSON(frame.TypeError, frame.Errorf(frame.CodeUnknown, "this agent cannot do %q", request.Name))
	}
	s := &Session{request: request, w: c.w, down: c.down, up: c.up, alive: &c.alive}
	err := handler(ctx, s)
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if err == nil && !s.ended {
		err = s.End(nil)
	}
	if err == nil {
		return nil
	}
	if s.ended {
		return fmt.Errorf("answer %q: %w", request.Name, err)
	}
	return c.w.JSON(frame.TypeError, toError(err))
}

// read takes the client's frames apart until stdin closes.
func (c *conversation) read(in io.Reader, cancel context.CancelCauseFunc) {
	_, err := io.CopyBuffer(struct{ io.Writer }{frame.NewDecoder(c)}, struct{ io.Reader }{in}, make([]byte, 128<<10))
	if err == nil {
		err = errStdinClosed
	}
	c.up.Fail(err)
	cancel(err)
}

// Data implements frame.Handler.
func (c *conversation) Data(p []byte) error {
	c.hear()
	return c.up.Put(p)
}

// Control implements frame.Handler.
func (c *conversation) Control(t frame.Type, payload []byte) error {
	c.hear()
	switch t {
	case frame.TypeRequest:
		var request frame.Request
		if err := json.Unmarshal(payload, &request); err != nil {
			return fmt.Errorf("%w: decode request: %w", frame.ErrProtocol, err)
		}
		select {
		case c.request <- request:
		default:
			return fmt.Errorf("%w: a second request", frame.ErrProtocol)
		}
	case frame.TypeCredit:
		total, err := frame.ParseCredit(payload)
		if err != nil {
			return err
		}
		c.down.Grant(total)
	case frame.TypeEnd:
		var end frame.End
		if err := json.Unmarshal(payload, &end); err != nil {
			return fmt.Errorf("%w: decode end: %w", frame.ErrProtocol, err)
		}
		c.up.Finish(end)
	case frame.TypeAck:
		select {
		case c.ack <- struct{}{}:
		default:
		}
	case frame.TypeHeartbeat:
	default:
		return fmt.Errorf("%w: a %v frame from the client", frame.ErrProtocol, t)
	}
	return nil
}

func (c *conversation) hear() { c.heard.Store(int64(time.Since(c.start))) }

func (c *conversation) setTiming(request frame.Request) {
	if ms := request.SilenceMillis; ms > 0 {
		c.silence.Store(int64(time.Duration(ms) * time.Millisecond))
	}
	if ms := request.HeartbeatMillis; ms > 0 {
		c.retime <- time.Duration(ms) * time.Millisecond
	}
}

// beat tells the client that the agent lives, also while its handler says nothing.
func (c *conversation) beat(ctx context.Context) {
	ticker := time.NewTicker(defaultHeartbeat)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case d := <-c.retime:
			ticker.Reset(d)
		case <-ticker.C:
			if c.w.Control(frame.TypeHeartbeat, nil) != nil {
				return // a handler's write meets the same error
			}
		}
	}
}

// watch ends the conversation when the client has been silent for too long. It must not write: a write may be what hangs.
func (c *conversation) watch(ctx context.Context, cancel context.CancelCauseFunc) {
	for {
		silence := time.Duration(c.silence.Load())
		quiet := time.Since(c.start) - time.Duration(c.heard.Load())
		if quiet >= silence {
			cancel(fmt.Errorf("%w for %v", errSilent, quiet.Round(time.Millisecond)))
			return
		}
		timer := time.NewTimer(min(silence-quiet, time.Second))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// greeting describes this process. The executable is hashed as it is on disk, so that the client knows that what it
// uploaded is what runs.
func greeting() (frame.Hello, error) {
	path, err := os.Executable()
	if err != nil {
		return frame.Hello{}, fmt.Errorf("find own executable: %w", err)
	}
	f, err := os.Open(path)
	if err != nil {
		return frame.Hello{}, fmt.Errorf("open own executable: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return frame.Hello{}, fmt.Errorf("read own executable: %w", err)
	}
	return frame.Hello{
		Protocol: frame.Protocol,
		SHA256:   hex.EncodeToString(h.Sum(nil)),
		Version:  Version,
		OS:       runtime.GOOS,
		Arch:     runtime.GOARCH,
		PID:      os.Getpid(),
	}, nil
}

// toError gives a handler's error the code that a client can act on.
func toError(err error) *frame.Error {
	var own *frame.Error
	if errors.As(err, &own) {
		return &frame.Error{Code: own.Code, Message: err.Error()}
	}
	code := frame.CodeFailed
	switch {
	case errors.Is(err, fs.ErrNotExist):
		code = frame.CodeNotFound
	case errors.Is(err, fs.ErrPermission):
		code = frame.CodePermission
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		code = frame.CodeNoSpace
	case errors.Is(err, frame.ErrCorrupt):
		code = frame.CodeCorrupt
	case errors.Is(err, etcd.ErrCut):
		code = frame.CodeCut
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		code = frame.CodeCancelled
	}
	return frame.Errorf(code, "%v", err)
}
