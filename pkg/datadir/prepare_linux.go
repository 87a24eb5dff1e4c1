package datadir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Prepare makes the folder for an upload of size bytes, where the volume has room for it and for what is built of it. It
// removes what a build that was killed left behind, and an upload of another size. Where there is no room, it leaves nothing.
func Prepare(ctx context.Context, p Place, size int64) (*Prepared, error) {
	return here.prepare(ctx, p, size)
}

func (h host) prepare(ctx context.Context, p Place, size int64) (_ *Prepared, err error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	if size < 0 {
		return nil, fmt.Errorf("%w: a snapshot of %d bytes", ErrInvalid, size)
	}
	if err := makeDataDir(p.DataDir); err != nil {
		return nil, err
	}
	end, err := h.begin(ctx, p, true)
	if err != nil {
		return nil, err
	}
	defer end()
	defer func() {
		if err != nil { // only what is empty, so nothing that was there
			_ = os.Remove(p.op())
			_ = os.Remove(p.ours())
		}
	}()
	if err := makeFolder(p.op(), ownerOf(p.DataDir)); err != nil {
		return nil, err
	}
	if err := removeTree(p.op(buildingName)); err != nil {
		return nil, err
	}
	r := &Prepared{Path: p.op(snapshotName), Size: sizeOf(p.op(snapshotName))}
	if r.Size >= 0 && r.Size != size { // another client's, of another form: it would take the room of this one's
		if err := os.Remove(r.Path); err != nil {
			return nil, err
		}
		r.Size = -1
	}
	built, err := p.record()
	if err != nil {
		return nil, err
	}
	if r.Free, _, err = h.free(p.op()); err != nil {
		return nil, err
	}
	if built != nil {
		r.Built = &built.Result
		return r, nil
	}
	// What has come of the upload takes its room already; an upload that begins anew gives it back.
	there := max(r.Size, 0) + max(sizeOf(p.op(snapshotName+uploadSuffix)), 0)
	if need := Room(size) - there; r.Free < need {
		return nil, fmt.Errorf("%w: the snapshot of %s and the data built of it need %s (%d bytes) beside the data that is there, %s (%d bytes) are free",
			ErrNoSpace, mib(size), mib(need), need, mib(r.Free), r.Free)
	}
	for _, dir := range []string{p.op(), p.ours(), p.DataDir} {
		if err := syncFolder(dir); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// makeDataDir makes the data directory on a volume that is new.
func makeDataDir(path string) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := makeDataDir(filepath.Dir(path)); err != nil {
		return err
	}
	return makeFolder(path, ownerOf(path))
}

// sizeOf is -1 where there is no file.
func sizeOf(path string) int64 {
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() {
		return -1
	}
	return info.Size()
}
