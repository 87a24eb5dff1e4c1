package plugin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plugin/cli"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"

	"github.com/spf13/cobra"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/backup"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plugin/hint"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
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

var errNamespace = errors.New("it is not in the namespace that -n names")

var errInterrupted = errors.New("interrupted")

// report prints an error, once and in one place, and returns the exit code.
func (a *app) report(cmd *cobra.Command, err error) int {
	if err == nil {
		return exitOK
	}
	var code cli.ExitCode // after everything was said already
	if errors.As(err, &code) {
		return int(code)
	}
	if errors.Is(err, errInterrupted) {
		var left *reach.CleanupError
		if errors.As(err, &left) {
			a.warn("%v; remove what is left with: kubectl etcd cleanup -A --running", left)
		}
		fmt.Fprintln(a.ErrOut, a.paint("31", "error:")+" interrupted")
		var stopped *site.Stopped
		if errors.As(err, &stopped) {
			a.hint(stopped.Hint())
		}
		return exitInterrupted
	}
	fmt.Fprintln(a.ErrOut, a.paint("31", "error:")+" "+cli.Printable(a.line(err)))
	a.hint(hint.For(cmd, err))
	var usage *cli.UsageError
	switch {
	case errors.As(err, &usage):
		fmt.Fprintf(a.ErrOut, "See '%s --help'.\n", hint.Typed(usage.Cmd))
		return exitUsage
	case isTarget(err):
		return exitUsage
	case errors.Is(err, backup.ErrDiffers), errors.Is(err, site.ErrDiffers), errors.Is(err, site.ErrMiscounted):
		return exitDiffers
	}
	return exitFailed
}

func (a *app) hint(way string) {
	if way != "" {
		fmt.Fprintln(a.ErrOut, a.paint("36", "hint:")+" "+cli.PrintableLines(way))
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
	var elsewhere *store.Error // which says whom it could not reach
	switch {
	case errors.As(err, &elsewhere):
	case errors.Is(err, context.DeadlineExceeded) && !strings.Contains(err.Error(), "deadline"):
		return oneLine(err.Error() + ": deadline exceeded")
	case errors.As(err, &dns), errors.As(err, &u) && hint.Unreachable(err):
		return oneLine("reach the API server: " + err.Error())
	}
	return oneLine(err.Error())
}

// oneLine keeps several errors apart in one line.
func oneLine(s string) string { return strings.ReplaceAll(strings.TrimSpace(s), "\n", "; ") }
