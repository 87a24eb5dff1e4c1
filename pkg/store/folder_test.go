package store_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store/storetest"
)

func TestFolderConformance(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) store.Store { return store.Folder(t.TempDir()) })
}

// TestFolderLinked: a folder that is a link is listed like any other.
func TestFolderLinked(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	storetest.Put(t, store.Folder(dir), "p/x.db", []byte("x"))
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Skip(err)
	}
	if names := storetest.Names(t, store.Folder(link), ""); len(names) != 1 || names[0] != "p/x.db" {
		t.Errorf("%q", names)
	}
}
