//go:build !unix

package child

import "os/exec"

// dieWithParent does nothing here: no other system has it. A process is stopped by who has started it.
func dieWithParent(*exec.Cmd) {}

// watch does nothing here.
func watch(int) *Watcher { return nil }
