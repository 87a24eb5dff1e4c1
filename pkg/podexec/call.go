package podexec

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/frame"
)

// Request is what the agent is asked; Body is sent as JSON on stdin, never in a command line.
type Request struct {
	Name string
	Body any
}

// CallOptions are the streams of a Call; the zero value has none.
type CallOptions struct {
	// Sink receives the agent's data, as slowly as it likes: while it blocks, the agent waits and the connection lives.
	Sink io.Writer
	// Upload is sent to the agent, to its end.
	Upload io.Reader
	// UploadOver, if set, is called once nothing of Upload is wanted any more: a Read of it that waits has to end then.
	UploadOver func()
	// Progress gets the agent's progress, in the goroutine of Call. When it is slow, it misses the oldest.
	Progress func(json.RawMessage)

	// expectAgent is Talk.Agent.
	expectAgent string
	// seed has already hashed the bytes before the offset of a resumed download.
	seed hash.Hash
	// uploadPrefix is hashed before the upload, for a resumed one.
	uploadPrefix io.Reader
	// moved is called with the number of data bytes that the other side has taken, or the sink.
	moved func(n int64)
}

// Reply is the proven end of a Call.
type Reply struct {
	Agent  frame.Hello
	Size   int64           // of the data
	SHA256 string          // of the data, hex
	Extra  json.RawMessage // what the handler gave to its End
}

// StallError says what a connection was silent about. It is an ErrStalled.
type StallError struct {
	Silence time.Duration
	Waiting string // for what
	Last    string // what came last
}

func (e *StallError) Error() string {
	return fmt.Sprintf("%v: nothing came for %v while waiting for %s (last: %s)", ErrStalled, e.Silence.Round(time.Millisecond), e.Waiting, e.Last)
}

func (e *StallError) Unwrap() error { return ErrStalled }

// progressQueue is how many progress messages wait for a slow Progress function.
const progressQueue = 64

// call holds what the goroutines of one Call share.
type call struct {
	timing Timing
	opts   CallOptions
	w      *frame.Writer
	send   *frame.Sender
	recv   *frame.Receiver
	parent context.Context // the caller's
	cancel context.CancelCauseFunc

	hello    chan frame.Hello
	refusal  chan *frame.Error
	progress chan json.RawMessage
	started  time.Time
	heard    atomic.Int64 // when anything came last, in nanoseconds since started
	last     atomic.Value // string: what
	waiting  atomic.Value // string: for what
	greeted  atomic.Bool

	exited chan struct{} // closed when the exec is over
	exit   error         // how, once it is
	stderr tail
}

// Call holds one conversation with the agent. It succeeds only when the agent has said that
// it is done and length and sha256 of the data agree with what it says; an exit code plays no part. An Error of the
// agent comes back as *frame.Error. The agent ends when ctx is done: its stdin closes, or it notices the silence.
//
// After a return without error, or with any error but that of ctx, Sink and Upload are not used any more. When ctx is
// done Call does not wait for one that blocks.
func (t Talk) Call(ctx context.Context, request Request, opts CallOptions) (*Reply, error) {
	reply, err := t.call(ctx, request, opts)
	if err != nil {
		return nil, fmt.Errorf("%s through %v: %w", request.Name, t.Runner, err)
	}
	return reply, nil
}

func (t Talk) call(parent context.Context, request Request, opts CallOptions) (*Reply, error) {
	opts.expectAgent = t.Agent
	body, err := json.Marshal(request.Body)
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	envelope := frame.Request{
		Name:            request.Name,
		Body:            body,
		HeartbeatMillis: t.Timing.Heartbeat.Milliseconds(),
		SilenceMillis:   t.Timing.Silence.Milliseconds(),
	}
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	stdinReader, stdin := io.Pipe()
	defer stdin.Close()
	x := newCall(ctx, t.Timing, opts, stdin)
	x.parent, x.cancel = parent, cancel

	go func() {
		x.exit = t.Runner.Run(ctx, Cmd{Args: t.Argv, Stdin: stdinReader, Stdout: &listener{x, frame.NewDecoder(x)}, Stderr: &x.stderr})
		// Whoever writes to a stdin that nobody reads any more must not wait for ever.
		stdinReader.CloseWithError(io.ErrClosedPipe)
		close(x.exited)
	}()
	go x.beat(ctx)
	go x.watch(ctx)

	reply, err := x.converse(ctx, envelope)
	if parent.Err() != nil && err != nil {
		return nil, context.Cause(parent)
	}
	if err != nil {
		return nil, err
	}
	x.dismiss()
	return reply, nil
}

