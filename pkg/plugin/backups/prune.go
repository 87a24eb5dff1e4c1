package backups

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/catalog"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plugin/cli"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plugin/stores"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
)

// Pruned is what prune prints as JSON.
type Pruned struct {
	Snapshots []catalog.Decision `json:"snapshots"`
	// Uploads are those that a client has left, older than a day: they are ended.
	Uploads []store.Upload `json:"uploads,omitempty"`
	DryRun  bool           `json:"dryRun,omitempty"`
}

type pruneOptions struct {
	app    App
	out    cli.Output
	policy catalog.Policy
	dryRun string
	yes    bool
}

func pruneCommand(a App) *cobra.Command {
	o := &pruneOptions{app: a}
	cmd := &cobra.Command{
		Use:   "prune PLACE",
		Short: "Delete snapshots that a policy does not keep",
		Long: `Delete snapshots that a policy does not keep. Each control plane has the whole policy for itself, known by the identity in the sidecars
and not by names; what a schedule took (backup --scheduled) is counted apart from what was taken by hand.

Never deleted: the newest proven one of a control plane, what is younger than an hour, what is not proven or not complete, and what is no
snapshot of ours. Uploads that a client has left, older than a day, are ended.

` + place + "\n\n" + exitCodes,
		Example: "  kubectl etcd backup prune s3://backups/prod/ --keep-last 7 --keep-daily 14 --keep-weekly 8 --keep-monthly 12 --dry-run=client",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.validate(cmd); err != nil {
				return err
			}
			return o.run(cmd, args[0])
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.policy.Last, "keep-last", 0, "Keep so many of the newest")
	f.IntVar(&o.policy.Daily, "keep-daily", 0, "Keep the newest of each of so many days that have one (UTC)")
	f.IntVar(&o.policy.Weekly, "keep-weekly", 0, "Keep the newest of each of so many weeks that have one")
	f.IntVar(&o.policy.Monthly, "keep-monthly", 0, "Keep the newest of each of so many months that have one")
	f.DurationVar(&o.policy.Within, "keep-within", 0, "Keep all that are younger than this: 48h")
	f.StringVar(&o.dryRun, "dry-run", "none", "none or client: say what would be deleted, delete nothing")
	f.Lookup("dry-run").NoOptDefVal = "client"
	f.BoolVarP(&o.yes, "yes", "y", false, "Do not ask")
	o.out.AddFlag(cmd)
	o.out.AddBare(cmd)
	_ = cmd.RegisterFlagCompletionFunc("dry-run", cobra.FixedCompletions([]string{"none", "client"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (o *pruneOptions) validate(cmd *cobra.Command) error {
	p := o.policy
	switch {
	case min(p.Last, p.Daily, p.Weekly, p.Monthly) < 0 || p.Within < 0:
		return cli.Usagef(cmd, "what is kept must not be negative")
	case p.Empty():
		return cli.Usagef(cmd, "no policy: name what is kept with --keep-last, --keep-daily, --keep-weekly, --keep-monthly or --keep-within")
	case o.dryRun != "none" && o.dryRun != "client":
		return cli.Usagef(cmd, "unknown dry run --dry-run=%s; there are: none, client", o.dryRun)
	}
	return o.out.Validate(cmd)
}

func (o *pruneOptions) run(cmd *cobra.Command, text string) error {
	ctx := cmd.Context()
	p, err := o.app.Stores().OpenFolder(ctx, cmd, text, o.app.Explain)
	if err != nil {
		return err
	}
	all, err := catalog.List(ctx, p.Store, p.Name)
	if err != nil {
		return err
	}
	result := Pruned{Snapshots: o.policy.Apply(all, time.Now()), DryRun: o.dryRun == "client"}
	if result.Uploads, err = uploads(ctx, o.app, p, catalog.StaleUpload); err != nil {
		return err
	}
	if err := o.print(result); err != nil {
		return err
	}
	var gone []catalog.Decision
	for _, d := range result.Snapshots {
		if len(d.Keep) == 0 {
			gone = append(gone, d)
		}
	}
	switch {
	case len(gone)+len(result.Uploads) == 0:
		o.app.Say("nothing to delete")
		return nil
	case result.DryRun:
		o.app.Say("nothing was deleted (dry run); %d snapshots and %d unfinished uploads would be", len(gone), len(result.Uploads))
		return nil
	}
	if err := sure(cmd, o.app, o.yes, fmt.Sprintf("Delete %d snapshots for good, and end %d uploads?", len(gone), len(result.Uploads))); err != nil {
		return err
	}
	return o.remove(ctx, p, gone, result.Uploads)
}

func (o *pruneOptions) remove(ctx context.Context, p stores.Place, gone []catalog.Decision, uploads []store.Upload) error {
	freed, kept := uint64(0), 0
	for _, d := range gone {
		// Somebody may have put another one there while the question was open.
		now, err := p.Store.Stat(ctx, d.Name)
		if store.Missing(err) || err == nil && now.Version != d.Version {
			o.app.Say("%s is not what it was when it was listed; it stays", d.URL)
			kept++
			continue
		}
		if err != nil {
			return err
		}
		if err := remove(ctx, p.Store, d.Name); err != nil {
			return err
		}
		freed += uint64(d.Size)
	}
	if sweeper, ok := p.Store.(store.Sweeper); ok {
		for _, u := range uploads {
			if err := sweeper.Drop(ctx, u); err != nil {
				return err
			}
		}
	}
	o.app.Say("deleted %d snapshots, %s; ended %d uploads", len(gone)-kept, humanize.IBytes(freed), len(uploads))
	return nil
}

func (o *pruneOptions) print(r Pruned) error {
	if o.out.Data() {
		return o.out.Print(o.app.Out(), r)
	}
	var rows [][]string
	for _, d := range r.Snapshots {
		what, whose, when := "keep", "-", d.Changed
		if len(d.Keep) == 0 {
			what = "delete"
		}
		if d.Snapshot != nil {
			whose, when = planeOf(d.Entry), d.Snapshot.Created
		}
		rows = append(rows, []string{what, stamp(when), whose, humanize.IBytes(uint64(d.Size)), dash(strings.Join(d.Keep, ", ")), d.URL})
	}
	for _, u := range r.Uploads {
		rows = append(rows, []string{"end", stamp(u.Begun), "-", "-", "unfinished upload", u.Name})
	}
	if len(rows) == 0 {
		return nil
	}
	return o.out.Table(o.app.Out(), []string{"WHAT", "TIME", "CONTROL PLANE", "SIZE", "KEPT AS", "SNAPSHOT"}, rows)
}
