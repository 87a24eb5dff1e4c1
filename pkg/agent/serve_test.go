package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/frame"
)

// peer is a client's end of one conversation, without any patience or proofs of its own.
type peer struct {
	t    *testing.T
	w    *frame.Writer
	in   *io.PipeWriter
	done chan error // Serve's result

	mu     sync.Mutex
	seen   []frame.Type
	last   map[frame.Type][]byte
	data   bytes.Buffer
	notice chan struct{}
}

func start(t *testing.T, ctx context.Context, handlers map[string]Handler) *peer {
	t.Helper()
	inReader, in := io.Pipe()
	p := &peer{t: t, w: frame.NewWriter(in), in: in, done: make(chan error, 1), last: map[frame.Type][]byte{}, notice: make(chan struct{}, 1)}
	go func() { p.done <- Serve(ctx, inReader, frame.NewDecoder(p), handlers) }()
	t.Cleanup(func() { in.Close() })
	return p
}

func (p *peer) Control(t frame.Type, payload []byte) error {
	p.mu.Lock()
	p.seen = append(p.seen, t)
	p.last[t] = bytes.Clone(payload)
	p.mu.Unlock()
	select {
	case p.notice <- struct{}{}:
	default:
	}
	return nil
}

func (p *peer) Data(b []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.data.Write(b)
	return nil
}

// wait waits for a frame of a type and decodes it.
func (p *peer) wait(t frame.Type, into any) {
	p.t.Helper()
	deadline := time.After(time.Minute)
	for {
		p.mu.Lock()
		payload, ok := p.last[t]
		p.mu.Unlock()
		if ok {
			if into != nil {
				if err := json.Unmarshal(payload, into); err != nil {
					p.t.Fatal(err)
				}
			}
			return
		}
		select {
		case <-p.notice:
		case <-deadline:
			p.mu.Lock()
			defer p.mu.Unlock()
			p.t.Fatalf("no %v frame; seen: %v; it ended with %q", t, p.seen, p.last[frame.TypeEnd])
		}
	}
}

func (p *peer) send(t frame.Type, v any) {
	p.t.Helper()
	if err := p.w.JSON(t, v); err != nil {
		p.t.Fatal(err)
	}
}

func (p *peer) grant(total int64) {
	p.t.Helper()
	if err := frame.SendCredit(p.w)(total); err != nil {
		p.t.Fatal(err)
	}
}

func (p *peer) ended(within time.Duration) error {
	p.t.Helper()
	select {
	case err := <-p.done:
		return err
	case <-time.After(within):
		p.t.Fatalf("Serve still runs after %v", within)
		return nil
	}
}

func TestServeGreetsAnswersAndWaitsForTheAck(t *testing.T) {
	p := start(t, t.Context(), map[string]Handler{"greet": func(_ context.Context, s *Session) error {
		var name string
		if err := s.Decode(&name); err != nil {
			return err
		}
		s.Progress("soon")
		_, err := fmt.Fprintf(s.Data(), "hello %s", name)
		return errors.Join(err, s.End(map[string]int{"answer": 42}))
	}})
	var hello frame.Hello
	p.wait(frame.TypeHello, &hello)
	if hello.Protocol != frame.Protocol || len(hello.SHA256) != 64 || hello.PID == 0 {
		t.Errorf("%+v", hello)
	}
	p.send(frame.TypeRequest, frame.Request{Name: "greet", Body: json.RawMessage(`"you"`)})
	p.grant(100)
	var end frame.End
	p.wait(frame.TypeEnd, &end)
	if p.data.String() != "hello you" || end.Size != 9 || string(end.Extra) != `{"answer":42}` {
		t.Errorf("%q, %+v", &p.data, end)
	}
	select {
	case err := <-p.done:
		t.Fatalf("it left before the Ack: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	p.send(frame.TypeAck, nil)
	if err := p.ended(time.Minute); err != nil {
		t.Error(err)
	}
}

func TestServeGivesErrorsTheirCodes(t *testing.T) {
	for code, err := range map[string]error{
		frame.CodeNotFound:   fmt.Errorf("open: %w", fs.ErrNotExist),
		frame.CodePermission: &fs.PathError{Err: syscall.EACCES},
		frame.CodeNoSpace:    &fs.PathError{Err: syscall.ENOSPC},
		frame.CodeFailed:     errors.New("something else"),
		"mine":               fmt.Errorf("wrapped: %w", frame.Errorf("mine", "own code")),
	} {
		p := start(t, t.Context(), map[string]Handler{"fail": func(context.Context, *Session) error { return err }})
		p.send(frame.TypeRequest, frame.Request{Name: "fail"})
		var answer frame.Error
		p.wait(frame.TypeError, &answer)
		if answer.Code != code || answer.Message != err.Error() {
			t.Errorf("%+v, want code %q", answer, code)
		}
		p.in.Close()
	}
}

func TestServeEndsWhenTheClientGoes(t *testing.T) {
	hanging := map[string]Handler{
		"patient": func(ctx context.Context, _ *Session) error { <-ctx.Done(); return ctx.Err() },
		"deaf":    func(context.Context, *Session) error { select {} },
		"writing": func(_ context.Context, s *Session) error {
			_, err := s.Data().Write(make([]byte, 1<<20)) // for which there is no credit
			return err
		},
		"reading": func(_ context.Context, s *Session) error {
			r, err := s.Upload()
			if err != nil {
				return err
			}
			_, err = io.Copy(io.Discard, r)
			return err
		},
	}
	for name := range hanging {
		t.Run(name+", stdin closed", func(t *testing.T) {
			t.Parallel()
			p := start(t, t.Context(), hanging)
			p.send(frame.TypeRequest, frame.Request{Name: name})
			p.wait(frame.TypeHello, nil)
			p.in.Close()
			if err := p.ended(grace + time.Minute); !errors.Is(err, errStdinClosed) {
				t.Errorf("error = %v", err)
			}
		})
		t.Run(name+", silence", func(t *testing.T) {
			t.Parallel()
			p := start(t, t.Context(), hanging)
			p.send(frame.TypeRequest, frame.Request{Name: name, SilenceMillis: 300, HeartbeatMillis: 20})
			p.wait(frame.TypeHeartbeat, nil)
			if err := p.ended(grace + time.Minute); !errors.Is(err, errSilent) {
				t.Errorf("error = %v", err)
			}
		})
	}
}

func TestServeRefusesNonsense(t *testing.T) {
	t.Parallel()
	p := start(t, t.Context(), nil)
	if _, err := p.in.Write([]byte("GET / HTTP/1.1\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if err := p.ended(grace + time.Minute); !errors.Is(err, frame.ErrProtocol) || !strings.Contains(err.Error(), "GET /") {
		t.Errorf("error = %v", err)
	}
}

func TestServeEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	p := start(t, ctx, nil)
	p.wait(frame.TypeHello, nil)
	cancel()
	if err := p.ended(grace + time.Minute); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v", err)
	}
}
