//go:build unix && !linux

package child

import (
	"os/exec"
	"syscall"
)

// dieWithParent only keeps Ctrl-C away from the process, which we stop: the kernel does not end it when we are killed.
func dieWithParent(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// watch ends the process when we are killed.
func watch(pid int) *Watcher { return killAfterUs(pid) }
