package plugin

import (
	"context"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plugin/cli"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
)

func (a *app) restoreCleanupCommand() *cobra.Command {
	yes := false
	cmd := &cobra.Command{
		Use:   "cleanup [OPERATION]",
		Short: "Remove the old data that a restore has set aside",
		Long: `Remove what a restore has set aside on the members' volumes, and its journal. What it takes on the disk is shown first.

After that the restore cannot be undone any more.

Without OPERATION, the one of the namespace that has ended.

` + shortExitCodes,
		Example:           `  kubectl etcd restore cleanup -n team-a 20260102t150405-x7k2`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.completeOperations((*plan.Operation).Ended),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !yes && !cli.IsTerminal(a.In) {
				return cli.Usagef(cmd, "removing old data needs a yes: pass --yes where there is no terminal to ask on")
			}
			return a.cleanRestore(cmd.Context(), firstArg(args), yes)
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "Do not ask")
	return cmd
}

func (a *app) cleanRestore(ctx context.Context, id string, yes bool) error {
	d, err := a.restoreDeps()
	if err != nil {
		return err
	}
	op, err := site.Load(ctx, d, a.namespace(), id, true)
	if err != nil {
		return err
	}
	t := site.Target{Timeout: 5 * time.Minute}
	t.Reach.Log = a.explain
	if _, t.Plane, err = a.resolve(ctx, op.Target); err != nil {
		return err
	}
	c, err := site.Leavings(ctx, d, t, op)
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	var rows [][]string
	for _, k := range c.Kept {
		rows = append(rows, []string{k.Member, humanize.IBytes(uint64(k.Size))})
	}
	if len(rows) > 0 { // one that was undone has set nothing aside
		if err := cli.Table(a.Out, []string{"MEMBER", "OLD DATA"}, rows); err != nil {
			return err
		}
	}
	if !yes {
		if err := a.confirm(ctx, "Remove the old data of operation "+op.ID+"?", "nothing was removed"); err != nil {
			return err
		}
	}
	if err := c.Run(ctx); err != nil {
		return err
	}
	a.say("removed")
	return nil
}
