package restore

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/keys"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify"
)

// unreadable tells what of the snapshot the API servers have no key for: they could not list a kind of which one object is such.
func (sc *Scene) unreadable(ctx context.Context, c controlplane.Client, r *verify.Report) []string {
	if len(r.Encrypted) == 0 {
		return nil
	}
	known, unread, servers := sc.ciphers(ctx, c)
	var notes []string
	for _, e := range r.Encrypted {
		if servers == 0 || slices.Contains(known, keys.Cipher{Provider: e.Provider, Key: e.KeyName}) {
			continue
		}
		what := fmt.Sprintf("in the snapshot, %d objects (%s) are encrypted with key %s of provider %s", e.Objects, cmp.Or(e.Kind, e.Prefix), e.KeyName, e.Provider)
		if len(unread) > 0 {
			notes = append(notes, fmt.Sprintf("%s; whether the API servers have it is not known: their configuration (%s) cannot be read", what, strings.Join(unread, ", ")))
			continue
		}
		notes = append(notes, what+", which the API servers' configuration (--"+controlplane.EncryptionFlag+") lacks: they will read none of them, and list none of that kind; add the key to it first")
	}
	return notes
}

// ciphers are what the API servers can read, by their configuration; unread are files of which that is not known, and servers how
// many there are whose flags tell.
func (sc *Scene) ciphers(ctx context.Context, c controlplane.Client) (known []keys.Cipher, unread []string, servers int) {
	read := func(file, text string) {
		more, err := keys.Ciphers(text)
		if err != nil {
			unread = append(unread, file)
		}
		known = append(known, more...)
	}
	for _, w := range sc.Writers {
		if _, ok := w.APIServerPort(); !ok || !w.Flagged(ctx, c, "etcd-servers") { // its flags are in a file of its own
			continue
		}
		servers++
		files, not := w.Files(ctx, c, controlplane.EncryptionFlag)
		unread = append(unread, not...)
		for file, text := range files {
			read(file, text)
		}
	}
	for _, a := range sc.Static { // their files are on their nodes
		servers++
		if text, ok := sc.Encryption[NodeFile(a)]; ok {
			read(NodeFile(a), text)
		} else if a.Encryption != "" {
			unread = append(unread, NodeFile(a))
		}
	}
	return known, unread, servers
}
