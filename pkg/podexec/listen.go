package podexec

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/frame"
)

// listener is the stdout of the agent. It never waits, so that the reader of the connection is always free to see pongs.
type listener struct {
	x *call
	d *frame.Decoder
}

func (l *listener) Write(p []byte) (int, error) {
	n, err := l.d.Write(p)
	if err != nil {
		l.x.cancel(err)
	}
	return n, err
}

// hear is called for what is understood, not for any byte: half a frame and then nothing is silence.
func (x *call) hear() { x.heard.Store(int64(time.Since(x.started))) }

// Data implements frame.Handler.
func (x *call) Data(p []byte) error {
	x.hear()
	if !x.greeted.Load() {
		return fmt.Errorf("%w: data before a greeting", frame.ErrProtocol)
	}
	x.last.Store(lastData)
	return x.recv.Put(p)
}

// lastData is boxed once: an interface made per frame would be an allocation per frame.
var lastData any = "data"

// Control implements frame.Handler.
func (x *call) Control(t frame.Type, payload []byte) error {
	x.hear()
	x.last.Store(t.String())
	if !x.greeted.Load() && t != frame.TypeHello {
		return fmt.Errorf("%w: a %v frame before a greeting", frame.ErrProtocol, t)
	}
	switch t {
	case frame.TypeHello:
		return x.takeHello(payload)
	case frame.TypeProgress:
		x.queueProgress(slices.Clone(payload))
	case frame.TypeEnd:
		var end frame.End
		if err := json.Unmarshal(payload, &end); err != nil {
			return fmt.Errorf("%w: decode end: %w", frame.ErrProtocol, err)
		}
		x.recv.Finish(end)
	case frame.TypeError:
		refusal := &frame.Error{}
		if err := json.Unmarshal(payload, refusal); err != nil {
			return fmt.Errorf("%w: decode error: %w", frame.ErrProtocol, err)
		}
		select {
		case x.refusal <- refusal:
		default:
		}
	case frame.TypeCredit:
		total, err := frame.ParseCredit(payload)
		if err != nil {
			return err
		}
		x.send.Grant(total)
	case frame.TypeHeartbeat:
	default:
		return fmt.Errorf("%w: a %v frame from the agent", frame.ErrProtocol, t)
	}
	return nil
}

func (x *call) takeHello(payload []byte) error {
	var hello frame.Hello
	if err := json.Unmarshal(payload, &hello); err != nil {
		return fmt.Errorf("%w: decode greeting: %w", frame.ErrProtocol, err)
	}
	if x.greeted.Swap(true) {
		return fmt.Errorf("%w: a second greeting", frame.ErrProtocol)
	}
	x.hello <- hello
	return nil
}

// queueProgress drops the oldest when there is no room.
func (x *call) queueProgress(p json.RawMessage) {
	for {
		select {
		case x.progress <- p:
			return
		default:
		}
		select {
		case <-x.progress:
		default:
		}
	}
}

// beat tells the agent that its client lives.
func (x *call) beat(ctx context.Context) {
	ticker := time.NewTicker(x.timing.Heartbeat)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if x.w.Control(frame.TypeHeartbeat, nil) != nil {
				return // the exec is over, which its own goroutine reports
			}
		}
	}
}

// watch ends a conversation on which nothing comes any more. The agent's heartbeats come whatever its handler does.
func (x *call) watch(ctx context.Context) {
	for {
		quiet := time.Since(x.started) - time.Duration(x.heard.Load())
		if quiet >= x.timing.Silence {
			x.cancel(&StallError{Silence: quiet, Waiting: x.waiting.Load().(string), Last: x.last.Load().(string)})
			return
		}
		timer := time.NewTimer(x.timing.Silence - quiet)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// counting reports what its writer has taken.
type counting struct {
	w     io.Writer
	moved func(int64)
}

func (c *counting) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.moved(int64(n))
	return n, err
}

// source reports what was read from it and remembers its own failure, to tell it from a failure to send.
type source struct {
	r     io.Reader
	moved func(int64)
	err   error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if s.moved != nil && n > 0 {
		s.moved(int64(n))
	}
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}
