package plugin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plugin/cli"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
)

type cleanupOptions struct {
	app     *app
	cmd     *cobra.Command
	out     cli.Output
	all     bool
	yes     bool
	running bool
	dryRun  string
}

func (a *app) cleanupCommand() *cobra.Command {
	o := &cleanupOptions{app: a}
	cmd := &cobra.Command{
		Use:   "cleanup",
		Short: "Find and remove what a killed client left in the cluster",
		Long: `Find the utility pods and ConfigMaps that a killed client left behind, and remove them.

A pod that still runs may belong to a backup under way; it is left alone unless --running is given. What a killed client left ends by itself after its deadline, too.

` + shortExitCodes,
		Example: `  # In kube-system
  kubectl etcd cleanup

  # Everywhere, without being asked
  kubectl etcd cleanup -A --running --yes`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.cmd = cmd
			if err := o.out.Validate(cmd); err != nil {
				return err
			}
			if o.all && a.namespace() != "" {
				return cli.Usagef(cmd, "-A and -n do not go together")
			}
			if o.dryRun != "none" && o.dryRun != "client" {
				return cli.Usagef(cmd, "unknown dry run --dry-run=%s; there are: none, client", o.dryRun)
			}
			return o.run(cmd.Context())
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&o.all, "all-namespaces", "A", false, "Look in all namespaces")
	f.BoolVarP(&o.yes, "yes", "y", false, "Do not ask")
	f.BoolVar(&o.running, "running", false, "Also remove pods that still run")
	f.StringVar(&o.dryRun, "dry-run", "none", "none or client: list, remove nothing")
	f.Lookup("dry-run").NoOptDefVal = "client"
	o.out.AddFlag(cmd, "name")
	o.out.AddBare(cmd)
	_ = cmd.RegisterFlagCompletionFunc("dry-run", cobra.FixedCompletions([]string{"none", "client"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (o *cleanupOptions) run(ctx context.Context) error {
	c, _, err := o.app.connect()
	if err != nil {
		return err
	}
	ns := o.app.namespace()
	if !o.all && ns == "" {
		ns = controlplane.SystemNamespaces[0]
	}
	found, err := reach.Leftovers(ctx, c, ns)
	if err != nil {
		return err
	}
	var remove, kept []reach.Leftover
	for _, l := range found {
		if l.Running && !o.running {
			kept = append(kept, l)
		} else {
			remove = append(remove, l)
		}
	}
	if o.out.Data() {
		err = o.out.Print(o.app.Out, map[string]any{"apiVersion": "kubectl-etcd.io/v1", "kind": "LeftoverList", "items": append([]reach.Leftover{}, found...)})
	} else {
		err = o.print(found)
	}
	if err != nil {
		return err
	}
	if len(kept) > 0 {
		o.app.say("left alone, still running: %d (%s)", len(kept), keptWhy(kept, o.unfinished(ctx, c, kept)))
	}
	if len(remove) == 0 {
		return nil
	}
	if o.dryRun == "client" {
		o.app.say("%d objects not removed (dry run)", len(remove))
		return nil
	}
	if err := o.confirm(ctx, len(remove)); err != nil {
		return err
	}
	return o.remove(ctx, c, remove)
}

// unfinished are the restores, of those that have left something, that may still go on. Where journals cannot be read, each may.
func (o *cleanupOptions) unfinished(ctx context.Context, c *reach.Clients, kept []reach.Leftover) map[string]bool {
	out, asked := map[string]bool{}, map[string]bool{}
	for _, l := range kept {
		if l.OperationID == "" || asked[l.Namespace] {
			continue
		}
		asked[l.Namespace] = true
		ops, unreadable, err := site.Journals(ctx, site.Place(c), l.Namespace)
		for _, k := range kept {
			op := slices.IndexFunc(ops, func(op plan.Operation) bool { return op.ID == k.OperationID })
			if k.Namespace == l.Namespace && k.OperationID != "" {
				out[k.OperationID] = err != nil || op < 0 && len(unreadable) > 0 || op >= 0 && !ops[op].Ended()
			}
		}
	}
	return out
}

// keptWhy keeps a hurried operator from the pods of a restore that is in progress.
func keptWhy(kept []reach.Leftover, unfinished map[string]bool) string {
	ended := false
	for _, l := range kept {
		if unfinished[l.OperationID] {
			return "some are of an unfinished restore, which removes them when it ends; see: kubectl etcd restore status -n " + l.Namespace
		}
		ended = ended || l.OperationID != ""
	}
	if ended {
		return "some are of a restore that has ended; remove them too with --running"
	}
	return "remove them too with --running"
}

func (o *cleanupOptions) print(found []reach.Leftover) error {
	if len(found) == 0 {
		o.app.say("nothing was left behind")
		return nil
	}
	if o.out.Format == "name" {
		var names []string
		for _, l := range found {
			names = append(names, strings.ToLower(l.Kind)+"/"+l.Name)
		}
		return o.out.Names(o.app.Out, names)
	}
	var rows [][]string
	for _, l := range found {
		rows = append(rows, []string{l.Namespace, l.Kind, l.Name, strings.TrimSpace(l.Operation + " " + l.OperationID), l.Member, duration.HumanDuration(time.Since(l.Created)), map[bool]string{true: "yes", false: "no"}[l.Running]})
	}
	return o.out.Table(o.app.Out, []string{"NAMESPACE", "KIND", "NAME", "OPERATION", "MEMBER", "AGE", "RUNNING"}, rows)
}

func (o *cleanupOptions) confirm(ctx context.Context, n int) error {
	if o.yes {
		return nil
	}
	if !cli.IsTerminal(o.app.In) {
		return cli.Usagef(o.cmd, "removing %d objects needs a yes: pass --yes where there is no terminal", n)
	}
	return o.app.confirm(ctx, fmt.Sprintf("Remove %d objects?", n), "nothing was removed")
}

func (o *cleanupOptions) remove(ctx context.Context, c *reach.Clients, found []reach.Leftover) error {
	var errs []error
	done := map[string]bool{}
	for _, l := range found {
		if key := l.Namespace + "/" + l.Name; !done[key] {
			done[key] = true
			errs = append(errs, reach.Remove(ctx, c, l.Namespace, l.Name))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	o.app.say("removed %d objects", len(found))
	return nil
}
