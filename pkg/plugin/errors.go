package plugin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/backup"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
)

// The exit codes, the same for every command.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitDiffers     = 3
	exitInterrupted = 130
)

const exitCodes = `Exit codes:
  0    done
  1    failed; for status: a member is down, differs or has an alarm
  2    usage, or the target is not one control plane
  3    backup, restore: done, but members hold different data, or the API shows other objects than were restored
  130  interrupted; no pod was left behind, and of a restore the last lines say how it is and how to go on`

var errNoKubeconfig = errors.New("there is none")

var errNamespace = errors.New("it is not in the namespace that -n names")

var errInterrupted = errors.New("interrupted")

// errSilent ends with a code after everything was said already.
var errSilent = errors.New("")

type usageError struct {
	cmd *cobra.Command
	err error
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(cmd *cobra.Command, format string, args ...any) error {
	return &usageError{cmd, fmt.Errorf(format, args...)}
}

// report prints an error, once and in one place, and returns the exit code.
func (a *app) report(cmd *cobra.Command, err error) int {
	if err == nil {
		return exitOK
	}
	if errors.Is(err, errSilent) {
		return exitFailed
	}
	if errors.Is(err, errInterrupted) {
		var left *reach.CleanupError
		if errors.As(err, &left) {
			a.warn("%v; remove what is left with: kubectl etcd cleanup -A --running", left)
		}
		fmt.Fprintln(a.ErrOut, a.paint("31", "error:")+" interrupted")
		var stopped *restore.Stopped
		if errors.As(err, &stopped) {
			a.hint(stopped.Hint())
		}
		return exitInterrupted
	}
	fmt.Fprintln(a.ErrOut, a.paint("31", "error:")+" "+printable(a.line(err)))
	a.hint(hint(cmd, err))
	var usage *usageError
	switch {
	case errors.As(err, &usage):
		fmt.Fprintf(a.ErrOut, "See '%s --help'.\n", typed(usage.cmd))
		return exitUsage
	case isTarget(err):
		return exitUsage
	case errors.Is(err, backup.ErrDiffers), errors.Is(err, restore.ErrDiffers), errors.Is(err, restore.ErrMiscounted):
		return exitDiffers
	}
	return exitFailed
}

func (a *app) hint(way string) {
	if way != "" {
		fmt.Fprintln(a.ErrOut, a.paint("36", "hint:")+" "+printableLines(way))
	}
}

func isTarget(err error) bool {
	var amb *controlplane.AmbiguousError
	var none *controlplane.NotFoundError
	var member *backup.ErrNoMember
	return errors.Is(err, errNamespace) || errors.As(err, &amb) || errors.As(err, &none) || errors.As(err, &member)
}

// line is the error in one line: no stack, no line breaks.
func (a *app) line(err error) string {
	var dns *net.DNSError
	var u *url.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded) && !strings.Contains(err.Error(), "deadline"):
		return oneLine(err.Error() + ": deadline exceeded")
	case errors.As(err, &dns), errors.As(err, &u) && unreachable(err):
		return oneLine("reach the API server: " + err.Error())
	}
	return oneLine(err.Error())
}

// oneLine keeps several errors apart in one line.
func oneLine(s string) string { return strings.ReplaceAll(strings.TrimSpace(s), "\n", "; ") }

func unreachable(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
}
