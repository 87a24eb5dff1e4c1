package datadir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Discard removes everything of an operation, the old data after an exchange included, and our folder when nothing else
// is in it. It never touches `member`.
func Discard(ctx context.Context, p Place) (*Discarded, error) { return here.discard(ctx, p) }

func (h host) discard(ctx context.Context, p Place) (*Discarded, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	d := &Discarded{}
	end, err := h.begin(ctx, p, false)
	if errors.Is(err, fs.ErrNotExist) {
		return d, nil
	}
	if err != nil {
		return nil, err
	}
	defer end()
	if err := p.setAside(ctx); err != nil {
		return nil, err
	}
	aside := p.aside()
	if d.Freed, err = sizeOnDisk(ctx, aside); err != nil {
		return nil, err
	}
	if err := removeTree(aside); err != nil {
		return nil, err
	}
	if err := syncFolder(p.ours()); err != nil {
		return nil, err
	}
	// What is not empty stays.
	if os.Remove(p.ours()) == nil {
		return d, syncFolder(p.DataDir)
	}
	return d, nil
}

// aside is what the operation's folder is called while it is being deleted: a removal that is cut short must not leave
// half of a member folder where an exchange would find it.
func (p Place) aside() string { return filepath.Join(p.ours(), discardMark+p.Op) }

func (p Place) setAside(ctx context.Context) error {
	if !exists(p.op()) {
		return nil
	}
	if exists(p.half()) && !exists(p.member()) {
		return fmt.Errorf("discard: %w: an exchange was cut short and %s is the only data; exchange it first", ErrInode, p.half())
	}
	f, err := lockDatabase(ctx, database(p.built()), time.Now())
	if err != nil {
		return err
	}
	if f != nil {
		defer f.Close()
	}
	if err := removeTree(p.aside()); err != nil { // of an earlier operation with the same id
		return err
	}
	if err := os.Rename(p.op(), p.aside()); err != nil {
		return err
	}
	return syncFolder(p.ours())
}
