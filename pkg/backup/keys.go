package backup

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/keys"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/snapshot"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify"
)

// keyring is what decrypts and identifies beside the snapshot: encrypted, in memory only.
type keyring struct {
	data    []byte
	side    snapshot.Keys
	ciphers []keys.Cipher
}

// collectKeys reads the keys, before the snapshot: without them the backup is not what was asked for.
func (r *run) collectKeys(ctx context.Context) error {
	if !r.cfg.WithKeys {
		return nil
	}
	from, err := keys.Find(ctx, r.Clients, r.cfg.Plane, r.warn)
	if err != nil {
		return err
	}
	r.Report.Step("saving keys (nodes: %d, Secrets and ConfigMaps: %d)", len(from.Nodes), len(from.Objects))
	found, err := from.Collect(ctx, r.Clients, r.cfg.Reach)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	w, err := r.cfg.Encrypt.Writer(&out)
	if err == nil {
		err = found.Write(w)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return fmt.Errorf("save keys: %w", err)
	}
	sum := sha256.Sum256(out.Bytes())
	r.keys = &keyring{data: out.Bytes(), ciphers: found.Ciphers,
		side: snapshot.Keys{Size: int64(out.Len()), SHA256: hex.EncodeToString(sum[:]), Items: found.Items, Missing: found.Missing}}
	if more := len(found.Items) - snapshot.MaxKeyItems; more > 0 { // a sidecar is small
		r.keys.side.Items, r.keys.side.Omitted = found.Items[:snapshot.MaxKeyItems], more
	}
	return nil
}

// putKeys stores them beside the snapshot, before its sidecar, which says so.
func (r *run) putKeys(ctx context.Context) error {
	if r.keys == nil {
		return nil
	}
	name := snapshot.KeysPath(r.name)
	if _, err := store.Put(ctx, r.cfg.Store, name, r.keys.data, r.cfg.Force); err != nil {
		return err
	}
	r.result.Keys = r.cfg.Store.URL(name)
	return nil
}

// planKeys says what would be read.
func (r *run) planKeys(ctx context.Context, p *Plan) error {
	if !r.cfg.WithKeys {
		return nil
	}
	from, err := keys.Find(ctx, r.Clients, r.cfg.Plane, r.warn)
	if err != nil {
		return err
	}
	for _, n := range from.Nodes {
		var paths []string
		for _, at := range n.Paths {
			paths = append(paths, at.Path)
		}
		p.Keys = append(p.Keys, "node "+n.Name+": "+strings.Join(paths, ", "))
		p.Creates = append(p.Creates, "ConfigMap and Pod on node "+n.Name)
	}
	for _, o := range from.Objects {
		p.Keys = append(p.Keys, o.String())
	}
	return nil
}

// warnEncrypted says which of the keys that the snapshot needs are not saved with it: those of what was found encrypted in it, and
// where nothing was, or it was not looked into, what the API servers are told.
func (r *run) warnEncrypted(found []verify.Encryption) {
	if r.keys == nil {
		kinds := encrypted(found)
		if i := slices.IndexFunc(r.cfg.Plane.APIServers, func(a controlplane.APIServer) bool { return a.Encryption != "" }); i >= 0 && kinds == "" {
			kinds = fmt.Sprintf("objects (by --%s of API server %s)", controlplane.EncryptionFlag, r.cfg.Plane.APIServers[i].Pod)
		}
		if kinds != "" {
			r.warn("%s are encrypted at rest, and their keys are not in a snapshot: keep the API servers' EncryptionConfiguration (with KMS: the plugin's key), too, or save it with --with-keys", kinds)
		}
		return
	}
	without := slices.DeleteFunc(slices.Clone(found), func(e verify.Encryption) bool {
		return slices.Contains(r.keys.ciphers, keys.Cipher{Provider: e.Provider, Key: e.KeyName})
	})
	if kinds := encrypted(without); kinds != "" {
		r.warn("%s are encrypted with a key that none of the saved EncryptionConfigurations has", kinds)
	}
	if slices.ContainsFunc(r.keys.ciphers, func(c keys.Cipher) bool { return c.Provider == "kms" }) {
		r.warn("a KMS plugin's own key is with its service, and in no backup")
	}
}
