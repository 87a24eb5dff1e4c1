package look

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/inside"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/objects"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plugin/cli"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plugin/stores"
)

// exitDiffers says that there are differences.
const exitDiffers = cli.ExitCode(3)

type diffOptions struct {
	opening
	selecting
	against   opening
	other     string
	app       App
	cmd       *cobra.Command
	out       cli.Output
	allFields bool
	summary   bool
}

func diffCommand(a App) *cobra.Command {
	o := &diffOptions{app: a}
	cmd := &cobra.Command{
		Use:   "diff SNAPSHOT [KIND[/NAME]…]",
		Short: "Show what differs between a snapshot and the cluster now, or another snapshot",
		Long: `Open a snapshot as "open" does, and compare its objects with those of the cluster that the kubeconfig names, or with --against those of another snapshot: what is only in the snapshot, only in the cluster, or changed. A sum for each kind comes first, then each object, then how it changed. What a cluster changes by itself (status, resourceVersion, events, what controllers own) is left out. Values of Secrets are not shown.

Exit codes:
  0    no difference
  1    failed
  2    usage
  3    there are differences
  130  interrupted; nothing was left behind`,
		Example: `  # What would a restore bring back, and what would it lose?
  kubectl etcd diff backup.db

  # How did one object change?
  kubectl etcd diff backup.db -n shop deployment/web

  # What happened between two backups?
  kubectl etcd diff monday.db --against tuesday.db -n shop`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.cmd = cmd
			if err := o.selected(cmd, args[1:]); err != nil {
				return err
			}
			if err := o.out.Validate(cmd); err != nil {
				return err
			}
			defer o.close()
			defer o.against.close()
			return o.run(cmd.Context(), args[0])
		},
	}
	o.opening.add(cmd)
	o.selecting.add(cmd)
	f := cmd.Flags()
	f.StringVar(&o.other, "against", "", "Compare with this snapshot instead of the cluster; it is opened as the first one is")
	f.BoolVar(&o.allFields, "all-fields", false, "Compare also what a cluster puts there by itself")
	f.BoolVar(&o.summary, "summary", false, "Print the sums only")
	o.out.AddFlag(cmd)
	return cmd
}

func (o *diffOptions) run(ctx context.Context, text string) error {
	if o.other == "" {
		after, err := cluster(ctx, o.app) // before anything is started
		if err != nil {
			return err
		}
		return o.with(ctx, o.cmd, o.app, text, func(ctx context.Context, s *inside.Server) error {
			before, err := o.objects(ctx, s)
			if err != nil {
				return err
			}
			return o.compare(ctx, text, before, after)
		})
	}
	o.against = o.opening
	return o.with(ctx, o.cmd, o.app, text, func(ctx context.Context, first *inside.Server) error {
		return o.against.with(ctx, o.cmd, o.app, o.other, func(ctx context.Context, second *inside.Server) error {
			before, err := o.objects(ctx, first)
			if err != nil {
				return err
			}
			after, err := o.against.objects(ctx, second)
			if err != nil {
				return err
			}
			after.Called = "the second snapshot"
			return o.compare(ctx, text, before, after)
		})
	})
}

func (o *diffOptions) compare(ctx context.Context, text string, before, after *objects.Server) error {
	tellOther(ctx, o.app, before, after)
	c, err := objects.Compare(ctx, before, after, o.sel, o.allFields)
	if err != nil {
		return err
	}
	if err := o.print(c); err != nil {
		return err
	}
	if len(c.Unread) > 0 {
		return fmt.Errorf("compare %s: some kinds could not be read", stores.Shown(text))
	}
	if len(c.Differences) > 0 {
		return exitDiffers
	}
	return nil
}

func (o *diffOptions) print(c *objects.Comparison) error {
	if o.out.Data() {
		return o.out.Print(o.app.Out(), c)
	}
	for _, u := range c.Unread {
		o.app.Warn("not compared: %s", u)
	}
	other := "ONLY IN CLUSTER"
	if o.other != "" {
		other = "ONLY IN SECOND"
	}
	var rows [][]string
	for _, s := range c.Sums {
		if s.OnlyBefore+s.OnlyAfter+s.Changed > 0 {
			rows = append(rows, []string{s.Kind, fmt.Sprint(s.OnlyBefore), fmt.Sprint(s.OnlyAfter), fmt.Sprint(s.Changed), fmt.Sprint(s.Same)})
		}
	}
	w := o.app.Out()
	if len(rows) == 0 {
		switch {
		case len(c.Unread) > 0:
		case len(c.Sums) == 0:
			o.app.Warn("nothing to compare: neither has an object that was asked for")
		default:
			o.app.Say("no difference")
		}
		return nil
	}
	err := cli.Table(w, []string{"KIND", "ONLY IN SNAPSHOT", other, "CHANGED", "SAME"}, rows)
	if o.summary {
		return err
	}
	var lines [][]string
	for _, d := range c.Differences {
		lines = append(lines, []string{d.State, d.Kind + "/" + d.Name, d.Namespace})
	}
	_, perr := fmt.Fprintln(w)
	err = errors.Join(err, perr, cli.Table(w, []string{"STATE", "OBJECT", "NAMESPACE"}, lines))
	for _, d := range c.Differences {
		if d.Diff != "" {
			_, perr := fmt.Fprintf(w, "\n%s", cli.PrintableLines(d.Diff))
			err = errors.Join(err, perr)
		}
	}
	return err
}
