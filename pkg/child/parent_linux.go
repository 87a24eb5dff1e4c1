package child

import (
	"os/exec"
	"syscall"
)

// dieWithParent makes the kernel end the process when we end, however that comes about. It is bound to the thread that
// starts the process, which must be locked until the process is gone.
func dieWithParent(cmd *exec.Cmd) {
	// A process group of its own: Ctrl-C reaches us, and we stop the process.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}

// watch does nothing here: the kernel does.
func watch(int) *Watcher { return nil }
