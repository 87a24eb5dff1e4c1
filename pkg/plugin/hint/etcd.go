package hint

import (
	"errors"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/survey"
)

const (
	authOn   = "etcd's authentication is on: --etcd-user and --etcd-password-file"
	onlyRoot = "etcd gives its data only to users with the role root: --etcd-user and --etcd-password-file"
)

// deniedByEtcd tells etcd's refusal, as etcdctl or an agent pass it on, from that of a file system.
var deniedByEtcd = regexp.MustCompile(`etcdserver: permission denied|(ask|list|snapshot) .*(of|at) \S+( after \d+ bytes)?: permission denied`)

// connectionHint is for what stands between here and etcd. By the time it is an
// error of the whole command, only its words are left.
func connectionHint(cmd *cobra.Command, err error) string {
	for _, h := range []struct{ words, says string }{
		{"signed by unknown authority", "the CA certificate is not that of etcd's server certificate; name the right one with --cacert"},
		{"certificate is valid for", "verify another name of etcd's certificate with --server-name"},
		{"doesn't contain any IP SANs", "verify a name of etcd's certificate with --server-name"},
		{"not for clients", "name a certificate that is made for clients (extended key usage: client authentication) with --cert and --key"},
		{"private key does not match", "the file named by --key is not the key of the certificate named by --cert"},
		{"speak no TLS?", "if it is etcd's port for clients, name it with http:// instead of https://"},
		{"metrics, or of its peers?", "name etcd's port for clients, mostly 2379"},
		{"certificate required", "etcd wants a client certificate: --cert and --key"},
		{"unknown certificate authority", "etcd does not accept the client certificate; --cert and --key have to be of the CA that etcd trusts"},
		{"want https?", "an https endpoint needs --cacert, and mostly --cert and --key"},
		{"its etcd still runs", "leave out --raw: an etcd that runs gives a snapshot that can be proven"},
		{"for no password user", "this user has no password: leave out --etcd-user, and name its client certificate with --cert and --key"},
		{"user name is empty", authOn},
		{"user name not found", authOn}, // that of the client certificate
		{"invalid user ID or password", "check --etcd-user and the file named by --etcd-password-file"},
	} {
		if strings.Contains(err.Error(), h.words) {
			return possible(cmd, h.says)
		}
	}
	var e *etcd.Error
	if errors.As(err, &e) && e.Code == codes.PermissionDenied || deniedByEtcd.MatchString(err.Error()) {
		return possible(cmd, onlyRoot)
	}
	return ""
}

// possible fits a hint about TLS files to what the command can be told.
func possible(cmd *cobra.Command, hint string) string {
	via := cmd.Flags().Lookup("via")
	exec := via != nil && via.Value.String() == string(reach.Exec)
	endpoint := cmd.Flags().Lookup("endpoint")
	switch {
	case strings.Contains(hint, "--server-name") && cmd.Flags().Lookup("server-name") == nil:
		return "etcd's certificate lacks the name in the member's URLs: it has to be renewed with that"
	case exec && (strings.Contains(hint, "--etcd-user") || strings.Contains(hint, "--server-name")):
		return hint + "; they go with --via=forward and --via=agent, not with --via=exec"
	case strings.Contains(hint, "http://") && (endpoint == nil || !endpoint.Changed):
		return "this etcd speaks no TLS: leave out --cacert, --cert and --key"
	case !strings.Contains(hint, "--c"):
		return hint
	case restores(cmd):
		return "none of the TLS files in the members' pods serves; find out which would with: kubectl etcd status --cacert CA --cert CERT --key KEY"
	case exec:
		return hint + "; they go with --via=forward and --via=agent, not with --via=exec"
	}
	return hint
}

func sourceHint(cmd *cobra.Command, s *survey.Survey) string {
	if f := cmd.Flags().Lookup("endpoint"); f != nil && f.Changed {
		return endpointHint(s)
	}

	for _, m := range s.Members {
		if m.Status != nil && !m.Learner && !m.Differs {
			return "a member that answers can be backed up as it is, with what it knows: --member " + m.Name
		}
	}
	if s.Consistency == survey.Differs {
		return "nobody but you can tell which data is right; back up each member with: --member NAME"
	}
	return "if etcd does not run but its data is there, copy the database file with --raw --member NAME"
}

// endpointHint is for members that are reached without a cluster: there is neither a volume nor a pod.
func endpointHint(s *survey.Survey) string {
	learner, silent, differs := false, false, s.Consistency == survey.Differs
	for _, m := range s.Members {
		if m.Status != nil && !m.Learner && !m.Differs && m.Source != nil {
			return "a member that answers can be backed up as it is, with what it knows: --member " + m.Name
		}
		learner = learner || m.Learner && m.Status != nil
		silent = silent || m.Source != nil && strings.Contains(m.Error, "deadline exceeded")
	}
	switch {
	case differs:
		return "nobody but you can tell which data is right; back up each member with: --member NAME"
	case learner:
		return "a learner may lack data; name the endpoint of a member that votes: --endpoint URL"
	case silent:
		return "it does not answer in time: its process may be stopped, or its disk too slow; name another member's endpoint: --endpoint URL"
	}
	return "is etcd up there, and is this its port for clients? else name another member's endpoint: --endpoint URL"
}
