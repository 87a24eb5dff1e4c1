package streaming

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/podexec"
)

// transports runs a test with the WebSocket path and with the SPDY one.
func transports(t *testing.T, test func(t *testing.T, opts bedOptions)) {
	t.Helper()
	t.Parallel()
	for name, opts := range map[string]bedOptions{"websocket": {}, "spdy": {noTranslator: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, opts)
		})
	}
}

func deadline(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestRunPassesStreamsAndExitCode(t *testing.T) {
	transports(t, func(t *testing.T, opts bedOptions) {
		b := newBed(t, opts)
		var stdout, stderr bytes.Buffer
		err := b.client.Run(deadline(t, 20*time.Second), target, podexec.Cmd{
			Args:   []string{"sh", "-c", "cat; echo 'it is & was' \"$1\" >&2; exit 3", "sh", "a b"},
			Stdin:  strings.NewReader("hello"),
			Stdout: &stdout,
			Stderr: &stderr,
		})
		var exit *podexec.ExitError
		if !errors.As(err, &exit) || exit.Code != 3 || exit.Stderr != "it is & was a b" {
			t.Errorf("error = %#v", err)
		}
		if stdout.String() != "hello" || stderr.String() != "it is & was a b\n" {
			t.Errorf("stdout %q, stderr %q", &stdout, &stderr)
		}
		if b.execs() != 1 {
			t.Errorf("the command ran %d times", b.execs())
		}
	})
}

func TestRunSaysWhatIsForbidden(t *testing.T) {
	t.Parallel()
	b := newBed(t, bedOptions{forbid: true})
	err := b.client.Run(deadline(t, 20*time.Second), target, podexec.Cmd{Args: []string{"true"}, Stdout: &bytes.Buffer{}})
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), `cannot post resource "pods/exec"`) {
		t.Errorf("error = %v", err)
	}
}

func TestRunNamesAMissingProgram(t *testing.T) {
	transports(t, func(t *testing.T, opts bedOptions) {
		b := newBed(t, opts)
		err := b.client.Run(deadline(t, 20*time.Second), target, podexec.Cmd{Args: []string{"/no/such/program"}, Stdout: &bytes.Buffer{}})
		if err == nil || !strings.Contains(err.Error(), "no such file") {
			t.Errorf("error = %v", err)
		}
	})
}

func TestRunReturnsAtOnceWhenCancelled(t *testing.T) {
	transports(t, func(t *testing.T, opts bedOptions) {
		b := newBed(t, opts)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		stdin, feed := newPipe(t)
		defer feed.Close()
		go func() {
			done <- b.client.Run(ctx, target, podexec.Cmd{Args: []string{"cat"}, Stdin: stdin, Stdout: &bytes.Buffer{}})
		}()
		p := b.process(0)
		// Also when nothing can be sent any more.
		b.front.stall(true)
		start := time.Now()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("error = %v", err)
		}
		if d := time.Since(start); d > time.Second {
			t.Errorf("it took %v", d)
		}
		b.front.stall(false)
		b.front.cut()
		p.mustEnd(t, 10*time.Second)
	})
}

// TestCutBehindTheServerLooksLikeSuccess shows why nothing here trusts a clean end: should it ever fail, Kubernetes has
// been mended.
func TestCutBehindTheServerLooksLikeSuccess(t *testing.T) {
	t.Parallel()
	b := newBed(t, bedOptions{})
	var stdout bytes.Buffer
	b.back.cutAfter(2<<20, false)
	err := b.client.Run(deadline(t, 20*time.Second), target, podexec.Cmd{
		Args:   []string{"sh", "-c", "head -c 5000000 /dev/zero; exec sleep 30"},
		Stdout: &stdout,
	})
	if err != nil || stdout.Len() >= 5000000 {
		t.Errorf("error %v after %d bytes", err, stdout.Len())
	}
}

// TestBlockedSinkBreaksAPlainExec is why Call has flow control; see TestCallSurvivesASinkThatBlocks.
func TestBlockedSinkBreaksAPlainExec(t *testing.T) {
	t.Parallel()
	b := newBed(t, bedOptions{})
	path, data := randomFile(t, 64<<20)
	hold := make(chan struct{})
	time.AfterFunc(75*time.Second, func() { close(hold) })
	sink := &heldSink{started: make(chan struct{}), hold: hold}
	err := b.client.Run(deadline(t, 150*time.Second), target, podexec.Cmd{Args: []string{"cat", path}, Stdout: sink})
	if got := sink.got.Load(); err == nil && got == int64(len(data)) {
		t.Error("it survived")
	} else {
		t.Logf("%d bytes of %d, error %v", got, len(data), err)
	}
}
