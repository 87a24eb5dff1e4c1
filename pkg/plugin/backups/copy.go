package backups

import (
	"fmt"
	"path"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plugin/cli"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plugin/stores"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/stored"
)

func copyCommand(a App) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "copy FROM TO",
		Short: "Copy a snapshot between stores and folders",
		Long: `Copy a snapshot as it is, with its sidecar, between stores and folders. It is compared with its sidecar on the way, and appears only
when all of it was as that says. The --s3- flags are for FROM and TO; where these differ, copy to a folder in between.

` + exitCodes,
		Example: "  kubectl etcd backup copy s3://backups/prod/x.db.zst gs://elsewhere/prod/\n  kubectl etcd backup copy s3://backups/prod/x.db.zst ./",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			src, err := a.Stores().Open(ctx, cmd, args[0], a.Explain)
			if err != nil {
				return err
			}
			dst, err := a.Stores().Open(ctx, cmd, args[1], a.Explain)
			if err != nil {
				return err
			}
			if dst.Address() {
				return cli.Usagef(cmd, "%s:// is for reading; name a bucket or a path", dst.Scheme)
			}
			if dst.Name, err = target(src, dst); err != nil {
				return err
			}
			defer a.Done()
			size, err := stored.Copy(ctx, src.Store, src.Name, dst.Store, dst.Name, func(done, total int64) { a.Progress(done, total, -1) })
			if err != nil {
				return err
			}
			a.Done()
			a.Say("copied %s, as its sidecar says", humanize.IBytes(uint64(size)))
			_, err = fmt.Fprintln(a.Out(), dst.Store.URL(dst.Name))
			return err
		},
	}
	return cmd
}

// target puts the name behind what ends in a slash, or is a folder.
func target(src, dst stores.Place) (string, error) {
	base := path.Base(src.Name)
	if !dst.Remote() {
		return store.Resolve(dst.Name, base)
	}
	if dst.Several() {
		return dst.Name + base, nil
	}
	return dst.Name, nil
}
