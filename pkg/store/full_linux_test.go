package store

import (
	"errors"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/store/disktest"
)

// TestDiskFull writes to a file system of one megabyte.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	dir := disktest.Small(t, "1m")
	if n := Free(dir); n <= 0 || n > 1<<20 {
		t.Errorf("%d bytes free", n)
	}
	f, err := Create(filepath.Join(dir, "x.db"), false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(make([]byte, 2<<20)); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("write: %v", err)
	}
	f.Abort()
	only(t, dir)
	if n := Free(dir); n < 1<<20-64<<10 {
		t.Errorf("after Abort only %d bytes are free", n)
	}
}
