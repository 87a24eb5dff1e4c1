package restore

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify"
)

// encryptionFlag names the file with an API server's EncryptionConfiguration.
const encryptionFlag = "encryption-provider-config"

// encryptionConfiguration is as much of that kind as tells which keys there are. The keys themselves are not looked at.
type encryptionConfiguration struct {
	Resources []struct {
		Providers []struct {
			AESCBC    *namedKeys `json:"aescbc"`
			AESGCM    *namedKeys `json:"aesgcm"`
			Secretbox *namedKeys `json:"secretbox"`
			KMS       *struct {
				Name string `json:"name"`
			} `json:"kms"`
		} `json:"providers"`
	} `json:"resources"`
}

type namedKeys struct {
	Keys []struct {
		Name string `json:"name"`
	} `json:"keys"`
}

// cipher is a provider and the name of its key.
type cipher struct{ provider, key string }

func ciphersOf(text string) ([]cipher, error) {
	var c encryptionConfiguration
	if err := yaml.Unmarshal([]byte(text), &c); err != nil {
		return nil, err
	}
	var out []cipher
	for _, r := range c.Resources {
		for _, p := range r.Providers {
			for provider, keys := range map[string]*namedKeys{"aescbc": p.AESCBC, "aesgcm": p.AESGCM, "secretbox": p.Secretbox} {
				if keys == nil {
					continue
				}
				for _, k := range keys.Keys {
					out = append(out, cipher{provider, k.Name})
				}
			}
			if p.KMS != nil {
				out = append(out, cipher{"kms", p.KMS.Name})
			}
		}
	}
	return out, nil
}

// unreadable tells what of the snapshot the API servers have no key for: they could not list a kind of which one object is such.
func (sc *scene) unreadable(ctx context.Context, c controlplane.Client, r *verify.Report) []string {
	if len(r.Encrypted) == 0 {
		return nil
	}
	known, unread, servers := sc.ciphers(ctx, c)
	var notes []string
	for _, e := range r.Encrypted {
		if servers == 0 || slices.Contains(known, cipher{e.Provider, e.KeyName}) {
			continue
		}
		what := fmt.Sprintf("in the snapshot, %d objects (%s) are encrypted with key %s of provider %s", e.Objects, cmp.Or(e.Kind, e.Prefix), e.KeyName, e.Provider)
		if len(unread) > 0 {
			notes = append(notes, fmt.Sprintf("%s; whether the API servers have it is not known: their configuration (%s) cannot be read", what, strings.Join(unread, ", ")))
			continue
		}
		notes = append(notes, what+", which the API servers' configuration (--"+encryptionFlag+") lacks: they will read none of them, and list none of that kind; add the key to it first")
	}
	return notes
}

// ciphers are what the API servers can read, by their configuration; unread are files of which that is not known, and servers how
// many there are whose flags tell.
func (sc *scene) ciphers(ctx context.Context, c controlplane.Client) (known []cipher, unread []string, servers int) {
	for _, w := range sc.writers {
		if _, ok := w.APIServerPort(); !ok || !w.Flagged(ctx, c, "etcd-servers") { // its flags are in a file of its own
			continue
		}
		servers++
		files, not := w.Files(ctx, c, encryptionFlag)
		unread = append(unread, not...)
		for file, text := range files {
			more, err := ciphersOf(text)
			if err != nil {
				unread = append(unread, file)
			}
			known = append(known, more...)
		}
	}
	return known, unread, servers
}
