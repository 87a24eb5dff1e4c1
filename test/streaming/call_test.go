package streaming

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/frame"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/podexec"
)

func newPipe(t *testing.T) (*io.PipeReader, *io.PipeWriter) {
	t.Helper()
	r, w := io.Pipe()
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

// randomFile is a file "in the pod" that does not compress and is not the same anywhere twice.
func randomFile(t testing.TB, size int) (string, []byte) {
	t.Helper()
	seed := [32]byte{byte(size), byte(size >> 8), byte(size >> 16), byte(size >> 24)}
	data := make([]byte, size)
	_, _ = rand.NewChaCha8(seed).Read(data)
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, data, 0o640); err != nil {
		t.Fatal(err)
	}
	return path, data
}

func sum(data []byte) string {
	s := sha256.Sum256(data)
	return hex.EncodeToString(s[:])
}

func read(path string) podexec.Request {
	return podexec.Request{Name: frame.RequestRead, Body: frame.ReadRequest{Path: path}}
}

func agentSum(t testing.TB) string {
	t.Helper()
	data, err := os.ReadFile(agentPath)
	if err != nil {
		t.Fatal(err)
	}
	return sum(data)
}

func TestCallProvesItsData(t *testing.T) {
	transports(t, func(t *testing.T, opts bedOptions) {
		b := newBed(t, opts)
		path, data := randomFile(t, 40<<20+7)
		var sink bytes.Buffer
		start := time.Now()
		reply, err := b.client.Talk(target, []string{agentPath}, agentSum(t)).Call(deadline(t, 60*time.Second), read(path),
			podexec.CallOptions{Sink: &sink})
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(sink.Bytes(), data) || reply.Size != int64(len(data)) || reply.SHA256 != sum(data) {
			t.Errorf("%d bytes, reply %+v", sink.Len(), reply)
		}
		if reply.Agent.SHA256 != agentSum(t) || !strings.Contains(string(reply.Extra), `"size":41943047`) {
			t.Errorf("reply %+v %s", reply, reply.Extra)
		}
		b.process(0).mustEnd(t, time.Second) // it has been waited for
		t.Logf("%.0f MB/s", float64(len(data))/1e6/time.Since(start).Seconds())
	})
}

func TestCallReportsTheAgentsRefusal(t *testing.T) {
	t.Parallel()
	b := newBed(t, bedOptions{})
	missing := filepath.Join(t.TempDir(), "missing")
	for request, code := range map[podexec.Request]string{
		read(missing):                  frame.CodeNotFound,
		{Name: "dance"}:                frame.CodeUnknown,
		{Name: "read", Body: "no map"}: frame.CodeBadRequest,
		{Name: "read", Body: struct{ Fast bool }{true}}: frame.CodeBadRequest,
	} {
		_, err := b.client.Talk(target, []string{agentPath}, "").Call(deadline(t, 20*time.Second), request, podexec.CallOptions{})
		var refusal *frame.Error
		if !errors.As(err, &refusal) || refusal.Code != code {
			t.Errorf("%v: error = %v, want code %q", request, err, code)
		}
	}
}

// TestCallEndsAnUploadThatWaits: whoever uploads what it does not have yet is told when nobody wants it any more, however
// the conversation ends.
func TestCallEndsAnUploadThatWaits(t *testing.T) {
	t.Parallel()
	path, _ := randomFile(t, 1000)
	for name, c := range map[string]struct {
		request podexec.Request
		cut     bool
		fails   bool
	}{
		"refused": {podexec.Request{Name: "dance"}, false, true},
		"done":    {read(path), false, false},
		"cut":     {podexec.Request{Name: frame.RequestWrite, Body: frame.WriteRequest{Path: path + ".new", Size: 10}}, true, true},
	} {
		b := newBed(t, bedOptions{})
		waits, never := newPipe(t)
		over := make(chan struct{})
		var once sync.Once
		opts := podexec.CallOptions{Upload: waits, UploadOver: func() { once.Do(func() { close(over) }); waits.CloseWithError(io.ErrClosedPipe) }}
		if c.cut {
			go func() { // what arrives shows that the upload is under way
				_, _ = never.Write([]byte("some"))
				_ = syscall.Kill(b.process(0).pid, syscall.SIGKILL)
			}()
		}
		_, err := b.client.Talk(target, []string{agentPath}, "").Call(deadline(t, 20*time.Second), c.request, opts)
		if (err != nil) != c.fails || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", name, err)
		}
		select {
		case <-over:
		default:
			t.Errorf("%s: nobody said that the upload is over", name)
		}
	}
}

