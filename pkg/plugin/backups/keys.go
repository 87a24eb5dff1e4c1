package backups

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/keys"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plugin/cli"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plugin/stores"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/snapshot"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/stored"
)

// Keys are the commands for what a backup --with-keys saved.
func Keys(a App) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "keys",
		Short: "List or extract the keys that were saved with a snapshot",
		Long: `List or extract the keys that "kubectl etcd backup --with-keys" has saved beside a snapshot: what decrypts what is encrypted at rest
(EncryptionConfiguration), what identifies the control plane (its PKI), and the manifests of its static pods.`,
		Example: "  kubectl etcd keys list s3://backups/prod/latest\n  kubectl etcd keys extract s3://backups/prod/latest --identity key.txt --to keys",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(listKeys(a), extractKeys(a))
	return cmd
}

// KeyList is what keys list prints as JSON.
type KeyList struct {
	URL  string         `json:"url"` // of the encrypted archive
	Keys *snapshot.Keys `json:"keys"`
}

// findKeys finds a snapshot, beside which keys can be read.
func findKeys(cmd *cobra.Command, a App, text string) (stores.Place, error) {
	p, err := a.Stores().Find(cmd.Context(), cmd, text, nil, a)
	if err == nil && p.Address() {
		err = cli.Usagef(cmd, "%s is the address of one object, and keys are another; name the snapshot in its bucket", stores.Shown(text))
	}
	return p, err
}

func listKeys(a App) *cobra.Command {
	out := cli.Output{}
	cmd := &cobra.Command{
		Use:     "list SNAPSHOT",
		Aliases: []string{"ls"},
		Short:   "List the keys that were saved with a snapshot",
		Long: `List the keys that were saved with a snapshot: where each is from, which it is, and when it ends. The sidecar says it, so that no
identity is needed. Nodes are numbered in it, since whoever may list the backups need not know their names.

` + exitCodes,
		Example: "  kubectl etcd keys list s3://backups/prod/latest",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.Validate(cmd); err != nil {
				return err
			}
			p, err := findKeys(cmd, a, args[0])
			if err != nil {
				return err
			}
			side, err := stored.KeysOf(cmd.Context(), p.Store, p.Name)
			if err != nil {
				return err
			}
			if out.Data() {
				return out.Print(a.Out(), KeyList{p.Store.URL(snapshot.KeysPath(p.Name)), side.Keys})
			}
			for _, what := range side.Keys.Missing {
				a.Say("not saved, or not known: %s", what)
			}
			if side.Keys.Omitted > 0 {
				a.Say("%d more are in the archive", side.Keys.Omitted)
			}
			var rows [][]string
			for _, k := range side.Keys.Items {
				ends := "-"
				if k.Expires != nil {
					ends = stamp(*k.Expires)
				}
				rows = append(rows, []string{k.From, k.Path, k.Kind, dash(k.Name), ends, dash(short(k.Fingerprint))})
			}
			return out.Table(a.Out(), []string{"FROM", "PATH", "KIND", "NAME", "EXPIRES", "FINGERPRINT"}, rows)
		},
	}
	out.AddFlag(cmd)
	out.AddBare(cmd)
	return cmd
}

// short is enough of a fingerprint to compare by eye; JSON has all of it.
func short(fingerprint string) string { return fingerprint[:min(16, len(fingerprint))] }

func extractKeys(a App) *cobra.Command {
	var reading stores.Reading
	to, only := "", []string{}
	cmd := &cobra.Command{
		Use:   "extract SNAPSHOT",
		Short: "Extract the keys that were saved with a snapshot into a new folder",
		Long: `Extract the keys that were saved with a snapshot into a new folder, which only you can read: files of nodes below nodes/NODE, those of
Secrets below secrets/NAMESPACE/NAME. They are compared with the snapshot's sidecar first.

The archive keeps modes and owners; to have these, too: age -d -i KEY NAME.db.zst.age.keys.tar.age | tar -xp

` + exitCodes,
		Example: "  kubectl etcd keys extract s3://backups/prod/latest --identity key.txt --to keys --only pki,encryption",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, g := range only {
				if !slices.Contains(keys.Groups, g) {
					return cli.Usagef(cmd, "unknown keys --only=%s; there are: %s", g, strings.Join(keys.Groups, ", "))
				}
			}
			ids, err := reading.Keys(a)
			if err != nil {
				return err
			}
			p, err := findKeys(cmd, a, args[0])
			if err != nil {
				return err
			}
			folder := to
			if folder == "" {
				folder = strings.TrimSuffix(filepath.Base(snapshot.KeysPath(p.Name)), ".tar.age")
			}
			data, err := stored.ReadKeys(cmd.Context(), p.Store, p.Name, ids)
			if err != nil {
				return err
			}
			n, err := keys.Extract(bytes.NewReader(data), folder, only)
			if err != nil {
				return err
			}
			a.Say("extracted %d files; they are secret", n)
			_, err = fmt.Fprintln(a.Out(), folder)
			return err
		},
	}
	reading.Add(cmd)
	cmd.Flags().StringVar(&to, "to", "", "Folder that is made; named after the snapshot where it is not given")
	cmd.Flags().StringSliceVar(&only, "only", nil, "Only some: "+strings.Join(keys.Groups, ", "))
	_ = cmd.RegisterFlagCompletionFunc("only", cobra.FixedCompletions(keys.Groups, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}
