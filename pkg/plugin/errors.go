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
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/backup"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/rehearse"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify"
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
  3    backup: the snapshot is good, but a member holds different data
  130  interrupted; nothing was left behind`

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
		fmt.Fprintln(a.ErrOut, a.paint("31", "error:")+" interrupted")
		return exitInterrupted
	}
	fmt.Fprintln(a.ErrOut, a.paint("31", "error:")+" "+a.line(err))
	if h := a.hint(err); h != "" {
		fmt.Fprintln(a.ErrOut, a.paint("36", "hint:")+" "+h)
	}
	var usage *usageError
	switch {
	case errors.As(err, &usage):
		fmt.Fprintf(a.ErrOut, "See '%s --help'.\n", strings.Replace(usage.cmd.CommandPath(), "kubectl-etcd", "kubectl etcd", 1))
		return exitUsage
	case isTarget(err):
		return exitUsage
	case errors.Is(err, backup.ErrDiffers):
		return exitDiffers
	}
	return exitFailed
}

func isTarget(err error) bool {
	var amb *controlplane.AmbiguousError
	var none *controlplane.NotFoundError
	var member *backup.ErrNoMember
	return errors.As(err, &amb) || errors.As(err, &none) || errors.As(err, &member)
}

// line is the error in one line: no stack, no line breaks.
func (a *app) line(err error) string {
	var dns *net.DNSError
	var u *url.Error
	switch {
	case clientcmd.IsEmptyConfig(err):
		return "load kubeconfig: there is none"
	case errors.Is(err, context.DeadlineExceeded) && !strings.Contains(err.Error(), "deadline"):
		return err.Error() + ": deadline exceeded"
	case errors.As(err, &dns), errors.As(err, &u) && unreachable(err):
		return strings.ReplaceAll("reach the API server: "+err.Error(), "\n", " ")
	}
	return strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; ")
}

func unreachable(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
}

// hint is the way out, where there is one.
func (a *app) hint(err error) string {
	var (
		u       *url.Error
		rights  *reach.MissingRightsError
		none    *controlplane.NotFoundError
		amb     *controlplane.AmbiguousError
		nospace *backup.ErrNoSpace
		source  *backup.ErrNoSource
	)
	switch {
	case clientcmd.IsEmptyConfig(err):
		return "set KUBECONFIG, or name a file with --kubeconfig"
	case errors.As(err, &rights), apierrors.IsForbidden(err):
		return `ask an administrator for the rights that "kubectl etcd backup --print-rbac" prints`
	case apierrors.IsUnauthorized(err):
		return "log in to the cluster again, or choose another context with --context"
	case errors.As(err, &amb):
		return "name one: " + commands(amb.Candidates)
	case errors.As(err, &none) && len(none.Candidates) > 0:
		return "there are: " + commands(none.Candidates)
	case errors.As(err, &none):
		return `list what there is in all namespaces with "kubectl etcd list -A"`
	case errors.As(err, &u) && unreachable(err):
		return "is this the right context? see: kubectl config current-context"
	case errors.As(err, &nospace), errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "free some space, or write somewhere else with --to, or smaller with --compress=zstd"
	case errors.Is(err, store.ErrExists):
		return "choose another name, or replace it with --force"
	case errors.Is(err, store.ErrBusy):
		return "wait for it, or write to another name"
	case errors.As(err, &source) && source.Survey != nil:
		return "if etcd does not run but its data is there, copy the database file with --raw --member NAME"
	}
	return verifyHint(err)
}

func verifyHint(err error) string {
	switch {
	case errors.Is(err, verify.ErrInUse):
		return "this is the database of a running etcd; take a snapshot of it with: kubectl etcd backup"
	case errors.Is(err, verify.ErrNoTrailer):
		return "if this is a copy of member/snap/db, say so with --raw; it is then read, but cannot be proven"
	case errors.Is(err, verify.ErrSidecar):
		return "do not restore this file; if it is the sidecar that is wrong, leave it out with --no-sidecar"
	case errors.Is(err, verify.ErrTrailer), errors.Is(err, verify.ErrCorrupt), errors.Is(err, verify.ErrTruncated), errors.Is(err, verify.ErrCompressed), errors.Is(err, verify.ErrEmpty):
		return "do not restore this file; take another one with: kubectl etcd backup"
	case errors.Is(err, rehearse.ErrNoBinary):
		return "install etcd and etcdutl on the PATH, or let a member's image do it: kubectl etcd verify FILE --rehearse=pod"
	}
	return ""
}

func commands(planes []controlplane.ControlPlane) string {
	var out []string
	for _, p := range planes {
		out = append(out, "kubectl etcd … "+p.ID())
	}
	return strings.Join(out, ", ")
}
