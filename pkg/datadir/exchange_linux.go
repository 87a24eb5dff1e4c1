package datadir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Exchange makes the folder with the inode that the request names the folder `member`, in the place of the one that is
// there, which goes to where the other was. It holds the locks of both databases meanwhile, so it refuses while etcd runs
// on either. The caller sees to it that no etcd is started: where the file system cannot exchange two folders at once,
// there is a moment in which there is none.
func Exchange(ctx context.Context, r ExchangeRequest) (*Exchanged, error) {
	e, err := here.exchange(ctx, r)
	return e, noSpace(err)
}

func (h host) exchange(ctx context.Context, r ExchangeRequest) (*Exchanged, error) {
	if err := r.Place.check(); err != nil {
		return nil, err
	}
	if r.Inode == 0 && r.Exists {
		return nil, fmt.Errorf("%w: a member that had data must not be left without any", ErrInvalid)
	}
	end, err := h.begin(ctx, r.Place, false)
	if errors.Is(err, fs.ErrNotExist) {
		return r.withoutFolder(err)
	}
	if err != nil {
		return nil, err
	}
	defer end()
	if err := r.heal(); err != nil {
		return nil, err
	}
	now, err := r.look()
	if err != nil {
		return nil, err
	}
	if now.Inode == r.Inode {
		now.Atomic = true
		return now, r.sync() // it may have been done by someone who was killed before this
	}
	if err := r.refuse(now); err != nil {
		return nil, err
	}
	if err := r.joined(); err != nil { // its etcd may hold the lock for ever
		return nil, err
	}
	unlock, err := r.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := r.joined(); err != nil {
		return nil, err
	}
	atomic, err := h.move(r, now)
	if err != nil {
		return nil, err
	}
	if err := r.sync(); err != nil {
		return nil, err
	}
	if now, err = r.look(); err != nil {
		return nil, err
	}
	now.Exchanged, now.Atomic = true, atomic
	if now.Inode != r.Inode {
		return nil, fmt.Errorf("exchange: %w: member is %d afterwards, not %d", ErrInode, now.Inode, r.Inode)
	}
	return now, nil
}

// withoutFolder is where the operation has been discarded: nothing can be exchanged, and perhaps nothing needs to be.
func (r ExchangeRequest) withoutFolder(why error) (*Exchanged, error) {
	now, err := r.look()
	if err != nil {
		return nil, err
	}
	if now.Inode == r.Inode {
		now.Atomic = true
		return now, nil
	}
	return nil, fmt.Errorf("exchange: %w: member is %d, not %d: %w", ErrInode, now.Inode, r.Inode, why)
}

func (r ExchangeRequest) look() (e *Exchanged, err error) {
	e = &Exchanged{}
	if e.Inode, err = inodeOf(r.member()); err != nil {
		return nil, err
	}
	e.Other, err = inodeOf(r.built())
	return e, err
}

// refuse names what has not been foreseen, before anything is touched.
func (r ExchangeRequest) refuse(now *Exchanged) error {
	wrong := func(format string, args ...any) error {
		return fmt.Errorf("exchange: %w: %s (member is %d, the staged folder %d, wanted is %d)",
			ErrInode, fmt.Sprintf(format, args...), now.Inode, now.Other, r.Inode)
	}
	if r.Inode == 0 {
		rec, err := r.record()
		switch {
		case err != nil:
			return err
		case rec == nil || rec.Result.Inode != now.Inode:
			return wrong("the member folder is not the one that was built")
		case now.Other != 0:
			return wrong("the place to which it goes is taken")
		}
		return nil
	}
	switch {
	case now.Other != r.Inode:
		return wrong("it is in neither place")
	case r.Exists && now.Inode == 0:
		return wrong("the old member folder is gone")
	case !r.Exists && now.Inode != 0:
		return wrong("a member folder has appeared")
	}
	return nil
}

// lock takes the locks of both databases, and waits a while for them. A folder without a database needs none.
func (r ExchangeRequest) lock(ctx context.Context) (unlock func(), err error) {
	var held []*os.File
	unlock = func() {
		for _, f := range held {
			_ = f.Close()
		}
	}
	deadline := time.Now().Add(time.Duration(r.Wait) * time.Second)
	for _, member := range []string{r.member(), r.built()} {
		f, err := lockDatabase(ctx, database(member), deadline)
		if err != nil {
			unlock()
			return nil, err
		}
		if f != nil {
			held = append(held, f)
		}
	}
	return unlock, nil
}

// lockDatabase takes etcd's own lock; f is nil where there is no database.
func lockDatabase(ctx context.Context, path string, deadline time.Time) (f *os.File, err error) {
	poll := time.NewTicker(lockPoll)
	defer poll.Stop()
	for {
		f, err = os.OpenFile(path, os.O_RDWR, 0)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		if err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err == nil {
			return f, nil
		}
		_ = f.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		if !time.Now().Before(deadline) {
			return nil, fmt.Errorf("%w: %s is locked%s", ErrLocked, path, whose(path))
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for the lock of %s: %w", path, context.Cause(ctx))
		case <-poll.C:
		}
	}
}

// move does it. atomic is false when the file system needed more than one step.
func (h host) move(r ExchangeRequest, now *Exchanged) (atomic bool, err error) {
	switch {
	case now.Inode == 0:
		return true, os.Rename(r.built(), r.member())
	case r.Inode == 0:
		return true, os.Rename(r.member(), r.built())
	}
	err = h.swap(r.member(), r.built())
	if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EOPNOTSUPP) {
		return true, err
	}
	if err := os.Rename(r.member(), r.half()); err != nil {
		return false, err
	}
	if err := os.Rename(r.built(), r.member()); err != nil {
		return false, errors.Join(err, r.heal())
	}
	return false, os.Rename(r.half(), r.built())
}

func exchangeFolders(a, b string) error {
	if err := unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE); err != nil {
		return &os.LinkError{Op: "exchange", Old: a, New: b, Err: err}
	}
	return nil
}

// heal ends or takes back an exchange by two renames that was cut short.
func (r ExchangeRequest) heal() error {
	if !exists(r.half()) {
		return nil
	}
	switch {
	case !exists(r.member()):
		return os.Rename(r.half(), r.member())
	case !exists(r.built()):
		return os.Rename(r.half(), r.built())
	}
	return fmt.Errorf("%w: an exchange was cut short, and since then a folder %s has appeared; the old data is in %s, the new in %s",
		ErrInode, r.member(), r.half(), r.built())
}

// sync makes the exchange durable.
func (r ExchangeRequest) sync() error {
	for _, dir := range []string{r.DataDir, filepath.Dir(r.built())} {
		if err := syncFolder(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
