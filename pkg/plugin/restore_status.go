package plugin

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
)

func (a *app) restoreStatusCommand() *cobra.Command {
	var out output
	all := false
	cmd := &cobra.Command{
		Use:   "status [OPERATION]",
		Short: "List restores, and how far they are",
		Long: `List the restores that have a journal, newest first, of all namespaces or one; with OPERATION, its steps. Of one that has not
ended it says who works on it.

` + shortExitCodes,
		Example:           `  kubectl etcd restore status -n team-a`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.completeOperations(func(*plan.Operation) bool { return true }),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.validate(cmd); err != nil {
				return err
			}
			d, err := a.restoreDeps()
			if err != nil {
				return err
			}
			ns := a.namespace()
			if all {
				ns = ""
			}
			ops, bad, err := restore.Journals(cmd.Context(), d.Place, ns)
			if err != nil {
				return err
			}
			for _, u := range bad {
				if id := firstArg(args); id == u.ID {
					return u
				}
				a.warn("%v; %s", u, u.Hint())
			}
			if err := a.printOperations(&out, ops, ns, firstArg(args)); err != nil || out.data() {
				return err
			}
			return a.printLocks(cmd.Context(), d, ops, firstArg(args))
		},
	}
	cmd.Flags().BoolVarP(&all, "all-namespaces", "A", false, "Look in all namespaces, whatever -n says")
	out.addFlag(cmd)
	out.addBare(cmd)
	return cmd
}

// printOperations prints those of a namespace, "" for all, or one of them.
func (a *app) printOperations(out *output, ops []plan.Operation, ns, id string) error {
	if id != "" {
		for i := range ops {
			if ops[i].ID == id {
				return a.printOperation(out, &ops[i])
			}
		}
		return restore.NoJournal(id)
	}
	if out.data() {
		return out.print(a.Out, map[string]any{"apiVersion": "kubectl-etcd.io/v1", "kind": "RestoreList", "items": ops})
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
	return out.table(a.Out, []string{"TARGET", "OPERATION", "PHASE", "STEPS", "AGE", "ERROR"}, rows)
}

// printLocks says of operations that are unfinished, or of the one that is named, who is at them.
func (a *app) printLocks(ctx context.Context, d restore.Deps, ops []plan.Operation, id string) error {
	for _, o := range ops {
		if o.Ended() || id != "" && o.ID != id {
			continue
		}
		who, err := restore.Locked(ctx, d, &o)
		if err != nil {
			return err
		}
		a.say("%s", who)
	}
	return nil
}

func (a *app) printOperation(out *output, o *plan.Operation) error {
	if out.data() {
		return out.print(a.Out, o)
	}
	var rows [][]string
	for _, s := range o.Steps {
		took := ""
		if s.Started != nil && s.Ended != nil {
			took = fmt.Sprintf("%.1f s", s.Ended.Sub(*s.Started).Seconds())
		}
		rows = append(rows, []string{s.ID, string(s.State), took, s.Error})
	}
	return out.table(a.Out, []string{"STEP", "STATE", "TOOK", "ERROR"}, rows)
}
