package stored

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/seal"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/snapshot"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store/storetest"
)

func hexSum(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// withKeys stores an object that stands for a snapshot, and keys beside it. ids decrypt them.
func withKeys(t *testing.T, s store.Store, name string, keys []byte) (ids seal.Identities) {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte(id.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	to, err := seal.To([]string{id.Recipient().String()})
	if err != nil {
		t.Fatal(err)
	}
	if ids, err = seal.From([]string{file}, nil); err != nil {
		t.Fatal(err)
	}
	var sealed bytes.Buffer
	w, err := to.Writer(&sealed)
	if err == nil {
		_, err = w.Write(keys)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	data := []byte("a snapshot")
	side := snapshot.Sidecar{Size: int64(len(data)), SHA256: hexSum(data), Proof: snapshot.ProofStream, Plain: snapshot.Plain{Size: 1, SHA256: hexSum(nil)}, Created: time.Now(),
		Encryption: &snapshot.Encryption{Scheme: snapshot.Age, Recipients: to.Names},
		Keys:       &snapshot.Keys{Size: int64(sealed.Len()), SHA256: hexSum(sealed.Bytes()), Items: []snapshot.Key{{From: "node 1", Path: "/x", Kind: snapshot.KeyOther}}}}
	text, err := side.Encode()
	if err != nil {
		t.Fatal(err)
	}
	storetest.Put(t, s, name, data)
	storetest.Put(t, s, snapshot.SidecarPath(name), text)
	storetest.Put(t, s, snapshot.KeysPath(name), sealed.Bytes())
	return ids
}

// TestKeys: they are read decrypted, and only as the sidecar has them.
func TestKeys(t *testing.T) {
	folder := t.TempDir()
	s := store.Folder(folder)
	ids := withKeys(t, s, "x.db.zst.age", []byte("keys"))
	if got, err := ReadKeys(t.Context(), s, "x.db.zst.age", ids); err != nil || string(got) != "keys" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := ReadKeys(t.Context(), s, "x.db.zst.age", seal.Identities{}); err == nil || !strings.Contains(err.Error(), "it is encrypted for age1") {
		t.Errorf("without a key: %v", err)
	}
	other := withKeys(t, store.Folder(t.TempDir()), "y.db.age", nil)
	if _, err := ReadKeys(t.Context(), s, "x.db.zst.age", other); err == nil || !strings.Contains(err.Error(), "no identity named is one of these") {
		t.Errorf("with another's key: %v", err)
	}
	storetest.Put(t, s, "plain.db", []byte("x"))
	if _, err := ReadKeys(t.Context(), s, "plain.db", ids); err == nil {
		t.Error("there is no sidecar, and it has keys")
	}
	path := filepath.Join(folder, "x.db.zst.age.keys.tar.age")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func([]byte) []byte{
		"changed": func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
		"cut":     func(b []byte) []byte { return b[:len(b)-1] },
		"empty":   func([]byte) []byte { return nil },
	} {
		if err := os.WriteFile(path, change(bytes.Clone(data)), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadKeys(t.Context(), s, "x.db.zst.age", ids); err == nil || !strings.Contains(err.Error(), "it is not what was written") {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := Copy(t.Context(), s, "x.db.zst.age", store.Folder(t.TempDir()), "x.db.zst.age", nil); err == nil || !strings.Contains(err.Error(), "it is not what was written") {
			t.Errorf("copy of %s: %v", name, err)
		}
	}
}

// refusing is a store that does not take an object of that name.
type refusing struct {
	store.Store
	name string
}

func (r refusing) Create(ctx context.Context, name string, o store.CreateOptions) (store.Writer, error) {
	if name == r.name {
		return nil, fs.ErrPermission
	}
	return r.Store.Create(ctx, name, o)
}

// TestCopyKeys: they go with the snapshot, or neither is there.
func TestCopyKeys(t *testing.T) {
	s := store.Folder(t.TempDir())
	ids := withKeys(t, s, "x.db.zst.age", []byte("keys"))
	to := t.TempDir()
	if _, err := Copy(t.Context(), s, "x.db.zst.age", store.Folder(to), "y.db.zst.age", nil); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadKeys(t.Context(), store.Folder(to), "y.db.zst.age", ids); err != nil || string(got) != "keys" {
		t.Errorf("%q, %v", got, err)
	}
	for _, refused := range []string{snapshot.SidecarPath("x.db.zst.age"), snapshot.KeysPath("x.db.zst.age")} {
		folder := t.TempDir()
		if _, err := Copy(t.Context(), s, "x.db.zst.age", refusing{store.Folder(folder), refused}, "x.db.zst.age", nil); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%s: %v", refused, err)
		}
		if left, err := os.ReadDir(folder); err != nil || len(left) > 0 {
			t.Errorf("%s: left: %v, %v", refused, left, err)
		}
	}
	taken := t.TempDir()
	storetest.Put(t, store.Folder(taken), "x.db.zst.age.keys.tar.age", []byte("somebody's"))
	if _, err := Copy(t.Context(), s, "x.db.zst.age", store.Folder(taken), "x.db.zst.age", nil); err == nil || !strings.Contains(err.Error(), "file exists") {
		t.Errorf("%v", err)
	}
	if left, err := os.ReadDir(taken); err != nil || len(left) != 1 {
		t.Errorf("left: %v, %v", left, err)
	}
}
