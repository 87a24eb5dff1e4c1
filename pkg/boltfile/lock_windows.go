package boltfile

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// lockRange is the byte that bbolt locks: the last possible one.
func lockRange() *windows.Overlapped {
	const last = ^uint32(0)
	return &windows.Overlapped{Offset: last, OffsetHigh: last}
}

func tryLockShared(f *os.File) error {
	err := windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, lockRange())
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return errLocked
	}
	return err
}

func unlockFile(f *os.File) { _ = windows.UnlockFileEx(windows.Handle(f.Fd()), 0, 1, 0, lockRange()) }
