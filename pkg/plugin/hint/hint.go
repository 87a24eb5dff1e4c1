// Package hint says the way out of an error, with the flags of the command that met it. An error that knows its own way out carries
// it (a method Hint() string); what only etcd or an API server says is known here by its words.
package hint

import (
	"context"
	"errors"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/backup"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/rehearse"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify"
)

// For is the way out, where there is one.
func For(cmd *cobra.Command, err error) string {
	var (
		u       *url.Error
		rights  *reach.MissingRightsError
		none    *controlplane.NotFoundError
		amb     *controlplane.AmbiguousError
		nospace *backup.ErrNoSpace
		source  *backup.ErrNoSource
		other   *reach.NotPossible
		outside interface{ HintFor(*cobra.Command) string }
		knows   interface{ Hint() string }
	)
	switch {
	case errors.As(err, &knows) && knows.Hint() != "": // an error that knows a way out carries it
		return knows.Hint()
	case errors.As(err, &outside):
		return outside.HintFor(cmd)
	case errors.Is(err, ErrNoKubeconfig):
		return "set KUBECONFIG, or name a file with --kubeconfig"
	case errors.As(err, &rights), apierrors.IsForbidden(err) && !admission(err), errors.As(err, &source) && strings.Contains(err.Error(), " is forbidden: User "):
		return rightsHint(cmd, err)
	case apierrors.IsUnauthorized(err):
		return "log in to the cluster again, or choose another context with --context"
	case errors.As(err, &amb):
		return "name one: " + commands(cmd, amb.Candidates)
	case errors.As(err, &none) && len(none.Candidates) > 0:
		return "choose one that there is: " + commands(cmd, none.Candidates)
	case errors.As(err, &none):
		return `list what there is in all namespaces with "kubectl etcd list -A"`
	case errors.As(err, &u) && Unreachable(err):
		return "is this the right context? see: kubectl config current-context"
	case errors.As(err, &nospace), errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		if restores(cmd) {
			return "free some space, or name another folder: --safety-backup for backups, TMPDIR for what is unpacked"
		}
		if cmd.Flags().Lookup("temp-dir") != nil {
			return "free some space, or unpack elsewhere with --temp-dir FOLDER"
		}
		return "free some space, or write somewhere else with --to, or smaller with --compress=zstd --prove=stream"
	case errors.Is(err, store.ErrExists):
		return "choose another name, or replace it with --force"
	case errors.Is(err, store.ErrBusy):
		return "wait for it, or write to another name"
	case strings.Contains(err.Error(), "expired or is not yet valid"): // also in what etcdctl and gRPC tell in words only
		return "is this machine's clock right? if it is, the certificate has to be renewed"
	case !errors.As(err, &u) && connectionHint(cmd, err) != "": // HTTP is the API server's, and these hints are for etcd
		return connectionHint(cmd, err)
	case errors.As(err, &source) && source.Survey != nil:
		return sourceHint(cmd, source.Survey)
	case errors.Is(err, site.ErrDiffers):
		return "everything serves; find the member that differs with: kubectl etcd status --hashes, and replace it with: kubectl etcd restore --member NAME"
	case errors.Is(err, site.ErrMiscounted):
		return "everything serves; do the API servers use the prefix (--etcd-prefix) that the snapshot was taken with?"
	case errors.Is(err, site.ErrLate):
		return "the data is restored; look at their pods, and at what the namespace's events say"
	case errors.As(err, &other):
		return wayHint(cmd, err)
	}
	return verifyHint(cmd, err)
}

// rightsHint says whom to ask for what. The rights of a backup are rights in one
// namespace: they do not let anyone look everywhere.
func rightsHint(cmd *cobra.Command, err error) string {
	if f := cmd.Flags().Lookup("all-namespaces"); f != nil && f.Changed {
		what := "pods"
		var refused apierrors.APIStatus
		if errors.As(err, &refused) && refused.Status().Details != nil && refused.Status().Details.Kind != "" {
			what = refused.Status().Details.Kind
		}
		return "looking everywhere requires the right to list " + what + " in all namespaces; look in one of them with -n NAMESPACE"
	}
	var missing *reach.MissingRightsError
	if opens(cmd) && errors.As(err, &missing) { // -n is the snapshot's namespace there
		return `ask an administrator for the rights that "kubectl etcd backup --print-rbac -n ` + missing.Namespace + `" prints, kubectl-etcd-forward too; or put the programs on the PATH: --in=local`
	}
	print := `"kubectl etcd backup --print-rbac`
	if restores(cmd) {
		print = `"kubectl etcd restore --print-rbac`
	}
	if f := cmd.Flags().Lookup("namespace"); f != nil && f.Value.String() != "" {
		print += " -n " + f.Value.String()
	} else if ns, _, ok := strings.Cut(cmd.Flags().Arg(0), "/"); ok {
		print += " -n " + ns
	}
	return "ask an administrator for the rights that " + print + `" prints`
}

// opens tells whether a command opens a snapshot, in a pod or here.
func opens(cmd *cobra.Command) bool { return cmd.Flags().Lookup("kube-apiserver") != nil }

