//go:build unix && !solaris && !illumos && !aix

package boltfile

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// bbolt locks with flock on these systems; a lock of another kind would not see it.
func tryLockShared(f *os.File) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return errLocked
	}
	return err
}

func unlockFile(f *os.File) { _ = unix.Flock(int(f.Fd()), unix.LOCK_UN) }
