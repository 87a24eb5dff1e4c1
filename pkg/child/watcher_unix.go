//go:build unix

package child

import (
	"io"
	"os/exec"
	"strconv"
	"syscall"
)

// Watcher is a shell that waits until its input ends, which is when this process has ended, however that comes about, and then does something.
type Watcher struct {
	cmd   *exec.Cmd
	input io.WriteCloser
}

// RemoveAfterUs has folders removed when we have ended. Where the shell cannot be started, they stay when we are killed.
func RemoveAfterUs(folders ...string) *Watcher {
	// Twice: what runs in them is killed at the same moment, and may write a last file.
	return afterUs(`rm -rf -- "$@"; sleep 1; rm -rf -- "$@"`, folders...)
}

// killAfterUs has a program killed when we have ended. Its caller stops it when the program has ended, since the number may be another's soon.
func killAfterUs(pid int) *Watcher { return afterUs(`kill -9 "$1"`, strconv.Itoa(pid)) }

func afterUs(script string, args ...string) *Watcher {
	w := &Watcher{cmd: exec.Command("/bin/sh", append([]string{"-c", "while read -r _; do :; done; " + script, "sh"}, args...)...)}
	w.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // what ends our terminal must not end it
	var err error
	if w.input, err = w.cmd.StdinPipe(); err != nil || w.cmd.Start() != nil {
		return nil
	}
	return w
}

// Stop ends it, and nothing is done.
func (w *Watcher) Stop() {
	if w == nil {
		return
	}
	_ = w.cmd.Process.Kill()
	_ = w.cmd.Wait()
	_ = w.input.Close()
}
