//go:build unix

package child

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
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
	if err := sleep.Start(); err != nil {
		fmt.Println(err)
		return
	}
	w := killAfterUs(sleep.Process.Pid)
	if how == "stopped" {
		w.Stop()
	}
	fmt.Println(sleep.Process.Pid)
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n') // never comes
}

// TestKillAfterUs: a program ends when who has started it is killed, and is left alone when nobody watches it any more.
func TestKillAfterUs(t *testing.T) {
	for _, how := range []string{"watched", "stopped"} {
		parent := exec.CommandContext(t.Context(), os.Args[0])
		parent.Env = append(os.Environ(), parentEnv+"="+how)
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
		line, err := bufio.NewReader(out).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		pid, err := strconv.Atoi(strings.TrimSpace(line))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
		if err := parent.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = parent.Wait()
		gone := func() bool { return syscall.Kill(pid, 0) == syscall.ESRCH }
		wait := time.Minute
		if how == "stopped" {
			wait = time.Second
		}
		for end := time.Now().Add(wait); !gone() && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		}
		if gone() != (how == "watched") {
			t.Errorf("%s: gone is %v", how, gone())
		}
	}
}
