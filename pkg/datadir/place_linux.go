package datadir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	snapshotName = "snapshot.db"
	uploadSuffix = ".part" // of an upload that has not ended
	buildingName = "data.part"
	recordName   = "build.json"
	journalName  = "journal.json"
	fateName     = "fate.json"
	halfName     = "member.old"
	discardMark  = ".discard-"

	// lockPoll is how often a lock is tried or looked at. An etcd that finds its database locked tries again every 50 ms: in
	// step with that, looks that have the lock for a moment would keep it out for as long as they go on.
	lockPoll = 30 * time.Millisecond
)

// host is what tests replace of the machine.
type host struct {
	free     func(dir string) (free, total int64, err error)
	swap     func(a, b string) error // exchanges two folders at once
	lockWait time.Duration           // longer than an agent outlives its client
}

var here = host{free: freeSpace, swap: exchangeFolders, lockWait: 45 * time.Second}

var operationName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

func (p Place) check() error {
	switch {
	case !filepath.IsAbs(p.DataDir) || filepath.Clean(p.DataDir) == "/":
		return fmt.Errorf("%w: %q is no data directory", ErrInvalid, p.DataDir)
	case !operationName.MatchString(p.Op):
		return fmt.Errorf("%w: %q is no name for an operation", ErrInvalid, p.Op)
	case p.log() != filepath.Join(p.member(), "wal"):
		return fmt.Errorf("%w: this one has it in %s", ErrSeparateLog, p.WALDir)
	}
	return nil
}

func (p Place) member() string { return filepath.Join(p.DataDir, "member") }
func (p Place) ours() string   { return filepath.Join(p.DataDir, oursName) }
func (p Place) op(elem ...string) string {
	return filepath.Join(append([]string{p.ours(), p.Op}, elem...)...)
}
func (p Place) built() string { return p.op(dataName, "member") }
func (p Place) half() string  { return p.op(dataName, halfName) }

func (p Place) log() string {
	if p.WALDir != "" {
		return filepath.Clean(p.WALDir)
	}
	return filepath.Join(p.member(), "wal")
}

func database(member string) string { return filepath.Join(member, "snap", "db") }

// inodeOf returns 0 where there is nothing.
func inodeOf(path string) (uint64, error) {
	var st unix.Stat_t
	err := unix.Lstat(path, &st)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return 0, nil
	}
	if err != nil {
		return 0, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return st.Ino, nil
}

// sizeOnDisk is what a tree takes; what vanishes meanwhile takes nothing.
func sizeOnDisk(ctx context.Context, path string) (total int64, err error) {
	err = filepath.WalkDir(path, func(_ string, d fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			var info fs.FileInfo
			if info, err = d.Info(); err == nil {
				if st, ok := info.Sys().(*syscall.Stat_t); ok {
					total += st.Blocks * 512
				}
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	return total, err
}

func freeSpace(dir string) (free, total int64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, fmt.Errorf("read free space of %s: %w", dir, err)
	}
	return int64(st.Bavail) * st.Bsize, int64(st.Blocks) * st.Bsize, nil
}

// mib rounds up.
func mib(bytes int64) string { return fmt.Sprintf("%d MiB", (bytes+1<<20-1)>>20) }

// noSpace gives a write that failed for want of space its name.
func noSpace(err error) error {
	if (errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)) && !errors.Is(err, ErrNoSpace) {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return err
}

// begin takes our folder for one operation at a time; with create it is made first. It returns fs.ErrNotExist where
// there is none. The folder's own lock is taken, since it is there before and after everything in it.
func (h host) begin(ctx context.Context, p Place, create bool) (end func(), err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, h.lockWait, fmt.Errorf("%w: waited %v for it", ErrBusy, h.lockWait))
	defer cancel()
	poll := time.NewTicker(lockPoll)
	defer poll.Stop()
	for {
		if create {
			if err := makeFolder(p.ours(), ownerOf(p.DataDir)); err != nil {
				return nil, err
			}
		}
		f, err := os.Open(p.ours())
		if err != nil {
			return nil, err
		}
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil && isStill(f, p.ours()) {
			return func() { _ = f.Close() }, nil
		}
		_ = f.Close()
		if err != nil && !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", p.ours(), err)
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-poll.C:
		}
	}
}

// isStill tells whether the open file still has its name: whoever had the lock before may have removed it.
func isStill(f *os.File, path string) bool {
	opened, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Lstat(path)
	return err == nil && os.SameFile(opened, named)
}

func syncFolder(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", path, err)
	}
	return nil
}

// removeTree removes what may not be there.
func removeTree(path string) error {
	if err := os.RemoveAll(path); err != nil {
		return fmt.Errorf("remove %s: %w", path, err)
	}
	return nil
}
