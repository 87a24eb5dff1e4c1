package plugin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
)

// restoreReporter shows a restore's steps and uploads.
type restoreReporter struct {
	reporter
	began time.Time
}

func (r *restoreReporter) Begin(s plan.Step, undo bool) {
	r.began = time.Now()
	what := s.What
	if undo {
		if s.Back == "" {
			return
		}
		what = "undo: " + s.Back + " (" + s.ID + ")"
	}
	r.app.say("%s", what)
}

func (r *restoreReporter) End(s plan.Step, undo bool, err error) {
	r.Done()
	if err == nil {
		r.app.explain("%s: %.1f s", s.ID, time.Since(r.began).Seconds())
	}
}

func (r *restoreReporter) Progress(what string, done, total int64) {
	r.reporter.Progress(done, total, -1)
}

// continueOptions are those of the commands that take up an operation.
type continueOptions struct {
	app     *app
	from    string
	yes     bool
	timeout time.Duration
	user    etcdUser
}

func (o *continueOptions) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.from, "from", "", "The snapshot again; needed only while it has not been uploaded to all members")
	f.BoolVarP(&o.yes, "yes", "y", false, "Do not ask")
	f.DurationVar(&o.timeout, "timeout", 5*time.Minute, "Bound each wait for pods")
	o.user.addFlags(cmd)
}

// open finds the operation and its control plane as it is now.
func (o *continueOptions) open(ctx context.Context, id string) (*restore.Prepared, error) {
	d, err := o.app.restoreDeps()
	if err != nil {
		return nil, err
	}
	cfg := restore.Config{From: o.from, Timeout: o.timeout, Bump: -1}
	if cfg.Reach.Username, cfg.Reach.Password, err = o.user.read(); err != nil {
		return nil, err
	}
	cfg.Reach.Log = o.app.explain
	op, err := restore.Load(ctx, d, o.app.namespace(), id)
	if err != nil {
		return nil, err
	}
	if _, cfg.Plane, err = o.app.resolve(ctx, op.Target); err != nil {
		return nil, err
	}
	return restore.Continue(ctx, d, cfg, op)
}

func (a *app) restoreResumeCommand() *cobra.Command {
	o := &continueOptions{app: a}
	cmd := &cobra.Command{
		Use:   "resume [OPERATION]",
		Short: "Go on with a restore whose client ended",
		Long: `Go on with a restore whose client was killed, or which failed after its point of no return.

What was being undone goes on being undone. Without OPERATION, the one that has not ended.

` + restoreExitCodes,
		Example: `  kubectl etcd restore resume -n team-a`,
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.user.validate(cmd); err != nil {
				return err
			}
			p, err := o.open(cmd.Context(), firstArg(args))
			if err != nil {
				return err
			}
			defer p.Close()
			return a.reportRestore(p, p.Resume(cmd.Context()))
		},
	}
	o.addFlags(cmd)
	return cmd
}

func (a *app) restoreUndoCommand() *cobra.Command {
	o := &continueOptions{app: a}
	cmd := &cobra.Command{
		Use:   "undo [OPERATION]",
		Short: "Take a restore back",
		Long: `Take back what a restore has done, in reverse: the old data, replicas and budgets as they were.

That is possible until the first API server has started on the restored data. From then on clients have seen it.

` + restoreExitCodes,
		Example: `  kubectl etcd restore undo -n team-a`,
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.user.validate(cmd); err != nil {
				return err
			}
			p, err := o.open(cmd.Context(), firstArg(args))
			if err != nil {
				return err
			}
			defer p.Close()
			return a.reportRestore(p, p.Undo(cmd.Context()))
		},
	}
	o.addFlags(cmd)
	return cmd
}

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
			return a.printOperations(&out, ops, firstArg(args))
		},
	}
	cmd.Flags().BoolVarP(&all, "all-namespaces", "A", false, "Look in all namespaces")
	out.addFlag(cmd)
	return cmd
}

func (a *app) printOperations(out *output, ops []plan.Operation, id string) error {
	if id != "" {
		for i := range ops {
			if ops[i].ID == id {
				return a.printOperation(out, &ops[i])
			}
		}
		return fmt.Errorf("find operation %s: there is no journal of it", id)
	}
	if out.data() {
		return out.print(a.Out, map[string]any{"apiVersion": "kubectl-etcd.io/v1", "kind": "RestoreList", "items": ops})
	}
	if len(ops) == 0 {
		a.say("there are no restores")
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
	return table(a.Out, []string{"TARGET", "OPERATION", "PHASE", "STEPS", "AGE", "ERROR"}, rows)
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

// reportRestore says how an operation ended, and what can be typed next.
func (a *app) reportRestore(p *restore.Prepared, err error) error {
	op, s := p.Operation, p.Shared
	switch {
	case err == nil && op.Phase == plan.Succeeded && s.Replace != nil:
		a.say("replaced member %s of %s; its old data is still on its volume; remove it with: kubectl etcd restore cleanup -n %s %s", s.Members[0].Name, op.Target, s.Namespace, op.ID)
		return nil
	case err == nil && op.Phase == plan.Succeeded:
		a.say("restored %s to revision %d of the snapshot, now %d; outage %.0f s", op.Target, s.Snapshot.Revision, s.Snapshot.Revision+s.Bump, s.OutageEnded.Sub(s.OutageBegan).Seconds())
		a.say("the old data is still on the volumes; remove it with: kubectl etcd restore cleanup -n %s %s", s.Namespace, op.ID)
		return nil
	case err == nil:
		a.say("%s is as it was before operation %s", op.Target, op.ID)
		return nil
	case errors.Is(err, plan.ErrUndone):
		a.say("everything was undone: %s is as it was", op.Target)
	case op.Phase == plan.Failed || op.Phase == plan.GoingBack || op.Phase == plan.Running:
		a.say("operation %s has not ended; go on with: kubectl etcd restore resume -n %s %s", op.ID, s.Namespace, op.ID)
	}
	return err
}