// wayHint names the ways that were not tried.
func wayHint(cmd *cobra.Command, err error) string {
	if errors.Is(err, reach.ErrLate) && cmd.Flags().Lookup("pod-timeout") != nil {
		return "the node may be busy: raise --pod-timeout"
	}
	if opens(cmd) {
		return "let the namespace's quota and admission pass a pod with two containers, and see that the node is well; or put the programs on the PATH: --in=local"
	}
	f := cmd.Flags().Lookup("via")
	if f == nil { // a restore has no other way
		if cmd.Flags().Lookup("skip-member") != nil && errors.Is(err, reach.ErrNotReady) {
			return "bring the node back; or leave its member out with --skip-member, and replace it later with --member"
		}
		return "it requires a pod at the member's volume, on its node: let the namespace's quota and admission pass one, and see that the node is well"
	}
	used := f.Value.String()
	if raw := cmd.Flags().Lookup("raw"); used == string(reach.Auto) || raw != nil && raw.Changed {
		return "" // all that can be has been tried, and the error says what was in the way of each
	}
	only := slices.ContainsFunc([]string{"cacert", "cert", "key", "server-name", "etcd-user"}, func(name string) bool { // what etcdctl in a pod cannot be told
		f := cmd.Flags().Lookup(name)
		return f != nil && f.Changed
	})
	var ways []string
	for _, w := range []struct{ name, needs string }{{"agent", "a pod"}, {"forward", "a Secret with etcd's certificates"}, {"exec", "a shell in etcd's image"}} {
		if w.name != used && !(w.name == "exec" && (only || errors.Is(err, reach.ErrNoShell))) {
			ways = append(ways, "--via="+w.name+" ("+w.needs+")")
		}
	}
	return "try a way that needs something else: " + strings.Join(ways, ", ")
}

// admission tells a refusal of the object from one of the user: RBAC's says what the user "cannot" do.
func admission(err error) bool { return !strings.Contains(err.Error(), " cannot ") }

// restores tells whether a command reads a snapshot to restore it: its flags are others than those of a verification.
func restores(cmd *cobra.Command) bool { return strings.Contains(cmd.CommandPath(), " restore") }

func verifyHint(cmd *cobra.Command, err error) string {
	switch {
	case errors.Is(err, verify.ErrWritten):
		return writtenHint(restores(cmd), errors.Is(err, verify.ErrSidecar))
	case restores(cmd) && errors.Is(err, verify.ErrNoTrailer):
		return "it may have been cut short: take another copy of it; if it is a copy of member/snap/db, accept it with --skip-hash-check, which cannot prove it"
	case restores(cmd) && errors.Is(err, verify.ErrInvalidSidecar):
		return "to restore the file without what is beside it, move that away"
	case restores(cmd) && errors.Is(err, verify.ErrSidecar):
		return "do not restore this file; if it is the sidecar that is wrong, move it away"
	case errors.Is(err, verify.ErrInUse):
		return "this is the database of a running etcd; take a snapshot of it with: kubectl etcd backup"
	case errors.Is(err, verify.ErrNoTrailer):
		return "if this is a copy of member/snap/db, say so with --raw; it is then read, but cannot be proven"
	case errors.Is(err, verify.ErrInvalidSidecar):
		return "to verify the file without what is beside it, add --no-sidecar"
	case errors.Is(err, verify.ErrSidecar):
		return "do not restore this file; if it is the sidecar that is wrong, leave it out with --no-sidecar"
	case restores(cmd) && damaged(err):
		return "do not restore this file; name another snapshot, or what a member still has: --from member/NAME"
	case damaged(err):
		return "do not restore this file; take another one with: kubectl etcd backup"
	case errors.Is(err, rehearse.ErrNoBinary):
		return "install etcd and etcdutl on the PATH, or let a member's image do it: kubectl etcd verify FILE --rehearse=pod"
	}
	return ""
}

// writtenHint is for a snapshot that another program has opened for writing: it is still a database.
func writtenHint(restores, sidecar bool) string {
	switch {
	case restores && sidecar:
		return "name another snapshot; or move the sidecar away, and restore the database without its last 32 bytes with --skip-hash-check: it has been read whole, but cannot be proven"
	case restores:
		return "name another snapshot, or restore the database without its last 32 bytes with --skip-hash-check: it has been read whole, but cannot be proven"
	case sidecar:
		return "read it with --raw --no-sidecar; a restore accepts it, without its last 32 bytes, with --skip-hash-check, once the sidecar is moved away"
	}
	return "read it with --raw; a restore accepts it, without its last 32 bytes, with --skip-hash-check"
}

func damaged(err error) bool {
	for _, e := range []error{verify.ErrTrailer, verify.ErrCorrupt, verify.ErrTruncated, verify.ErrLonger, verify.ErrCompressed, verify.ErrEmpty} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// commands are what to type instead.
func commands(cmd *cobra.Command, planes []controlplane.ControlPlane) string {
	var out []string
	flag := ""
	if cmd.Flags().Lookup("target") != nil {
		flag = "--target="
	}
	for _, p := range planes {
		out = append(out, Typed(cmd)+" "+flag+p.ID())
	}
	return strings.Join(out, ", ")
}

// Typed is how a user types a command.
func Typed(cmd *cobra.Command) string {
	return strings.Replace(cmd.CommandPath(), "kubectl-etcd", "kubectl etcd", 1)
}

// ErrNoKubeconfig says that no kubeconfig was found.
var ErrNoKubeconfig = errors.New("there is none")

// Unreachable tells that nobody answered at an address.
func Unreachable(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
}