func TestCallRefusesAnotherAgent(t *testing.T) {
	t.Parallel()
	b := newBed(t, bedOptions{})
	path, _ := randomFile(t, 1000)
	var sink bytes.Buffer
	_, err := b.client.Talk(target, []string{agentPath}, strings.Repeat("ab", 32)).Call(deadline(t, 20*time.Second), read(path),
		podexec.CallOptions{Sink: &sink})
	if !errors.Is(err, podexec.ErrWrongAgent) || sink.Len() > 0 {
		t.Errorf("error = %v, %d bytes", err, sink.Len())
	}
	b.process(0).mustEnd(t, 10*time.Second)
}

func TestCallQuotesWhatIsNotAnAgent(t *testing.T) {
	t.Parallel()
	b := newBed(t, bedOptions{})
	_, err := b.client.Talk(target, []string{"sh", "-c", "echo no agent here; sleep 30"}, "").Call(deadline(t, 20*time.Second), read("x"), podexec.CallOptions{})
	if !errors.Is(err, frame.ErrProtocol) || !strings.Contains(err.Error(), "no agent here") {
		t.Errorf("error = %v", err)
	}
}

// TestCallNoticesEveryLoss injects one fault each into a transfer that cannot end before: its sink takes nothing until
// the fault is there, and the file is larger than the window.
func TestCallNoticesEveryLoss(t *testing.T) {
	t.Parallel()
	const size = 24 << 20
	faults := map[string]struct {
		mangle func(n int, in io.Reader, out io.Writer) (io.Reader, io.Writer)
		before func(b *bed)
		during func(b *bed)
		want   error // nil: any
	}{
		"front cut":          {before: func(b *bed) { b.front.cutAfter(3<<20, false) }, want: podexec.ErrCut},
		"back cut":           {before: func(b *bed) { b.back.cutAfter(3<<20, false) }, want: podexec.ErrCut},
		"back cut near end":  {before: func(b *bed) { b.back.cutAfter(size, false) }, want: podexec.ErrCut},
		"front cut upwards":  {during: func(b *bed) { b.front.cutAfter(1, true) }, want: podexec.ErrCut},
		"stall from start":   {before: func(b *bed) { b.front.stall(true) }, want: podexec.ErrStalled},
		"front stall":        {during: func(b *bed) { b.front.stall(true) }, want: podexec.ErrStalled},
		"back stall":         {during: func(b *bed) { b.back.stall(true) }, want: podexec.ErrStalled},
		"killed":             {during: func(b *bed) { _ = syscall.Kill(b.process(0).pid, syscall.SIGKILL) }, want: podexec.ErrCut},
		"stopped":            {during: func(b *bed) { _ = syscall.Kill(b.process(0).pid, syscall.SIGSTOP) }, want: podexec.ErrStalled},
		"end of output lost": {mangle: loseAfter(size), want: podexec.ErrStalled},
		"stdin truncated":    {mangle: truncateStdin(200), want: podexec.ErrCut},
		"byte flipped":       {mangle: flip(5 << 20), want: frame.ErrCorrupt},
		"bytes missing":      {mangle: skip(5<<20, 1000)},
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			transports(t, func(t *testing.T, opts bedOptions) {
				opts.mangle = fault.mangle
				b := newBed(t, opts)
				path, _ := randomFile(t, size)
				hold := make(chan struct{})
				sink := &heldSink{started: make(chan struct{}), hold: hold}
				if fault.before != nil {
					fault.before(b)
				}
				if fault.during != nil {
					go func() {
						defer close(hold)
						<-sink.started
						fault.during(b)
					}()
				} else {
					close(hold)
				}
				start := time.Now()
				_, err := b.client.Talk(target, []string{agentPath}, "").Call(deadline(t, 60*time.Second), read(path), podexec.CallOptions{Sink: sink})
				if err == nil || fault.want != nil && !errors.Is(err, fault.want) {
					t.Errorf("error = %v, want %v", err, fault.want)
				}
				t.Logf("%v: %.200v", time.Since(start).Round(time.Millisecond), err)
				b.front.stall(false)
				b.back.stall(false)
				if b.execs() > 0 {
					_ = syscall.Kill(b.process(0).pid, syscall.SIGCONT)
					b.process(0).mustEnd(t, quick.Silence+10*time.Second)
				}
			})
		})
	}
}

