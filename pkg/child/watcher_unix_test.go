//go:build unix

package child

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// parentEnv makes this test program one that has started another, and then waits to be killed.
const parentEnv = "CHILD_TEST_PARENT"

func TestMain(m *testing.M) {
	if how := os.Getenv(parentEnv); how != "" {
		parent(how)
		return
	}
	os.Exit(m.Run())
}

func parent(how string) {
	sleep := exec.Command("sleep", "1000")
	var err error
	switch how {
	case "a child":
		_, err = Start(sleep)
	case "watched":
		if err = sleep.Start(); err == nil {
			killAfterUs(sleep.Process.Pid)
		}
	case "not watched any more":
		if err = sleep.Start(); err == nil {
			killAfterUs(sleep.Process.Pid).Stop()
		}
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("started", sleep.Process.Pid)
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n') // never comes
}

// TestKilled: a program ends when who has started it is killed, and is left alone when nobody watches it any more.
func TestKilled(t *testing.T) {
	for how, ends := range map[string]bool{"a child": true, "watched": true, "not watched any more": false} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			r, w, err := os.Pipe() // all that is started below has it, and it ends with the last of them
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = r.Close() }()
			parent := exec.CommandContext(t.Context(), os.Args[0])
			parent.Env, parent.ExtraFiles = append(os.Environ(), parentEnv+"="+how), []*os.File{w}
			if _, err := parent.StdinPipe(); err != nil {
				t.Fatal(err)
			}
			out, err := parent.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := parent.Start(); err != nil {
				t.Fatal(err)
			}
			_ = w.Close()
			line, err := bufio.NewReader(out).ReadString('\n')
			pid := 0
			if _, serr := fmt.Sscanf(strings.TrimSpace(line), "started %d", &pid); err != nil || serr != nil {
				t.Fatalf("it says %q: %v", line, errors.Join(err, serr))
			}
			if err := parent.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = parent.Wait()
			wait := time.Minute
			if !ends {
				wait = time.Second
				defer func() { _ = syscall.Kill(pid, syscall.SIGKILL) }()
			}
			if err := r.SetReadDeadline(time.Now().Add(wait)); err != nil {
				t.Fatal(err)
			}
			if _, err := r.Read(make([]byte, 1)); errors.Is(err, io.EOF) != ends || !ends && !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("after %s: %v", wait, err)
			}
		})
	}
}
