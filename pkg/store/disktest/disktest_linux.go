// Package disktest has disks for tests that become full.
package disktest

import (
	"os"
	"syscall"
	"testing"
)

// Small is the folder of a file system of that size ("64k", "40m"), in memory, for the time of the test. Only root can mount
// one: without, or in a container without CAP_SYS_ADMIN, the test is skipped.
func Small(t testing.TB, size string) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("mounting a small file system needs root")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("mount a small file system: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}
