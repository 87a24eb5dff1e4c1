package datadir

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify"
)

// Inspect looks at a data directory. It changes nothing and does not disturb an etcd that runs; one that starts just now
// waits a moment for the lock. What cannot be read is in State.Notes and not an error.
func Inspect(ctx context.Context, p Place) (*State, error) {
	if !filepath.IsAbs(p.DataDir) {
		return nil, fmt.Errorf("%w: %q is no data directory", ErrInvalid, p.DataDir)
	}
	s := &State{}
	o := ownerOf(p.DataDir)
	s.UID, s.GID = o.uid, o.gid
	if err := s.volume(p.DataDir); err != nil {
		return nil, err
	}
	info, err := os.Stat(p.member())
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	case !info.IsDir():
		s.note("%s is not a folder", p.member())
	default:
		if err := s.memberFolder(ctx, p, info); err != nil {
			return nil, err
		}
	}
	if s.Operations, err = operations(ctx, p); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *State) note(format string, args ...any) {
	s.Notes = append(s.Notes, fmt.Sprintf(format, args...))
}

// volume describes the file system, through the nearest folder that is there.
func (s *State) volume(dir string) (err error) {
	for {
		if _, err = os.Stat(dir); !errors.Is(err, fs.ErrNotExist) || dir == "/" {
			break
		}
		dir = filepath.Dir(dir)
	}
	if err != nil {
		return err
	}
	if s.Free, s.Total, err = freeSpace(dir); err != nil {
		return err
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fmt.Errorf("read file system of %s: %w", dir, err)
	}
	s.FSType = fsType(int64(st.Type))
	s.ReadOnly = st.Flags&unix.ST_RDONLY != 0
	s.Writable = unix.Faccessat(unix.AT_FDCWD, dir, unix.W_OK|unix.X_OK, unix.AT_EACCESS) == nil
	return nil
}

func fsType(magic int64) string {
	switch magic {
	case unix.EXT4_SUPER_MAGIC:
		return "ext4"
	case unix.XFS_SUPER_MAGIC:
		return "xfs"
	case unix.BTRFS_SUPER_MAGIC:
		return "btrfs"
	case unix.TMPFS_MAGIC:
		return "tmpfs"
	case unix.OVERLAYFS_SUPER_MAGIC:
		return "overlay"
	case unix.NFS_SUPER_MAGIC:
		return "nfs"
	case 0x2fc12fc1:
		return "zfs"
	}
	return fmt.Sprintf("%#x", magic)
}

func (s *State) memberFolder(ctx context.Context, p Place, info fs.FileInfo) (err error) {
	s.Exists, s.Mode = true, info.Mode()
	if s.Inode, err = inodeOf(p.member()); err != nil {
		return err
	}
	if s.TreeSize, err = sizeOnDisk(ctx, p.member()); err != nil {
		return err
	}
	if found, err := readIDs(p.log()); err != nil {
		s.note("%v", err)
	} else {
		s.ClusterID, s.MemberID = found.cluster, found.member
	}
	if s.Elected, err = elected(p.log()); err != nil {
		s.Elected = true
		s.note("%v", err)
	}
	path := database(p.member())
	f, err := os.Open(path)
	if err != nil {
		s.note("%v", err)
		return nil
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil {
		return err
	}
	s.DBSize = info.Size()
	switch err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); {
	case errors.Is(err, unix.EWOULDBLOCK):
		s.Locked = true
		return nil
	case err != nil:
		s.note("lock %s: %v", path, err)
		return nil
	}
	peeked, err := verify.Peek(ctx, f, s.DBSize)
	if err != nil {
		s.note("read %s: %v", path, err)
		return ctx.Err()
	}
	s.RevisionKnown = true
	s.Revision, s.CompactRevision, s.ConsistentIndex = peeked.Revision, peeked.CompactRevision, peeked.ConsistentIndex
	return nil
}

// operations lists what lies in our folder.
func operations(ctx context.Context, p Place) (found []Operation, err error) {
	entries, err := os.ReadDir(p.ours())
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		one := Operation{Op: e.Name()}
		if one.Size, err = sizeOnDisk(ctx, filepath.Join(p.ours(), e.Name())); err != nil {
			return nil, err
		}
		if name, ok := strings.CutPrefix(e.Name(), discardMark); ok {
			one.Op, one.Discarded = name, true
			found = append(found, one)
			continue
		}
		p.Op = e.Name()
		one.HasSnapshot = exists(p.op(snapshotName))
		one.HasPart = exists(p.op(snapshotName+uploadSuffix)) || exists(p.op(buildingName))
		one.HalfExchanged = exists(p.half())
		one.left(p)
		if one.Inode, err = inodeOf(p.built()); err != nil {
			return nil, err
		}
		if r, err := p.record(); err == nil && r != nil {
			one.Built = &r.Result
		}
		found = append(found, one)
	}
	return found, nil
}

// left reads what was written there for whoever comes; what cannot be read tells nothing.
func (o *Operation) left(p Place) {
	if found, err := p.readOurs(journalName, &o.Journal); !found || err != nil {
		o.Journal = nil
	}
	var f Fate
	if found, err := p.readOurs(fateName, &f); found && err == nil {
		o.Fate = &f
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// record is how data was built; it lies beside the member folder and gets its place together with it.
type record struct {
	Request BuildRequest `json:"request"`
	Result  Built        `json:"result"`
}

// record returns nil where nothing has been built.
func (p Place) record() (*record, error) {
	b, err := os.ReadFile(p.op(dataName, recordName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r := &record{}
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("read %s: %w", p.op(dataName, recordName), err)
	}
	return r, nil
}
