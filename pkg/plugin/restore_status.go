package plugin

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plugin/cli"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
)

func (a *app) restoreStatusCommand() *cobra.Command {
	var out cli.Output
	all := false
	cmd := &cobra.Command{
		Use:   "status [OPERATION]",
		Short: "List restores, and how far they are",
		Long: `List the restores that have a journal, newest first, of all namespaces or one; with OPERATION, its steps. Of one that has not
ended it says who works on it. Where no API server answers, OPERATION can be the file that a restore of the cluster's own etcd has written here
(kubectl-etcd-restore-OPERATION.json): what was known of it right before the exchange, and what to do on which node.

` + shortExitCodes,
		Example:           `  kubectl etcd restore status -n team-a`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.completeOperations(func(*plan.Operation) bool { return true }),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.Validate(cmd); err != nil {
				return err
			}
			if o, sh, err := site.JournalFile(firstArg(args)); err != nil || o != nil {
				if err != nil {
					return err
				}
				return a.printFile(&out, o, sh)
			}
			d, err := a.restoreDeps()
			if err != nil {
				return err
			}
			ns := a.namespace()
			if all {
				ns = ""
			}
			ops, bad, err := site.Journals(cmd.Context(), d.Place, ns)
			if err != nil {
				return err
			}
			for _, u := range bad {
				if id := firstArg(args); id == u.ID {
					return u
				}
				a.warn("%v; %s", u, u.Hint())
			}
			if id := firstArg(args); ns != "" && site.MayBeBeside(ops) || id != "" && !slices.ContainsFunc(ops, func(o plan.Operation) bool { return o.ID == id }) {
				beside, err := d.Beside(cmd.Context(), ns, ops)
				if err != nil {
					a.warn("whether an operation is only known beside its data cannot be seen: %v", err)
				}
				ops = append(beside, ops...)
				slices.SortFunc(ops, func(a, b plan.Operation) int { return b.Created.Compare(a.Created) })
			}
			if err := a.printOperations(&out, ops, ns, firstArg(args)); err != nil || out.Data() {
				return err
			}
			return a.printLocks(cmd.Context(), d, ops, firstArg(args))
		},
	}
	cmd.Flags().BoolVarP(&all, "all-namespaces", "A", false, "Look in all namespaces, whatever -n says")
	out.AddFlag(cmd)
	out.AddBare(cmd)
	return cmd
}

// printOperations prints those of a namespace, "" for all, or one of them.
func (a *app) printOperations(out *cli.Output, ops []plan.Operation, ns, id string) error {
	if id != "" {
		for i := range ops {
			if ops[i].ID == id {
				return a.printOperation(out, &ops[i])
			}
		}
		return site.NoJournal(id)
	}
	if out.Data() {
		return out.Print(a.Out, map[string]any{"apiVersion": "kubectl-etcd.io/v1", "kind": "RestoreList", "items": ops})
	}
	switch {
	case len(ops) > 0:
	case ns == "":
		a.say("there are no restores")
		return nil
	default:
		a.say("there are no restores in namespace %s", ns)
		return nil
	}
	var rows [][]string
	for _, o := range ops {
		done := 0
		for _, s := range o.Steps {
			if s.State == plan.Done {
				done++
			}
		}
		rows = append(rows, []string{o.Target, o.ID, string(o.Phase), fmt.Sprintf("%d/%d", done, len(o.Steps)), duration.HumanDuration(time.Since(o.Created)), cmp.Or(o.Error, "-")})
	}
	return out.Table(a.Out, []string{"TARGET", "OPERATION", "PHASE", "STEPS", "AGE", "ERROR"}, rows)
}

// printLocks says of operations that are unfinished, or of the one that is named, who is at them.
func (a *app) printLocks(ctx context.Context, d site.Deps, ops []plan.Operation, id string) error {
	for _, o := range ops {
		if o.Ended() || id != "" && o.ID != id {
			continue
		}
		who, err := site.Locked(ctx, d, &o)
		if err != nil {
			return err
		}
		a.say("%s", who)
	}
	return nil
}

func (a *app) printOperation(out *cli.Output, o *plan.Operation) error {
	if out.Data() {
		return out.Print(a.Out, o)
	}
	var rows [][]string
	for _, s := range o.Steps {
		took := ""
		if s.Started != nil && s.Ended != nil {
			took = fmt.Sprintf("%.1f s", s.Ended.Sub(*s.Started).Seconds())
		}
		rows = append(rows, []string{s.ID, string(s.State), took, s.Error})
	}
	return out.Table(a.Out, []string{"STEP", "STATE", "TOOK", "ERROR"}, rows)
}

// printFile prints what such a journal says, and what to do where no API server answers.
func (a *app) printFile(out *cli.Output, o *plan.Operation, sh *site.Shared) error {
	if err := a.printOperation(out, o); err != nil || out.Data() {
		return err
	}
	for _, m := range sh.Members {
		a.say("node %s: its etcd is on the restored data if the folder member in its data directory has inode %d, and on the old if %d (ls -id); the other one is in .kubectl-etcd/%s/data beside it, with what its agent decided (fate.json)",
			m.Node, m.NewInode, m.OldInode, o.ID)
	}
	a.say("each node ends by itself what was begun there. As soon as an API server answers: kubectl etcd restore status -n %s %s. If none does after some minutes, restart the kubelet on each node; if nodes differ then, exchange the two folders where the fewer are, while no etcd runs there (mv its manifest away, and back)",
		sh.Namespace, o.ID)
	return nil
}
