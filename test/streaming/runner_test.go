package streaming

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/podexec"
)

// onHost is another runner than an exec: a program that is started, as ssh would be.
type onHost struct{}

func (onHost) String() string { return "this host" }

func (onHost) Run(ctx context.Context, cmd podexec.Cmd) error {
	p := exec.CommandContext(ctx, cmd.Args[0], cmd.Args[1:]...)
	p.Stdout, p.Stderr, p.WaitDelay = cmd.Stdout, cmd.Stderr, time.Second
	stdin, err := p.StdinPipe()
	if err != nil {
		return err
	}
	if err := p.Start(); err != nil {
		return err
	}
	go func() { // not waited for: nobody may be writing any more
		_, _ = io.Copy(stdin, cmd.Stdin)
		_ = stdin.Close()
	}()
	return p.Wait()
}

// TestRunner: an agent that is started in another way than by exec is spoken with alike, and another agent is refused alike.
func TestRunner(t *testing.T) {
	t.Parallel()
	from, data := randomFile(t, 8<<20+3)
	agent := podexec.Talk{Runner: onHost{}, Argv: []string{agentPath}, Agent: agentSum(t), Timing: podexec.DefaultTiming}
	var sink bytes.Buffer
	if _, err := agent.Call(deadline(t, 60*time.Second), read(from), podexec.CallOptions{Sink: &sink}); err != nil || !bytes.Equal(sink.Bytes(), data) {
		t.Fatalf("%d bytes of %d: %v", sink.Len(), len(data), err)
	}
	to := filepath.Join(t.TempDir(), "copy")
	if _, err := agent.CopyTo(deadline(t, 60*time.Second), bytes.NewReader(data), int64(len(data)), to, podexec.CopyOptions{}); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(to); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes of %d: %v", len(got), len(data), err)
	}
	agent.Agent = sum([]byte("another one"))
	if _, err := agent.Call(deadline(t, 60*time.Second), read(from), podexec.CallOptions{Sink: &sink}); !errors.Is(err, podexec.ErrWrongAgent) {
		t.Errorf("another agent: %v", err)
	}
}
