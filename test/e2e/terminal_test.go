//go:build e2e

package e2e

import (
	"fmt"
	"io"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// startOnTerminal begins `kubectl etcd ARGS` as a shell in a terminal does. All that the terminal shows is the program's
// standard output; what a person types is written to the file.
func startOnTerminal(t testing.TB, kubeconfig string, args ...string) (*proc, *os.File) {
	t.Helper()
	person, tty := newTerminal(t)
	p := prepared(t, kubeconfig, "", args...)
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = tty, tty, tty
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	p.read = make(chan struct{})
	p.begin()
	_ = tty.Close() // the program's own is what counts now
	go func() {
		defer close(p.read)
		_, _ = io.Copy(&p.out, person) // ends with EIO when the program has closed its end
	}()
	return p, person
}

func newTerminal(t testing.TB) (person, tty *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = person.Close() })
	n, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	if tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(int(tty.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 40, Col: 160}); err != nil {
		t.Fatal(err)
	}
	return person, tty
}
