package plugin

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plugin/hint"
)

// externalError says of an etcd that no pod runs where it is and what runs it.
// A loopback address is never offered: typed elsewhere it is another etcd.
type externalError struct{ plane controlplane.ControlPlane }

func (e *externalError) Error() string {
	return fmt.Sprintf("reach etcd of %s: %s", e.plane.ID(), e.where())
}

func (e *externalError) where() string {
	p := e.plane.Place
	if p == nil {
		return "no pod runs it; its endpoints are " + strings.Join(e.plane.Reachable(), ", ")
	}
	pods := "in pod " + strings.Join(p.Pods, ", ")
	nodes := "on node " + strings.Join(p.Nodes, ", ")
	in := pods
	if len(p.Nodes) > 0 {
		in = nodes
	}
	switch p.Program {
	case controlplane.Kine:
		behind := ""
		if p.Store != "" {
			behind = ", with " + p.Store + " behind it"
		}
		return "there is none: kine stands in for it " + in + " itself" + behind
	case controlplane.EtcdManager:
		return "it is " + in + " itself, where etcd-manager runs it (pod " + strings.Join(p.By, ", ") + ")"
	}
	if len(p.Nodes) > 0 {
		return "it is " + in + " itself, at " + e.ports() + ", where no pod runs it: a service of the node does"
	}
	return "it is " + in + " itself, at " + e.ports() + ", where no etcd is seen"
}

// ports are what tells several of one node apart.
func (e *externalError) ports() string {
	var out []string
	for _, u := range e.plane.Endpoints {
		if i := strings.LastIndex(u, ":"); !strings.HasPrefix(u, "unix") {
			out = append(out, "port "+u[i+1:]+" of its loopback address")
		} else {
			out = append(out, "the socket "+u[i+len("://"):])
		}
	}
	return strings.Join(out, ", ")
}

// HintFor is what can be done about it, by the command that met it if it has the flags.
func (e *externalError) HintFor(cmd *cobra.Command) string {
	files := ""
	if t := e.plane.ClientTLS; t != nil && t.CA != "" {
		files = fmt.Sprintf(", with the TLS files that the API server's container has (%s)", strings.Join([]string{t.CA, t.Cert, t.Key}, ", "))
	}
	p := e.plane.Place
	switch {
	case p == nil:
		how := "kubectl etcd backup"
		if cmd.Flags().Lookup("endpoint") != nil {
			how = hint.Typed(cmd)
		}
		if files != "" {
			files = " --cacert CA --cert CERT --key KEY" + files
		}
		return fmt.Sprintf("where they can be reached: %s --via direct --endpoint %s%s", how, strings.Join(e.plane.Reachable(), ","), files)
	case p.Program == controlplane.Kine:
		return "back up that database with its own tools; a snapshot of etcd cannot be had of it"
	case p.Program == controlplane.EtcdManager && p.Store != "":
		return fmt.Sprintf("etcd-manager keeps backups in %s, which its etcd-manager-ctl lists and restores; or run etcdctl snapshot save on that node%s", p.Store, files)
	case len(p.Nodes) > 0:
		return "run etcdctl snapshot save on that node" + files
	}
	return "find out what serves there; if it is another database behind etcd's API, back that up with its own tools"
}

// builtinError says that a distribution of Kubernetes has its etcd inside its own process.
type builtinError struct {
	none    *controlplane.NotFoundError
	builtin controlplane.Builtin
}

func (e *builtinError) Unwrap() error { return e.none }

func (e *builtinError) Error() string {
	where := ""
	if len(e.builtin.Nodes) > 0 {
		where = ", on node " + strings.Join(e.builtin.Nodes, ", ")
	}
	if e.builtin.Name == "k3s" && !e.builtin.Etcd {
		return fmt.Sprintf("%v: k3s keeps its data in a database that is no etcd", e.none)
	}
	return fmt.Sprintf("%v: %s has it in its own process%s", e.none, e.builtin.Name, where)
}

// Hint names the distribution's own way.
func (e *builtinError) Hint() string {
	switch {
	case e.builtin.Name == "k0s":
		return "run this on a controller: k0s backup --save-path FOLDER"
	case e.builtin.Etcd:
		return "run this on one of these nodes: k3s etcd-snapshot save"
	}
	return "back that database up: https://docs.k3s.io/datastore/backup-restore"
}

// elsewhere says more of why no etcd of the cluster's own was found: what
// others there are, and whether one is hidden in a node's own process.
func elsewhere(ctx context.Context, c controlplane.Client, none *controlplane.NotFoundError) error {
	if b := controlplane.FindBuiltin(ctx, c); b.Name != "" {
		return &builtinError{none, b}
	}
	if all, err := controlplane.Find(ctx, c, controlplane.Query{}); err == nil { // if the user may look
		none.Candidates = all
	}
	return none
}
