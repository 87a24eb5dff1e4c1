package plugin

import (
	"context"
	"fmt"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plugin/cli"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plugin/stores"

	"github.com/spf13/cobra"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/member"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
)

// continueOptions are those of the commands that take up an operation.
type continueOptions struct {
	app     *app
	cmd     *cobra.Command
	from    string
	safety  string
	skip    []string
	yes     bool
	timeout time.Duration
	user    etcdUser
	reading stores.Reading
}

// found is an operation, with what is needed to go on with it.
type found struct {
	deps site.Deps
	cfg  restore.Config
	op   *plan.Operation
}

// find finds the operation, and its control plane as it is now.
func (o *continueOptions) find(ctx context.Context, id string) (*found, error) {
	d, err := o.app.restoreDeps()
	if err != nil {
		return nil, err
	}
	f := &found{deps: d, cfg: restore.Config{Target: site.Target{Timeout: o.timeout}, Ways: ways(), From: o.from, Bump: -1}}
	if f.cfg.Reach.Username, f.cfg.Reach.Password, err = o.user.read(); err != nil {
		return nil, err
	}
	f.cfg.Reach.Log = o.app.explain
	if f.op, err = site.Load(ctx, d, o.app.namespace(), id, false); err != nil {
		return nil, err
	}
	c, plane, err := o.app.resolve(ctx, f.op.Target)
	if f.cfg.Plane = plane; err == nil {
		o.app.bring(o.cmd, c, &f.cfg, &o.reading)
	}
	return f, err
}

// open opens what it is: a restore, or the replacement of a member.
func (f *found) open(ctx context.Context) (*site.Prepared, error) {
	if !member.Is(f.op) {
		return restore.Continue(ctx, f.deps, f.cfg, f.op)
	}
	if f.cfg.From != "" {
		return nil, &site.Refusal{Reason: fmt.Sprintf("continue operation %s: it replaces a member, and needs no snapshot", f.op.ID), Way: "leave out --from"}
	}
	return member.Continue(f.deps, f.cfg.Target, f.op)
}

// goOn asks, and does it.
func (o *continueOptions) goOn(ctx context.Context, f *found, question string, do func(*site.Prepared, context.Context) error) error {
	p, err := f.open(ctx)
	if err != nil {
		return err
	}
	defer p.Close()
	if !o.yes {
		if err := o.app.confirm(ctx, question, "nothing was changed"); err != nil {
			return err
		}
	}
	return o.app.ended(ctx, p, do(p, ctx))
}

// command makes one of them; run is given the operation.
func (o *continueOptions) command(use, short, long string, run func(context.Context, *found) error) *cobra.Command {
	cmd := &cobra.Command{
		Use:     use + " [OPERATION]",
		Short:   short,
		Long:    long + "\n\nWithout OPERATION, the one of the namespace that is unfinished.\n\n" + restoreExitCodes,
		Example: "  kubectl etcd restore " + use + " -n team-a",
		Args:    cobra.MaximumNArgs(1),
		ValidArgsFunction: o.app.completeOperations(func(op *plan.Operation) bool {
			return !op.Ended() || use == "undo" && (op.Phase == plan.Succeeded || op.Phase == plan.Abandoned)
		}),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.cmd = cmd
			if err := o.user.validate(cmd); err != nil {
				return err
			}
			if !o.yes && !cli.IsTerminal(o.app.In) {
				return cli.Usagef(cmd, "this needs a yes: pass --yes where there is no terminal to ask on")
			}
			f, err := o.find(cmd.Context(), firstArg(args))
			if err != nil {
				return err
			}
			return run(cmd.Context(), f)
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&o.yes, "yes", "y", false, "Do not ask")
	f.DurationVar(&o.timeout, "timeout", 5*time.Minute, "Bound each wait for pods")
	o.user.addFlags(cmd)
	return cmd
}

