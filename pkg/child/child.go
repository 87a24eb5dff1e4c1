// Package child runs programs that must not outlive us: they die with this process where the kernel can do that, and a shell that waits for
// our end kills them on other Unix systems. What they print is kept for the moment in which somebody asks why they ended.
package child

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"
)

const (
	stopTimeout = 10 * time.Second
	// closeTimeout is for a program whose output is held open by what it has started.
	closeTimeout = 5 * time.Second
)

// Process is a program that runs.
type Process struct {
	cmd  *exec.Cmd
	log  lastLines
	done chan struct{}
	err  error
}

// Start starts a command, whose output is kept here. Who means to Stop it passes no CommandContext: Stop waits, too.
func Start(cmd *exec.Cmd) (*Process, error) {
	p := &Process{cmd: cmd, done: make(chan struct{})}
	cmd.WaitDelay = closeTimeout
	cmd.Stdout, cmd.Stderr = &p.log, &p.log
	dieWithParent(cmd)
	started := make(chan error)
	go func() {
		// The kernel ties the process to the thread that started it, so that thread must live as long.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			after := watch(cmd.Process.Pid)
			p.err = cmd.Wait()
			after.Stop()
		}
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// Done is closed when the process is gone.
func (p *Process) Done() <-chan struct{} { return p.done }

// Ended says how it ended, with its last words; only after Done.
func (p *Process) Ended() string { return fmt.Sprintf("it ended (%v); %s", p.err, p.LastWords()) }

// LastWords are the line in which it said last what is wrong.
func (p *Process) LastWords() string { return "its last words: " + p.log.last() }

// Stop kills the process and waits until it is gone, so that its folder can be removed.
func (p *Process) Stop() {
	_ = p.cmd.Process.Kill()
	select {
	case <-p.done:
	case <-time.After(stopTimeout): // a process that waits for a broken disk cannot even be killed
	}
}

// Run runs a command to its end, which may be that of its context. The error has its last words.
func Run(cmd *exec.Cmd) error {
	p, err := Start(cmd)
	if err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(cmd.Path), err)
	}
	<-p.done
	if p.err != nil {
		return fmt.Errorf("%s: %w: %s", filepath.Base(cmd.Path), p.err, p.log.last())
	}
	return nil
}
