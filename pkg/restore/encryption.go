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
	all := sc.keyrings(ctx, c)
	var notes []string
	for _, e := range r.Encrypted {
		what := fmt.Sprintf("in the snapshot, %d objects (%s) are encrypted with key %s of provider %s", e.Objects, cmp.Or(e.Kind, e.Prefix), e.KeyName, e.Provider)
		var lacking, unread []string
		for _, k := range all {
			switch {
			case slices.Contains(k.known, keys.Cipher{Provider: e.Provider, Key: e.KeyName}):
			case len(k.unread) > 0:
				unread = append(unread, k.unread...)
			default:
				lacking = append(lacking, k.node)
			}
		}
		if len(unread) > 0 {
			notes = append(notes, fmt.Sprintf("%s; whether the API servers have it is not known: their configuration (%s) %s", what, strings.Join(unread, ", "), sc.unreadWhy()))
		}
		if len(lacking) > 0 {
			notes = append(notes, what+", which the API servers' configuration (--"+controlplane.EncryptionFlag+")"+onNodes(lacking)+" lacks: they will read none of them, and list none of that kind; add the key to it first")
		}
	}
	return notes
}

// onNodes names them; API servers of a hosted control plane are on any.
func onNodes(nodes []string) string {
	if nodes[0] == "" {
		return ""
	}
	return " on " + strings.Join(nodes, ", ")
}

func (sc *Scene) unreadWhy() string {
	if sc.Dry {
		return "is not read by a dry run"
	}
	return "cannot be read"
}

// keyring is what an API server can read, by its configuration; unread are files of which that is not known. Those of a hosted control plane are
// made of one template, and are one; of static pods each has a file of its own.
type keyring struct {
	node   string // of a static pod
	known  []keys.Cipher
	unread []string
}

func (k *keyring) read(file, text string) {
	more, err := keys.Ciphers(text)
	if err != nil {
		k.unread = append(k.unread, file)
	}
	k.known = append(k.known, more...)
}

// keyrings are those of API servers whose flags tell.
func (sc *Scene) keyrings(ctx context.Context, c controlplane.Client) (all []keyring) {
	var hosted keyring
	servers := 0
	for _, w := range sc.Writers {
		if _, ok := w.APIServerPort(); !ok || !w.Flagged(ctx, c, "etcd-servers") { // its flags are in a file of its own
			continue
		}
		servers++
		files, not := w.Files(ctx, c, controlplane.EncryptionFlag)
		hosted.unread = append(hosted.unread, not...)
		for file, text := range files {
			hosted.read(file, text)
		}
	}
	if servers > 0 {
		all = append(all, hosted)
	}
	for _, a := range sc.Static { // their files are on their nodes
		k := keyring{node: a.Node}
		if text, ok := sc.Encryption[NodeFile(a)]; ok {
			k.read(NodeFile(a), text)
		} else if a.Encryption != "" {
			k.unread = append(k.unread, NodeFile(a))
		}
		all = append(all, k)
	}
	return all
}
