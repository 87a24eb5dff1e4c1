// Package backups are the commands for snapshots that are stored: list, prune, delete, url, copy.
package backups

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/catalog"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plugin/cli"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plugin/stores"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/seal"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/snapshot"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/stored"
)

// App is what the command line gives to its commands.
type App interface {
	stores.Terminal
	Out() io.Writer
	Stores() *stores.Flags
	Say(format string, args ...any)
	// Confirm asks; unchanged is said where the answer is not yes.
	Confirm(ctx context.Context, question, unchanged string) error
	// Asks says that there is somebody to ask.
	Asks() bool
}

// Commands are all of them.
func Commands(a App) []*cobra.Command {
	return []*cobra.Command{listCommand(a), pruneCommand(a), deleteCommand(a), urlCommand(a), copyCommand(a)}
}

const exitCodes = `Exit codes:
  0    done
  1    failed
  2    usage
  130  interrupted`

const place = "PLACE is a folder, a bucket, or what is below a prefix in one: s3://BUCKET/PREFIX/, gs://…, oss://…."

// List is what list prints as JSON.
type List struct {
	Snapshots []catalog.Entry `json:"snapshots"`
	// Uploads were begun and have not ended; with -o wide, json and yaml.
	Uploads []store.Upload `json:"uploads,omitempty"`
}

func listCommand(a App) *cobra.Command {
	out := cli.Output{}
	cmd := &cobra.Command{
		Use:     "list PLACE",
		Aliases: []string{"ls"},
		Short:   "List the snapshots that a store holds",
		Long:    "List the snapshots that a store holds, the newest first. Names and sidecars are read, and no snapshot.\n\n" + place + "\n\n" + exitCodes,
		Example: "  kubectl etcd backup list s3://backups/prod/\n  kubectl etcd backup list /backups -o wide",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.Validate(cmd); err != nil {
				return err
			}
			p, err := a.Stores().OpenFolder(cmd.Context(), cmd, args[0], a.Explain)
			if err != nil {
				return err
			}
			all, err := catalog.List(cmd.Context(), p.Store, p.Name)
			if err != nil {
				return err
			}
			found := List{Snapshots: all}
			if out.Data() || out.Format == "wide" {
				if found.Uploads, err = uploads(cmd.Context(), a, p, 0); err != nil {
					return err
				}
			}
			return printList(a, &out, found)
		},
	}
	out.AddFlag(cmd, "wide", "name")
	out.AddBare(cmd)
	return cmd
}

// uploads are those that are older than that; none where the store does not tell, which is said.
func uploads(ctx context.Context, a App, p stores.Place, age time.Duration) (found []store.Upload, err error) {
	sweeper, ok := p.Store.(store.Sweeper)
	if !ok {
		return nil, nil
	}
	err = sweeper.Uploads(ctx, p.Name, func(u store.Upload) error {
		// The bucket may be others', too, and a service may not say since when.
		if catalog.Named(u.Name) && !u.Begun.IsZero() && time.Since(u.Begun) >= age {
			found = append(found, u)
		}
		return nil
	})
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, errors.ErrUnsupported) {
		a.Say("unfinished uploads are not looked at: %v", err)
		return nil, nil
	}
	return found, err
}

func printList(a App, out *cli.Output, found List) error {
	switch {
	case out.Data():
		return out.Print(a.Out(), found)
	case out.Format == "name":
		var names []string
		for _, e := range found.Snapshots {
			names = append(names, e.URL)
		}
		return out.Names(a.Out(), names)
	case len(found.Snapshots)+len(found.Uploads) == 0:
		a.Say("there is no snapshot")
		return nil
	}
	wide := out.Format == "wide"
	head := []string{"TIME", "CONTROL PLANE", "REVISION", "SIZE", "ETCD", "PROOF", "ENCRYPTED", "AGE"}
	if wide {
		head = append(head, "IDENTITY", "BY", "URL")
	}
	var rows [][]string
	for _, e := range found.Snapshots {
		rows = append(rows, row(e, wide))
	}
	for _, u := range found.Uploads {
		rows = append(rows, []string{stamp(u.Begun), "-", "-", "-", "-", "unfinished upload", "-", age(u.Begun), "-", "-", u.Name})
	}
	return out.Table(a.Out(), head, rows)
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }
func age(t time.Time) string   { return duration.HumanDuration(time.Since(t)) }

func row(e catalog.Entry, wide bool) []string {
	s := e.Snapshot
	if s == nil {
		r := []string{stamp(e.Changed), "-", "-", humanize.IBytes(uint64(e.Size)), "-", e.Wrong, "-", age(e.Changed)}
		if wide {
			r = append(r, "-", "-", e.URL)
		}
		return r
	}
	revision, encrypted := "-", "no"
	if s.Content != nil {
		revision = fmt.Sprint(s.Revision)
	}
	if s.Encryption != nil {
		encrypted = s.Encryption.Scheme
	}
	proof := string(s.Proof)
	if e.Wrong != "" {
		proof = e.Wrong
	}
	r := []string{stamp(s.Created), planeOf(e), revision, humanize.IBytes(uint64(e.Size)), dash(s.Cluster.EtcdVersion), proof, encrypted, age(s.Created)}
	if wide {
		r = append(r, e.Plane(), by(e), e.URL)
	}
	return r
}