func newCall(ctx context.Context, timing Timing, opts CallOptions, stdin io.Writer) *call {
	w := frame.NewWriter(stdin)
	x := &call{
		timing:   timing,
		opts:     opts,
		w:        w,
		send:     frame.NewSender(ctx, w),
		recv:     frame.NewReceiver(frame.Window, frame.SendCredit(w)),
		hello:    make(chan frame.Hello, 1),
		refusal:  make(chan *frame.Error, 1),
		progress: make(chan json.RawMessage, progressQueue),
		started:  time.Now(),
		exited:   make(chan struct{}),
		stderr:   tail{limit: 4 << 10},
	}
	if opts.seed != nil {
		x.recv.SetHash(opts.seed)
	}
	x.last.Store("nothing at all")
	x.waiting.Store("the agent to start")
	return x
}

// converse runs the conversation until its data is proven or it fails. On return no goroutine uses the sink or the
// upload, unless ctx is done.
func (x *call) converse(ctx context.Context, request frame.Request) (*Reply, error) {
	hello, err := x.greet(ctx)
	if err != nil {
		return nil, err
	}
	x.waiting.Store(fmt.Sprintf("the answer to %q", request.Name))
	pumped := make(chan error, 1)
	go func() { pumped <- x.pump(request) }()
	uploaded := make(chan error, 1)
	if x.opts.Upload != nil {
		go func() { uploaded <- x.upload() }()
	} else {
		uploaded <- nil
	}
	if err := x.attend(ctx, pumped, uploaded); err != nil {
		return nil, err
	}
	x.drainProgress()
	end, _ := x.recv.Ended()
	return &Reply{Agent: hello, Size: end.Size, SHA256: end.SHA256, Extra: end.Extra}, nil
}

// greet waits for the agent's Hello and checks that it is the right agent.
func (x *call) greet(ctx context.Context) (frame.Hello, error) {
	var hello frame.Hello
	select {
	case hello = <-x.hello:
	case <-x.exited:
		switch cause := context.Cause(ctx); {
		case cause != nil:
			return hello, cause
		case x.exit == nil || x.greeted.Load():
			return hello, x.cut()
		}
		return hello, x.exit // nothing has been started: the reason is all there is to say
	case <-ctx.Done():
		return hello, context.Cause(ctx)
	}
	if hello.Protocol != frame.Protocol {
		return hello, fmt.Errorf("%w: it speaks protocol %d, not %d", ErrWrongAgent, hello.Protocol, frame.Protocol)
	}
	if want := x.opts.expectAgent; want != "" && want != hello.SHA256 {
		return hello, fmt.Errorf("%w: its sha256 is %s, not %s", ErrWrongAgent, hello.SHA256, want)
	}
	return hello, nil
}

// pump sends the request and feeds the sink until the data is proven.
func (x *call) pump(request frame.Request) error {
	if err := x.w.JSON(frame.TypeRequest, request); err != nil {
		return err
	}
	if err := x.recv.Open(); err != nil {
		return err
	}
	sink := x.opts.Sink
	if sink == nil {
		sink = io.Discard
	}
	if x.opts.moved != nil {
		sink = &counting{sink, x.opts.moved}
	}
	_, err := x.recv.WriteTo(sink)
	return err
}

func (x *call) upload() error {
	if x.opts.uploadPrefix != nil {
		if err := x.send.Seed(x.opts.uploadPrefix); err != nil {
			return &frame.ConsumerError{Err: fmt.Errorf("read what was sent before: %w", err)}
		}
	}
	source := &source{r: x.opts.Upload, moved: x.opts.moved}
	_, err := x.send.ReadFrom(source)
	if source.err != nil {
		return &frame.ConsumerError{Err: fmt.Errorf("read what to send: %w", source.err)}
	}
	if err != nil {
		return err
	}
	end, err := x.send.End()
	if err != nil {
		return err
	}
	return x.w.JSON(frame.TypeEnd, end)
}

