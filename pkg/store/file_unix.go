//go:build unix

package store

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

func lock(f *os.File) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return ErrBusy
	}
	if errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.ENOLCK) || errors.Is(err, unix.EINVAL) {
		return nil // a file system without locks, some network shares
	}
	return err
}

// publish gives the file its name and closes it. Without force only if nothing
// has that name, which a rename would replace; where the file system has no
// hard links the name was free at Create.
func publish(f *os.File, to string, force bool) error {
	if force {
		return errors.Join(os.Rename(f.Name(), to), f.Close())
	}
	err := os.Link(f.Name(), to)
	switch {
	case err == nil:
		err = os.Remove(f.Name())
	case errors.Is(err, fs.ErrExist):
		return ErrExists
	default:
		if _, serr := os.Lstat(to); serr == nil {
			return ErrExists
		}
		err = os.Rename(f.Name(), to)
	}
	return errors.Join(err, f.Close())
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	if err := d.Sync(); err != nil && !errors.Is(err, unix.EINVAL) {
		return err
	}
	return nil
}

// Free returns the bytes an ordinary user may still write in dir, or -1 if that cannot be told.
func Free(dir string) int64 {
	var s unix.Statfs_t
	if unix.Statfs(dir, &s) != nil {
		return -1
	}
	return int64(s.Bavail) * int64(s.Bsize)
}
