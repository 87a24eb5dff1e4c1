//go:build unix && !linux

package child

import (
	"os/exec"
	"syscall"
)

// dieWithParent only keeps Ctrl-C away from the process, which we stop: nothing here ends it when we are killed.
func dieWithParent(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
