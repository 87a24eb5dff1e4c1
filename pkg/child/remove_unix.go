//go:build unix

package child

import (
	"io"
	"os/exec"
	"syscall"
)

// Remover removes folders when this process has ended, however that comes about.
type Remover struct {
	cmd   *exec.Cmd
	input io.WriteCloser
}

// RemoveAfterUs starts a shell that waits until its input ends, which is when we do, and removes the folders then. Where it cannot be
// started, they stay when we are killed.
func RemoveAfterUs(folders ...string) *Remover {
	// Twice: what runs in them is killed at the same moment, and may write a last file.
	script := `while read -r _; do :; done; rm -rf -- "$@"; sleep 1; rm -rf -- "$@"`
	r := &Remover{cmd: exec.Command("/bin/sh", append([]string{"-c", script, "sh"}, folders...)...)}
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // what ends our terminal must not end it
	var err error
	if r.input, err = r.cmd.StdinPipe(); err != nil || r.cmd.Start() != nil {
		return nil
	}
	return r
}

// Stop ends it without removing anything: its caller does.
func (r *Remover) Stop() {
	if r == nil {
		return
	}
	_ = r.cmd.Process.Kill()
	_ = r.cmd.Wait()
	_ = r.input.Close()
}
