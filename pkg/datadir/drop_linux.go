package datadir

import (
	"context"
	"fmt"
	"os"
	"time"
)

// Drop deletes a member's data, for a volume that has no room for other data beside it. It refuses while etcd runs, and
// once the operation has built something: then there is room for both.
func Drop(ctx context.Context, r DropRequest) (*Discarded, error) { return here.drop(ctx, r) }

func (h host) drop(ctx context.Context, r DropRequest) (*Discarded, error) {
	if err := r.Place.check(); err != nil {
		return nil, err
	}
	end, err := h.begin(ctx, r.Place, true)
	if err != nil {
		return nil, err
	}
	defer end()
	d := &Discarded{}
	built, err := r.record()
	if err != nil {
		return nil, err
	}
	now, err := inodeOf(r.member())
	switch {
	case err != nil:
		return nil, err
	case now == 0: // an earlier try may have been cut short while it was deleting
		return d, removeTree(r.aside())
	case now != r.Inode:
		return nil, fmt.Errorf("drop: %w: member is %d, not %d", ErrInode, now, r.Inode)
	case built != nil:
		return nil, fmt.Errorf("drop: %w: data has been built beside it", ErrInode)
	}
	lock, err := lockDatabase(ctx, database(r.member()), time.Now().Add(time.Duration(r.Wait)*time.Second))
	if err != nil {
		return nil, err
	}
	if lock != nil {
		defer lock.Close()
	}
	if d.Freed, err = sizeOnDisk(ctx, r.member()); err != nil {
		return nil, err
	}
	// First under another name: half a member folder must not look like one.
	if err := removeTree(r.aside()); err != nil {
		return nil, err
	}
	if err := os.Rename(r.member(), r.aside()); err != nil {
		return nil, err
	}
	for _, dir := range []string{r.ours(), r.DataDir} {
		if err := syncFolder(dir); err != nil {
			return nil, err
		}
	}
	return d, removeTree(r.aside())
}
