package stored

import (
	"crypto/sha256"
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/seal"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store/disktest"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store/storetest"
)

// TestOwnDisk: a full disk here is not taken for a damaged backup.
func TestOwnDisk(t *testing.T) {
	s := store.Folder(t.TempDir())
	storetest.Put(t, s, "x.db", storetest.Bytes(3<<20))
	t.Setenv("TMPDIR", disktest.Small(t, "64k"))
	_, err := Fetch(t.Context(), s, "x.db", Options{})
	var e *Error
	if !errors.As(err, &e) || !strings.Contains(e.Hint(), "TMPDIR") {
		t.Errorf("%v", err)
	}
	got := &Snapshot{URL: "x"}
	if got.Spool, err = store.NewSpool(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = got.Close() }()
	r := store.Patience.Read(t.Context(), s, store.Info{Name: "x.db", Size: 3 << 20}, nil)
	err = got.read(&counted{ctx: t.Context(), r: r, h: sha256.New(), total: 3 << 20}, seal.Identities{})
	if !errors.Is(err, syscall.ENOSPC) || !strings.HasPrefix(err.Error(), "write temporary file: ") {
		t.Errorf("%v", err)
	}
}
