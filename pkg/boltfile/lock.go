package boltfile

import (
	"context"
	"errors"
	"os"
	"time"
)

const (
	defaultLockTimeout = 500 * time.Millisecond
	lockRetry          = 25 * time.Millisecond
)

// errLocked is what tryLock returns when another process holds the lock.
var errLocked = errors.New("locked")

// LockShared takes the lock that bbolt takes on a database that is only read, so that no etcd opens it meanwhile, and
// fails with ErrInUse when one has it open already: its pages would change while they are read. Where the file
// system has no locks, as some network file systems do, it reads without.
func LockShared(ctx context.Context, f *os.File, timeout time.Duration) (unlock func(), err error) {
	if timeout <= 0 {
		timeout = defaultLockTimeout
	}
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	for {
		err := tryLockShared(f)
		if !errors.Is(err, errLocked) {
			if err != nil {
				return func() {}, nil
			}
			return func() { unlockFile(f) }, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-deadline.C:
			return nil, ErrInUse
		case <-time.After(lockRetry):
		}
	}
}
