package look

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/inside"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plugin/cli"
)

type spaceOptions struct {
	reading
	app    App
	cmd    *cobra.Command
	out    cli.Output
	by     string
	prefix string
}

func spaceCommand(a App) *cobra.Command {
	o := &spaceOptions{app: a}
	cmd := &cobra.Command{
		Use:   "space SNAPSHOT",
		Short: "Show what takes the room in a snapshot, by kind and namespace",
		Long: `Read a snapshot from end to end, and add up what every object takes: how many there are, the bytes of their keys and values, and the bytes of their history, which a compaction gives back. No program is needed, and nothing is decrypted. With -n, one namespace only.

SNAPSHOT is what verify takes: a file, a URL in a store, PLACE/latest; compressed or encrypted.

` + exitCodes,
		Example: `  # Which kinds take the most?
  kubectl etcd space backup.db

  # Which namespaces?
  kubectl etcd space backup.db --by namespace

  # Who fills this one?
  kubectl etcd space backup.db -n shop`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains([]inside.By{inside.ByKind, inside.ByNamespace, inside.ByBoth}, inside.By(o.by)) {
				return cli.Usagef(cmd, "cannot sum up --by=%s; there are: kind, namespace, both", o.by)
			}
			if err := o.out.Validate(cmd); err != nil {
				return err
			}
			o.cmd = cmd
			defer o.close()
			return o.run(cmd.Context(), args[0])
		},
	}
	o.add(cmd)
	cmd.Flags().StringVar(&o.by, "by", string(inside.ByKind), "Sum up by: kind, namespace, both")
	cmd.Flags().StringVar(&o.prefix, "etcd-prefix", "/registry", "What the keys of the control plane start with")
	o.out.AddFlag(cmd)
	o.out.AddBare(cmd)
	_ = cmd.RegisterFlagCompletionFunc("by", cobra.FixedCompletions([]string{"kind", "namespace", "both"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (o *spaceOptions) run(ctx context.Context, text string) error {
	sizes := inside.NewSizes(o.prefix)
	o.opts.Each = sizes.Each
	report, err := o.prove(ctx, o.cmd, o.app, text)
	if err != nil {
		return err
	}
	namespace, err := o.cmd.Flags().GetString("namespace")
	if err != nil {
		return err
	}
	space, ok := sizes.Space(report, inside.By(o.by), namespace)
	for _, k := range report.Kubernetes {
		if k.Prefix != o.prefix {
			o.app.Warn("keys under %s are another control plane's: see them with --etcd-prefix %s", k.Prefix, k.Prefix)
		}
	}
	switch {
	case !ok:
		return errors.New("add up " + text + ": it has too many keys to tell what of them is history")
	case o.out.Data():
		return o.out.Print(o.app.Out(), space)
	}
	return o.print(o.app.Out(), space)
}

func (o *spaceOptions) print(w io.Writer, s *inside.Space) error {
	head := []string{"OBJECTS", "SIZE", "HISTORY", "REVISIONS"}
	named := func(u inside.Usage) []string {
		kind, namespace := u.Kind, u.Namespace
		if kind == "" {
			kind = "(no object)"
		}
		if namespace == "" {
			namespace = "(none)"
		}
		switch inside.By(o.by) {
		case inside.ByKind:
			return []string{kind}
		case inside.ByNamespace:
			return []string{namespace}
		}
		return []string{kind, namespace}
	}
	switch inside.By(o.by) {
	case inside.ByKind:
		head = append([]string{"KIND"}, head...)
	case inside.ByNamespace:
		head = append([]string{"NAMESPACE"}, head...)
	default:
		head = append([]string{"KIND", "NAMESPACE"}, head...)
	}
	var rows [][]string
	for _, u := range s.Usage {
		rows = append(rows, append(named(u), counts(u)...))
	}
	if err := o.out.Table(w, head, rows); err != nil {
		return err
	}
	o.app.Say("\n%d objects of %s, %s of history, in a database of %s, of which %s are free",
		s.Total.Objects, humanize.IBytes(uint64(s.Total.Bytes)), humanize.IBytes(uint64(s.Total.HistoryBytes)), humanize.IBytes(uint64(s.DBSize)), humanize.IBytes(uint64(s.Free)))
	return nil
}

func counts(u inside.Usage) []string {
	return []string{fmt.Sprint(u.Objects), humanize.IBytes(uint64(u.Bytes)), humanize.IBytes(uint64(u.HistoryBytes)), fmt.Sprint(u.Revisions)}
}
