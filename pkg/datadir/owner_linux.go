package datadir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// owner is whose files are, and what etcd runs as.
type owner struct{ uid, gid uint32 }

// ownerOf is the owner of the member's data, or of the nearest folder above where there is none.
func ownerOf(dataDir string) owner {
	for path := filepath.Join(dataDir, "member"); ; path = filepath.Dir(path) {
		var st unix.Stat_t
		if unix.Stat(path, &st) == nil {
			return owner{st.Uid, st.Gid}
		}
		if path == filepath.Dir(path) {
			return owner{uint32(os.Geteuid()), uint32(os.Getegid())}
		}
	}
}

// give gives a file to its owner. A process that is not root can give nothing to another user: then the file stays its
// own, which is what etcd, running as the same user, would have made too. given tells whether it has that owner now.
func (o owner) give(path string, info fs.FileInfo) (given bool, err error) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || st.Uid == o.uid && st.Gid == o.gid {
		return true, nil
	}
	err = os.Lchown(path, int(o.uid), int(o.gid))
	if errors.Is(err, fs.ErrPermission) && st.Gid != o.gid {
		_ = os.Lchown(path, -1, int(o.gid)) // a group of ours may still be given
	}
	if errors.Is(err, fs.ErrPermission) {
		return false, nil
	}
	return err == nil, err
}

// makeFolder makes a folder that only its owner can enter, unless it is there. A link in its place is refused: what is
// removed and renamed in it would be somewhere else.
func makeFolder(path string, o owner) error {
	err := os.Mkdir(path, 0o700)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return noSpace(err)
	}
	info, lerr := os.Lstat(path)
	if lerr != nil {
		return lerr
	}
	if !info.IsDir() {
		return fmt.Errorf("%w: %s is not a folder", ErrInvalid, path)
	}
	if err == nil {
		_, err = o.give(path, info)
		return err
	}
	return nil
}

// settle gives a tree to its owner and makes it durable, files before their folders. It returns how many files another
// user keeps.
func (o owner) settle(ctx context.Context, root string) (kept int, err error) {
	var folders []string
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		given, err := o.give(path, info)
		if err != nil {
			return err
		}
		if !given {
			kept++
		}
		if d.IsDir() {
			folders = append(folders, path)
			return nil
		}
		return syncFolder(path) // a file is synced the same way
	})
	for i := len(folders) - 1; i >= 0 && err == nil; i-- {
		err = syncFolder(folders[i])
	}
	return kept, err
}