// attend waits until neither the sink nor the upload is at work, and says how it went. A failed write to the agent is
// only a symptom: the exit, the agent's Error or the watch says what happened.
func (x *call) attend(ctx context.Context, pumped, uploaded <-chan error) error {
	var verdict error
	var proven bool
	exited := x.exited
	for pumped != nil || uploaded != nil {
		select {
		case p := <-x.progress:
			x.tell(p)
		case e := <-x.refusal:
			verdict = first(verdict, e)
			x.stop(verdict)
		case <-exited:
			exited = nil
			verdict = first(verdict, x.judgeExit(ctx))
		case err := <-uploaded:
			uploaded = nil
			if consumer := (*frame.ConsumerError)(nil); !proven && errors.As(err, &consumer) {
				verdict = first(verdict, err)
				x.stop(verdict)
			}
		case err := <-pumped:
			pumped = nil
			proven = err == nil
			if !proven && verdict == nil {
				verdict = x.judgePump(ctx, err)
			}
			// Also when it is proven: whatever the agent did not want of the upload does not matter.
			x.endUpload()
		case <-ctx.Done():
			x.stop(context.Cause(ctx))
			x.wait(pumped, uploaded)
			return first(verdict, context.Cause(ctx))
		}
	}
	if proven {
		return nil
	}
	return verdict
}

// judgeExit hears that the exec is over, after all its output has been taken apart. An End may be among it.
func (x *call) judgeExit(ctx context.Context) error {
	if _, ended := x.recv.Ended(); ended {
		return nil // the sink may still be at work
	}
	verdict := context.Cause(ctx)
	select {
	case e := <-x.refusal:
		verdict = first(verdict, e)
	default:
		verdict = first(verdict, x.cut())
	}
	x.recv.Fail(verdict) // what has arrived still goes to the sink
	x.endUpload()
	return verdict
}

// judgePump tells the sink's failures and wrong data from a broken connection.
func (x *call) judgePump(ctx context.Context, err error) error {
	consumer := (*frame.ConsumerError)(nil)
	if errors.As(err, &consumer) || errors.Is(err, frame.ErrCorrupt) {
		return err
	}
	// A write to the agent has failed, which only the end of the exec explains.
	timer := time.NewTimer(x.timing.Linger)
	defer timer.Stop()
	select {
	case <-x.exited:
		return first(x.judgeExit(ctx), err)
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return fmt.Errorf("%w: %w", ErrCut, err)
	}
}

func first(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// endUpload makes the upload's goroutine return.
func (x *call) endUpload() {
	x.send.Stop()
	if x.opts.UploadOver != nil {
		x.opts.UploadOver()
	}
}

// stop makes the sink's and the upload's goroutines return.
func (x *call) stop(err error) {
	x.recv.Abort(err)
	x.endUpload()
}

// wait waits for the sink and the upload to return, which the caller must be able to rely on. Only when the caller itself
// has cancelled, one that blocks is left behind.
func (x *call) wait(pumped, uploaded <-chan error) {
	var late <-chan time.Time
	cancelled := x.parent.Done()
	for pumped != nil || uploaded != nil {
		select {
		case <-pumped:
			pumped = nil
		case <-uploaded:
			uploaded = nil
		case <-cancelled:
			cancelled = nil
			late = time.After(100 * time.Millisecond)
		case <-late:
			return
		}
	}
}

// cut describes an exec that ended without an End.
func (x *call) cut() error {
	cut := fmt.Errorf("%w after %d bytes of data (last: %s)", ErrCut, x.recv.Received(), x.last.Load())
	if x.exit != nil {
		return fmt.Errorf("%w: %w", cut, x.exit)
	}
	if text := strings.TrimSpace(x.stderr.String()); text != "" {
		return fmt.Errorf("%w: %s", cut, text)
	}
	return cut
}

// dismiss tells the agent that it may go, and gives it a moment to do so: a process that is torn away from its exec is
// logged as an error on the node. The data is proven, so it does not matter whether the goodbye arrives.
func (x *call) dismiss() {
	timer := time.AfterFunc(x.timing.Linger, func() { x.cancel(errors.New("the agent did not leave")) })
	defer timer.Stop()
	if x.w.Control(frame.TypeAck, nil) == nil {
		<-x.exited // at the latest when the timer fires
	}
}

func (x *call) tell(p json.RawMessage) {
	if x.opts.Progress != nil {
		x.opts.Progress(p)
	}
}

func (x *call) drainProgress() {
	for {
		select {
		case p := <-x.progress:
			x.tell(p)
		default:
			return
		}
	}
}