func (a *app) restoreResumeCommand() *cobra.Command {
	o := &continueOptions{app: a}
	cmd := o.command("resume", "Go on with a restore whose client ended",
		`Go on with a restore whose client was killed, or which failed after its point of no return.

What was being undone goes on being undone.`,
		func(ctx context.Context, f *found) error {
			what := "Go on with"
			if f.op.Phase == plan.GoingBack {
				what = "Go on undoing"
			}
			return o.goOn(ctx, f, fmt.Sprintf("%s operation %s of %s?", what, f.op.ID, f.op.Target), (*site.Prepared).Resume)
		})
	cmd.Flags().StringVar(&o.from, "from", "", "The snapshot again; needed only while it has not been uploaded to all members")
	o.reading.Add(cmd)
	return cmd
}

func (a *app) restoreUndoCommand() *cobra.Command {
	o := &continueOptions{app: a}
	cmd := o.command("undo", "Undo a restore",
		`Undo what a restore has done, in reverse: the old data, replicas and budgets as they were.

From the moment in which the first API server has started on the restored data, clients have seen it. A restore that has
ended is undone by another one: the data that it has set aside is copied, and restored like a snapshot, above every revision that
was seen since. Its plan is printed first, and asked for.`,
		func(ctx context.Context, f *found) error {
			if f.op.Phase == plan.Succeeded || f.op.Phase == plan.Abandoned {
				return o.restoreOld(ctx, f)
			}
			return o.goOn(ctx, f, fmt.Sprintf("Undo operation %s of %s?", f.op.ID, f.op.Target), (*site.Prepared).Undo)
		})
	cmd.Flags().StringArrayVar(&o.skip, "skip-member", nil, "Of a restore that has ended: without this member, whose node is gone; repeat it")
	cmd.Flags().StringVar(&o.safety, "safety-backup", ".", "Of a restore that has ended: folder for the copy of its old data, and for a backup of what answers now")
	return cmd
}

// restoreOld undoes a restore that clients have seen.
func (o *continueOptions) restoreOld(ctx context.Context, f *found) error {
	if o.safety == "" {
		return cli.Usagef(o.cmd, "--safety-backup needs a folder here: the old data is copied there")
	}
	if err := safetyFolder(o.safety); err != nil {
		return err
	}
	cfg := f.cfg
	cfg.Skip = o.skip
	file, err := restore.OldData(ctx, f.deps, cfg, f.op, o.safety)
	if err != nil {
		return err
	}
	o.app.say("operation %s is undone by restoring its old data, a copy of which is %s; what was written since then will be gone", f.op.ID, file)
	if err := restore.AsBefore(f.op, &cfg); err != nil {
		return err
	}
	cfg.From, cfg.Raw, cfg.FromOtherCluster, cfg.Safety = file, true, true, o.safety // it is this cluster's own
	r := &restoreOptions{app: o.app, cmd: o.cmd, cfg: cfg, dryRun: "none", yes: o.yes}
	return r.carryOut(ctx, func() (*site.Prepared, error) { return restore.Prepare(ctx, f.deps, cfg) })
}

func (a *app) restoreAbandonCommand() *cobra.Command {
	o := &continueOptions{app: a}
	return o.command("abandon", "Give up a restore that can no longer be undone",
		`Give up a restore that failed after its point of no return, where going on with it does not help either.

Writers, volume policy and budgets get back what it took from them. The data stays as it is: the restored one in
use, the old one, where there is one, beside it. After that another restore can begin, also with "restore undo" and the
operation's name.

It is refused where etcd would not run: while it is at 0 replicas, and where --discard-old-data has deleted its data and it has not
come up on the new. Then "restore resume" leads on, or another snapshot: "restore TARGET --from SNAPSHOT".`,
		func(ctx context.Context, f *found) error {
			return o.goOn(ctx, f, fmt.Sprintf("Give up operation %s of %s?", f.op.ID, f.op.Target), (*site.Prepared).Abandon)
		})
}
