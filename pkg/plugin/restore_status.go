package plugin

import (
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
		Long: `List the restores that have a journal, newest first; with OPERATION, its steps.

` + restoreExitCodes,
		Example: `  kubectl etcd restore status -A`,
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.validate(cmd); err != nil {
				return err
			}
			c, _, err := a.connect()
			if err != nil {
				return err
			}
			ns := a.namespace()
			if ns == "" && !all {
				ns = "kube-system"
			}
			if all {
				ns = ""
			}
			ops, err := restore.Operations(cmd.Context(), c.Core, ns)
			if err != nil {
				return err
			}
			return a.printOperations(&out, ops, ns, firstArg(args))
		},
	}
	cmd.Flags().BoolVarP(&all, "all-namespaces", "A", false, "Look in all namespaces")
	out.addFlag(cmd)
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
		a.say("there are no restores in namespace %s; -A looks in all", ns)
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
		rows = append(rows, []string{o.Target, o.ID, string(o.Phase), fmt.Sprintf("%d/%d", done, len(o.Steps)), duration.HumanDuration(time.Since(o.Created)), o.Error})
	}
	if err := table(a.Out, []string{"TARGET", "OPERATION", "PHASE", "STEPS", "AGE", "ERROR"}, rows); err != nil {
		return err
	}
	for _, o := range ops {
		if !o.Ended() {
			a.say("%s: a client is at it, or was killed; resume and undo find that out", o.ID)
		}
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
	return table(a.Out, []string{"STEP", "STATE", "TOOK", "ERROR"}, rows)
}
