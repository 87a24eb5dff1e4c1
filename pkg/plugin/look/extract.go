package look

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/inside"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/objects"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plugin/cli"
)

type extractOptions struct {
	opening
	selecting
	app    App
	cmd    *cobra.Command
	format string
	folder string
}

func extractCommand(a App) *cobra.Command {
	o := &extractOptions{app: a}
	cmd := &cobra.Command{
		Use:   "extract SNAPSHOT [KIND[/NAME]…]",
		Short: "Write objects of a snapshot as files that kubectl apply takes",
		Long: `Open a snapshot as "open" does, and write its objects so that kubectl apply can make them again: what a cluster puts there by itself (uid, status, cluster IPs, …) is left out. Without a KIND, all of them, except what the cluster makes by itself: events, endpoints, what controllers own. With -n, one namespace and what is in it.

They are printed; with --to each goes into a file of its own, numbered in the order in which they can be made. Secrets are written as they are, and only you can read the files.

What is left out, and why: https://github.com/kubectl-etcd/kubectl-etcd/blob/main/docs/inside.md

` + exitCodes,
		Example: `  # One object
  kubectl etcd extract backup.db -n shop configmap/prices

  # A namespace, whole
  kubectl etcd extract backup.db -n shop --to shop/ && kubectl apply -f shop/`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.cmd = cmd
			if o.format != "yaml" && o.format != "json" {
				return cli.Usagef(cmd, "unknown output format %q; there are: yaml, json", o.format)
			}
			if err := o.selected(cmd, args[1:]); err != nil {
				return err
			}
			defer o.close()
			return o.run(cmd.Context(), args[0])
		},
	}
	o.opening.add(cmd)
	o.selecting.add(cmd)
	cmd.Flags().StringVarP(&o.format, "output", "o", "yaml", "Output format: yaml, json")
	cmd.Flags().StringVar(&o.folder, "to", "", "Write a file for each object into this new folder")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"yaml", "json"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (o *extractOptions) run(ctx context.Context, text string) error {
	if o.folder != "" { // before anything is started
		if err := objects.Folder(o.folder); err != nil {
			return fmt.Errorf("extract objects: %w", err)
		}
	}
	return o.with(ctx, o.cmd, o.app, text, o.write)
}

func (o *extractOptions) write(ctx context.Context, s *inside.Server) error {
	from, err := o.objects(ctx, s)
	if err != nil {
		return err
	}
	left := unread{app: o.app}
	all, err := from.Collect(ctx, o.sel, left.tell)
	switch {
	case err != nil:
		return err
	case len(all) == 0:
		return cmp.Or(left.err("extract objects"), errors.New("extract objects: nothing in the snapshot is what was asked for"))
	case o.folder != "":
		n, err := objects.Write(o.folder, all, o.format == "json")
		if err == nil {
			o.app.Say("%d objects in %s", n, o.folder)
		}
		return cmp.Or(err, left.err("extract objects"))
	}
	return cmp.Or(o.print(all), left.err("extract objects"))
}

// print prints a stream of YAML documents, or a List as JSON.
func (o *extractOptions) print(all []objects.Object) error {
	var out bytes.Buffer
	if o.format == "json" {
		out.WriteString(`{"apiVersion":"v1","kind":"List","items":[` + "\n")
	}
	for i, obj := range all {
		b, err := objects.Encode(obj, o.format == "json")
		if err != nil {
			return err
		}
		switch {
		case o.format == "yaml":
			out.WriteString("---\n")
		case i > 0:
			out.WriteString(",")
		}
		out.Write(b)
	}
	if o.format == "json" {
		out.WriteString("]}\n")
	}
	if _, err := o.app.Out().Write(out.Bytes()); err != nil {
		return fmt.Errorf("print result: %w", err)
	}
	return nil
}
