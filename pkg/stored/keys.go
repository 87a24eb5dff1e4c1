package stored

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/seal"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/snapshot"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
)

// mostKeys is far above what keys are, in bytes: they are held in memory.
const mostKeys = 256 << 20

// KeysOf says what keys were saved beside a snapshot; it is never nil without an error.
func KeysOf(ctx context.Context, s store.Store, name string) (*snapshot.Sidecar, error) {
	side, err := Sidecar(ctx, s, name)
	switch {
	case err != nil:
		return nil, err
	case side == nil:
		if _, err := s.Stat(ctx, name); err != nil {
			return nil, err
		}
		return nil, &Error{URL: s.URL(snapshot.SidecarPath(name)), Reason: "it is not there, or may not be read: what keys there are is not known"}
	case side.Keys == nil:
		return nil, &Error{URL: s.URL(name), Reason: "no keys were saved with it", Way: "take a backup with --with-keys"}
	}
	return side, nil
}

// ReadKeys reads the keys beside a snapshot, decrypted, after all of them were compared with its sidecar.
func ReadKeys(ctx context.Context, s store.Store, name string, ids seal.Identities) ([]byte, error) {
	side, err := KeysOf(ctx, s, name)
	if err != nil {
		return nil, err
	}
	sealed, err := sealedKeys(ctx, s, name, side)
	if err != nil {
		return nil, err
	}
	url := s.URL(snapshot.KeysPath(name))
	plain, err := unseal(url, side, bytes.NewReader(sealed), ids)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(plain)
	if err != nil {
		return nil, &Error{URL: url, Reason: "it cannot be decrypted: " + err.Error(), Cause: err}
	}
	return data, nil
}

// sealedKeys are they as they are stored.
func sealedKeys(ctx context.Context, s store.Store, name string, side *snapshot.Sidecar) ([]byte, error) {
	path := snapshot.KeysPath(name)
	data, err := store.ReadAll(ctx, s, path, mostKeys)
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != side.Keys.SHA256 {
		return nil, &Error{URL: s.URL(path), Reason: fmt.Sprintf("it has %d bytes with sha256 %x, and the snapshot's sidecar says %d with %s: it is not what was written", len(data), sum, side.Keys.Size, side.Keys.SHA256)}
	}
	return data, nil
}