// heldSink says when the first data has come, and takes nothing until hold is closed.
type heldSink struct {
	started chan struct{}
	hold    <-chan struct{}
	once    atomic.Bool
	got     atomic.Int64
}

func (s *heldSink) Write(p []byte) (int, error) {
	if !s.once.Swap(true) {
		close(s.started)
	}
	<-s.hold
	s.got.Add(int64(len(p)))
	return len(p), nil
}

// TestCallOutlivesARuntimeThatLosesLastBytes has what the process wrote in its last 300 ms lost when it exits. Run loses
// the end of its output; Call's agent does not exit before the client has everything.
func TestCallOutlivesARuntimeThatLosesLastBytes(t *testing.T) {
	transports(t, func(t *testing.T, opts bedOptions) {
		opts.mangle = func(_ int, in io.Reader, out io.Writer) (io.Reader, io.Writer) {
			return in, newDelayLine(t, out, 300*time.Millisecond)
		}
		b := newBed(t, opts)
		var stdout, sink bytes.Buffer
		err := b.client.Run(deadline(t, 20*time.Second), target, podexec.Cmd{Args: []string{"echo", "the end"}, Stdout: &stdout})
		if err != nil || stdout.Len() != 0 {
			t.Fatalf("the fault does not work: error %v, output %q", err, &stdout)
		}
		path, data := randomFile(t, 4<<20)
		if _, err := b.client.Talk(target, []string{agentPath}, "").Call(deadline(t, 60*time.Second), read(path), podexec.CallOptions{Sink: &sink}); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(sink.Bytes(), data) {
			t.Error("the data differs")
		}
	})
}

func TestCallEndsTheRemoteProcessWhenCancelled(t *testing.T) {
	transports(t, func(t *testing.T, opts bedOptions) {
		b := newBed(t, opts)
		path, _ := randomFile(t, 64<<20)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		hold := make(chan struct{})
		defer close(hold)
		sink := &heldSink{started: make(chan struct{}), hold: hold}
		done := make(chan error, 1)
		go func() {
			_, err := b.client.Talk(target, []string{agentPath}, "").Call(ctx, read(path), podexec.CallOptions{Sink: sink})
			done <- err
		}()
		<-sink.started
		start := time.Now()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("error = %v", err)
		}
		if d := time.Since(start); d > time.Second {
			t.Errorf("Call returned after %v", d)
		}
		b.process(0).mustEnd(t, 5*time.Second)
	})
}

func TestCallPassesOnTheSinksError(t *testing.T) {
	t.Parallel()
	b := newBed(t, bedOptions{})
	path, _ := randomFile(t, 32<<20)
	_, err := b.client.Talk(target, []string{agentPath}, "").Call(deadline(t, 20*time.Second), read(path), podexec.CallOptions{Sink: fullDisk{}})
	if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("error = %v", err)
	}
	b.process(0).mustEnd(t, 5*time.Second)
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

// TestCallSurvivesASinkThatBlocks blocks the sink for longer than the 61 s after which client-go gives up a connection
// whose pongs it does not get to read.
func TestCallSurvivesASinkThatBlocks(t *testing.T) {
	transports(t, func(t *testing.T, opts bedOptions) {
		opts.timing = &podexec.DefaultTiming
		b := newBed(t, opts)
		path, data := randomFile(t, 64<<20)
		hold := make(chan struct{})
		time.AfterFunc(75*time.Second, func() { close(hold) })
		hash := sha256.New()
		sink := io.MultiWriter(&heldSink{started: make(chan struct{}), hold: hold}, hash)
		_, err := b.client.Talk(target, []string{agentPath}, "").Call(deadline(t, 150*time.Second), read(path), podexec.CallOptions{Sink: sink})
		if err != nil {
			t.Fatal(err)
		}
		if hex.EncodeToString(hash.Sum(nil)) != sum(data) {
			t.Error("the data differs")
		}
	})
}
