package store

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestDiskFull writes to a file system of one megabyte; only root can mount one.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("mounting a small file system needs root")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("mount a small file system: %v", err) // root in a container without CAP_SYS_ADMIN
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
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