func by(e catalog.Entry) string {
	if e.Snapshot.Scheduled {
		return "schedule"
	}
	return "hand"
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// planeOf is what people call it.
func planeOf(e catalog.Entry) string {
	s := e.Snapshot.Source
	return dash(strings.Trim(s.Namespace+"/"+s.Name, "/"))
}

func deleteCommand(a App) *cobra.Command {
	yes := false
	cmd := &cobra.Command{
		Use:     "delete SNAPSHOT...",
		Short:   "Delete snapshots from a store, and what lies beside them",
		Long:    "Delete snapshots from a store, with their sidecars and their keys. Nothing leads back, unless the bucket keeps versions.\n\n" + exitCodes,
		Example: "  kubectl etcd backup delete s3://backups/prod/team-a_kube-etcd/team-a_kube-etcd_20260102T150405Z.db.zst",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var all []stores.Place
			for _, arg := range args {
				p, err := a.Stores().Open(cmd.Context(), cmd, arg, a.Explain)
				switch {
				case err != nil:
					return err
				case p.Several():
					return cli.Usagef(cmd, "%s is no snapshot; name one, or use: kubectl etcd backup prune", stores.Shown(arg))
				}
				if err := deletable(cmd.Context(), p); err != nil {
					return err
				}
				all = append(all, p)
			}
			if err := sure(cmd, a, yes, fmt.Sprintf("Delete %d snapshots for good?", len(all))); err != nil {
				return err
			}
			for _, p := range all {
				if err := remove(cmd.Context(), p.Store, p.Name); err != nil {
					return err
				}
				a.Say("deleted %s", p.Store.URL(p.Name))
			}
			return nil
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "Do not ask")
	return cmd
}

// deletable refuses what is no snapshot, and one beside which lies something else than its sidecar.
func deletable(ctx context.Context, p stores.Place) error {
	if _, err := p.Store.Stat(ctx, p.Name); err != nil {
		return err
	}
	side, err := stored.Sidecar(ctx, p.Store, p.Name)
	if err == nil && side == nil && !catalog.Named(p.Name) {
		err = &store.Error{What: "delete " + p.Store.URL(p.Name), Err: errors.New("it is no snapshot: it has no sidecar, and its name does not end as one")}
	}
	return err
}

// sure asks, where there is somebody.
func sure(cmd *cobra.Command, a App, yes bool, question string) error {
	if yes {
		return nil
	}
	if !a.Asks() {
		return cli.Usagef(cmd, "this needs a yes: pass --yes where there is no terminal to ask on")
	}
	return a.Confirm(cmd.Context(), question, "nothing was deleted")
}

// remove takes the sidecar first: what is left after an interrupt is incomplete, and chosen by nobody.
func remove(ctx context.Context, s store.Store, name string) error {
	err := s.Delete(ctx, snapshot.SidecarPath(name))
	if strings.HasSuffix(name, seal.Extension) {
		err = errors.Join(err, s.Delete(ctx, snapshot.KeysPath(name)))
	}
	return errors.Join(err, s.Delete(ctx, name))
}

func urlCommand(a App) *cobra.Command {
	expires := time.Hour
	cmd := &cobra.Command{
		Use:   "url SNAPSHOT",
		Short: "Print a pre-signed URL for a snapshot",
		Long: `Print a URL with which anybody can read the snapshot, without credentials, until it expires. The URL is a secret.

` + exitCodes,
		Example: "  curl -fo etcd.db.zst \"$(kubectl etcd backup url s3://backups/prod/x.db.zst --expires 40m)\"",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if expires < time.Second || expires > 7*24*time.Hour {
				return cli.Usagef(cmd, "--expires must be between 1s and 168h")
			}
			p, err := a.Stores().Open(cmd.Context(), cmd, args[0], a.Explain)
			if err != nil {
				return err
			}
			signer, ok := p.Store.(store.Signer)
			if !ok {
				return cli.Usagef(cmd, "%s is in no store that signs URLs", stores.Shown(args[0]))
			}
			if _, err := p.Store.Stat(cmd.Context(), p.Name); err != nil {
				return err
			}
			url, err := signer.Sign(cmd.Context(), p.Name, expires)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(a.Out(), url)
			return err
		},
	}
	cmd.Flags().DurationVar(&expires, "expires", time.Hour, "How long it is valid, at most 168h; credentials that end earlier end it, too")
	return cmd
}
