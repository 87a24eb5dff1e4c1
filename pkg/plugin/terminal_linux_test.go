package plugin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
	"k8s.io/cli-runtime/pkg/genericiooptions"
)

// terminal is a pseudo-terminal: what a person types and reads, and what a program gets.
func terminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { person.Close() })
	n, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	return person, program
}

func TestNoSnapshotToATerminal(t *testing.T) {
	t.Parallel()
	_, tty := terminal(t)
	var stderr bytes.Buffer
	run := func(args ...string) int {
		stderr.Reset()
		return Execute(t.Context(), genericiooptions.IOStreams{In: strings.NewReader(""), Out: tty, ErrOut: &stderr}, args)
	}
	if code := run("backup", "--endpoint", "http://127.0.0.1:1", "--to", "-"); code != exitUsage ||
		!strings.HasPrefix(stderr.String(), "error: will not write a snapshot to a terminal; redirect standard output, or name a file with --to\n") {
		t.Errorf("exit code %d: %s", code, &stderr)
	}
	// A dry run writes none.
	if code := run("backup", "--endpoint", "http://127.0.0.1:1", "--to", "-", "--dry-run"); code != exitFailed || !strings.Contains(stderr.String(), "connection refused") {
		t.Errorf("exit code %d: %s", code, &stderr)
	}
}

func TestColourOnATerminal(t *testing.T) {
	_, tty := terminal(t)
	a := &app{IOStreams: genericiooptions.IOStreams{ErrOut: tty}}
	for _, c := range []struct {
		color, env, term string
		want             bool
	}{{"auto", "", "xterm", true}, {"auto", "", "", true}, {"auto", "", "dumb", false}, {"auto", "1", "xterm", false}, {"always", "1", "dumb", true}, {"never", "", "xterm", false}} {
		t.Setenv("NO_COLOR", c.env)
		t.Setenv("TERM", c.term)
		a.color = c.color
		if got := a.paint("31", "x") != "x"; got != c.want {
			t.Errorf("--color=%s, NO_COLOR=%q, TERM=%q: %t", c.color, c.env, c.term, got)
		}
	}
}

func TestConfirm(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]string{"y\n": "", "yes\n": "", "Y\n": "", " YES \n": "", "n\n": "not confirmed", "\n": "not confirmed", "yesterday\n": "not confirmed"} {
		person, tty := terminal(t)
		if _, err := person.WriteString(answer); err != nil {
			t.Fatal(err)
		}
		var stderr bytes.Buffer
		o := &cleanupOptions{app: &app{IOStreams: genericiooptions.IOStreams{In: tty, ErrOut: &stderr}}}
		err := o.confirm(t.Context(), 3)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) || stderr.String() != "Remove 3 objects? [y/N] " {
			t.Errorf("%q: %v; asked %q", answer, err, &stderr)
		}
	}
	// Nothing that is typed after an interrupt counts, and it is not waited for.
	_, tty := terminal(t)
	var stderr bytes.Buffer
	ctx, interrupt := context.WithCancelCause(t.Context())
	interrupt(errInterrupted)
	asking := &cleanupOptions{app: &app{IOStreams: genericiooptions.IOStreams{In: tty, ErrOut: &stderr}}}
	if err := asking.confirm(ctx, 3); !errors.Is(err, errInterrupted) || !strings.Contains(stderr.String(), "nothing was removed") {
		t.Errorf("%v; said %q", err, &stderr)
	}
	// Where nobody can answer, nobody is asked.
	o := &cleanupOptions{app: &app{IOStreams: genericiooptions.IOStreams{In: strings.NewReader("y\n")}}, cmd: &cobra.Command{}}
	if err := o.confirm(t.Context(), 3); err == nil || !strings.Contains(err.Error(), "removing 3 objects needs a yes: pass --yes where there is no terminal") {
		t.Errorf("%v", err)
	}
	o.yes = true
	if err := o.confirm(t.Context(), 3); err != nil {
		t.Error(err)
	}
}

// TestProgressBar: on a terminal there is a bar, which is gone when the transfer is.
func TestProgressBar(t *testing.T) {
	t.Parallel()
	person, tty := terminal(t)
	if err := unix.IoctlSetWinsize(int(tty.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 120}); err != nil {
		t.Fatal(err)
	}
	r := &reporter{app: &app{IOStreams: genericiooptions.IOStreams{ErrOut: tty}}}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	seen := make(chan string)
	go func() {
		defer close(seen)
		buf := make([]byte, 4096)
		for {
			n, err := person.Read(buf)
			if n > 0 {
				select {
				case seen <- string(buf[:n]):
				case <-ctx.Done():
					return
				}
			}
			if err != nil {
				return
			}
		}
	}()
	r.Progress(50<<20, 100<<20, 10<<20)
	all := ""
	for !strings.Contains(all, "50.00%") || !strings.Contains(all, "10 MiB on the wire") {
		select {
		case s := <-seen:
			all += s
			r.Progress(50<<20, 100<<20, 10<<20)
		case <-ctx.Done():
			t.Fatalf("it drew %q", all)
		}
	}
	r.Done()
	r.Done() // twice does no harm
}

// TestProgressLines: where no bar can be drawn, also on a terminal that says that it is a plain one, there are lines: the first
// soon, since a transfer of nine seconds is over before ten have passed.
func TestProgressLines(t *testing.T) {
	t.Setenv("TERM", "dumb")
	person, tty := terminal(t)
	r := &reporter{app: &app{IOStreams: genericiooptions.IOStreams{ErrOut: tty}}}
	at := func(since time.Duration) { // as if the transfer had begun so long ago
		r.last = r.last.Add(-since)
		r.Progress(50<<20, 100<<20, -1)
	}
	r.Progress(0, 100<<20, -1)
	if r.bar != nil {
		t.Fatal("it draws a bar")
	}
	begun := r.last
	at(2 * time.Second)
	if !r.last.Before(time.Now().Add(-5 * time.Second)) {
		t.Error("a line after two seconds")
	}
	r.last = begun
	at(firstLine)
	if time.Since(r.last) > time.Second {
		t.Error("no line after three seconds")
	}
	buf := make([]byte, 4096)
	n, err := person.Read(buf)
	if got := string(buf[:n]); err != nil || !strings.HasPrefix(got, "50 MiB of 100 MiB (50 %), ") || strings.Count(got, "\n") != 1 {
		t.Errorf("%q, %v", got, err)
	}
}

func TestWriteLine(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		done, total, wire int64
		took              time.Duration
		want              string
	}{
		{50 << 20, 100 << 20, 10 << 20, 5 * time.Second, "50 MiB of 100 MiB (50 %), 10 MiB/s, ETA 5s, 10 MiB on the wire\n"},
		{50 << 20, 0, -1, 5 * time.Second, "50 MiB, 10 MiB/s\n"},
		{100 << 20, 100 << 20, -1, 10 * time.Second, "100 MiB of 100 MiB (100 %), 10 MiB/s\n"},
		{0, 100 << 20, 0, 0, "0 B of 100 MiB (0 %), 0 B/s, 0 B on the wire\n"},
	} {
		var b bytes.Buffer
		if writeLine(&b, c.done, c.total, c.wire, c.took); b.String() != c.want {
			t.Errorf("%q, want %q", &b, c.want)
		}
	}
}
