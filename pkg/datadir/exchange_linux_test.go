package datadir

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// folders is a data directory with two member folders that no etcd needs: for what is about names only.
func folders(t *testing.T, names ...string) Place {
	t.Helper()
	p := Place{DataDir: filepath.Join(t.TempDir(), "etcd"), Op: op}
	for _, dir := range append([]string{p.DataDir, p.op(dataName)}, names...) {
		if !filepath.IsAbs(dir) {
			dir = filepath.Join(p.DataDir, dir)
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

const (
	memberFolder = "member"
	stagedFolder = oursName + "/" + op + "/" + dataName + "/member"
	halfFolder   = oursName + "/" + op + "/" + dataName + "/" + halfName
)

func inode(t *testing.T, p Place, name string) uint64 {
	t.Helper()
	n, err := inodeOf(filepath.Join(p.DataDir, name))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// lacks is a file system that cannot exchange two folders.
func lacks(err error) host {
	h := here
	h.swap = func(a, b string) error { return &os.LinkError{Op: "exchange", Old: a, New: b, Err: err} }
	return h
}

func TestExchangeByTwoRenames(t *testing.T) {
	for _, lack := range []error{syscall.EINVAL, syscall.ENOSYS, syscall.EOPNOTSUPP} {
		p := folders(t, memberFolder, stagedFolder)
		old, staged := inode(t, p, memberFolder), inode(t, p, stagedFolder)
		h := lacks(lack)
		for _, want := range []uint64{staged, old, staged} {
			e, err := h.exchange(t.Context(), ExchangeRequest{Place: p, Inode: want, Exists: true})
			if err != nil || !e.Exchanged || e.Atomic || e.Inode != want || e.Inode+e.Other != old+staged {
				t.Errorf("%v: %+v, %v", lack, e, err)
			}
		}
		if inode(t, p, halfFolder) != 0 {
			t.Errorf("%v: %s is left", lack, halfFolder)
		}
	}
	p := folders(t, memberFolder, stagedFolder)
	if _, err := lacks(syscall.EIO).exchange(t.Context(), ExchangeRequest{Place: p, Inode: inode(t, p, stagedFolder), Exists: true}); !errors.Is(err, syscall.EIO) {
		t.Errorf("a broken disk: %v", err)
	}
	if inode(t, p, memberFolder) == 0 || inode(t, p, stagedFolder) == 0 {
		t.Error("a broken disk moved something")
	}
}

// TestExchangeCutShort begins after each rename of an exchange that needs several.
func TestExchangeCutShort(t *testing.T) {
	for name, there := range map[string][2]string{"after the first": {halfFolder, stagedFolder}, "after the second": {halfFolder, memberFolder}} {
		for _, forward := range []bool{true, false} {
			p := folders(t, there[0], there[1])
			old, built := inode(t, p, there[0]), inode(t, p, there[1])
			s, err := Inspect(t.Context(), p)
			if err != nil || len(s.Operations) != 1 || !s.Operations[0].HalfExchanged {
				t.Errorf("%s: inspect %+v, %v", name, s, err)
			}
			if inode(t, p, memberFolder) == 0 {
				if _, err := Discard(t.Context(), p); !errors.Is(err, ErrInode) {
					t.Errorf("%s: the only data may be discarded: %v", name, err)
				}
			}
			want, other := old, built
			if forward {
				want, other = built, old
			}
			e, err := Exchange(t.Context(), ExchangeRequest{Place: p, Inode: want, Exists: true})
			if err != nil || e.Inode != want || e.Other != other || inode(t, p, halfFolder) != 0 {
				t.Errorf("%s, forward %t: %+v, %v", name, forward, e, err)
			}
		}
	}
	p := folders(t, halfFolder, stagedFolder, memberFolder)
	if _, err := Exchange(t.Context(), ExchangeRequest{Place: p, Inode: inode(t, p, stagedFolder), Exists: true}); !errors.Is(err, ErrInode) ||
		!strings.Contains(err.Error(), "has appeared") {
		t.Errorf("three folders: %v", err)
	}
}

func TestExchangeRefuses(t *testing.T) {
	both := []string{memberFolder, stagedFolder}
	for name, c := range map[string]struct {
		there   []string
		request func(staged uint64) ExchangeRequest
		want    error
		says    string
	}{
		"another inode":         {both, func(n uint64) ExchangeRequest { return ExchangeRequest{Inode: n + 1e6, Exists: true} }, ErrInode, "in neither place"},
		"nothing is staged":     {both[:1], func(uint64) ExchangeRequest { return ExchangeRequest{Inode: 7, Exists: true} }, ErrInode, "in neither place"},
		"the old one is gone":   {both[1:], func(n uint64) ExchangeRequest { return ExchangeRequest{Inode: n, Exists: true} }, ErrInode, "is gone"},
		"one has appeared":      {both, func(n uint64) ExchangeRequest { return ExchangeRequest{Inode: n} }, ErrInode, "has appeared"},
		"leaves none":           {both, func(uint64) ExchangeRequest { return ExchangeRequest{Exists: true} }, ErrInvalid, ""},
		"not ours to take away": {both[:1], func(uint64) ExchangeRequest { return ExchangeRequest{} }, ErrInode, "not the one that was built"},
	} {
		p := folders(t, c.there...)
		before := [2]uint64{inode(t, p, memberFolder), inode(t, p, stagedFolder)}
		r := c.request(before[1])
		r.Place = p
		if _, err := Exchange(t.Context(), r); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
		if after := [2]uint64{inode(t, p, memberFolder), inode(t, p, stagedFolder)}; after != before {
			t.Errorf("%s: %v became %v", name, before, after)
		}
	}
	p := Place{DataDir: t.TempDir(), Op: op}
	if _, err := Exchange(t.Context(), ExchangeRequest{Place: p, Inode: 5, Exists: true}); !errors.Is(err, ErrInode) {
		t.Errorf("nothing of ours is there: %v", err)
	}
}

// TestExchangeWaits for a database that is being closed, on either side.
func TestExchangeWaits(t *testing.T) {
	for _, side := range []string{memberFolder, stagedFolder} {
		p := folders(t, memberFolder+"/snap", stagedFolder+"/snap")
		f, err := os.Create(database(filepath.Join(p.DataDir, side)))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
			t.Fatal(err)
		}
		r := ExchangeRequest{Place: p, Inode: inode(t, p, stagedFolder), Exists: true}
		if _, err := Exchange(t.Context(), r); !errors.Is(err, ErrLocked) {
			t.Errorf("%s locked: %v", side, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		r.Wait = 60
		if _, err := Exchange(ctx, r); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s locked, and the client gone: %v", side, err)
		}
		if side == stagedFolder {
			if _, err := Discard(t.Context(), p); !errors.Is(err, ErrLocked) {
				t.Errorf("discarded what is in use: %v", err)
			}
		}
		time.AfterFunc(200*time.Millisecond, func() { _ = f.Close() })
		if e, err := Exchange(t.Context(), r); err != nil || !e.Exchanged {
			t.Errorf("%s unlocked after a while: %+v, %v", side, e, err)
		}
	}
}

// TestOneAtATime: a second agent waits for the first, whose client may be gone.
func TestOneAtATime(t *testing.T) {
	p := folders(t, memberFolder, stagedFolder)
	end, err := here.begin(t.Context(), p, false)
	if err != nil {
		t.Fatal(err)
	}
	h := here
	h.lockWait = 100 * time.Millisecond
	if _, err := h.exchange(t.Context(), ExchangeRequest{Place: p, Inode: 1, Exists: true}); !errors.Is(err, ErrBusy) {
		t.Errorf("%v", err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := Discard(t.Context(), p)
		done <- err
	}()
	end()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(p.ours()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left: %v", err)
	}
}

// TestDiscardCutShort: what is half deleted is no data any more.
func TestDiscardCutShort(t *testing.T) {
	p := folders(t, memberFolder)
	if err := os.MkdirAll(filepath.Join(p.aside(), dataName, "member"), 0o700); err != nil {
		t.Fatal(err)
	}
	s, err := Inspect(t.Context(), p)
	if err != nil || len(s.Operations) != 2 || !s.Operations[0].Discarded || s.Operations[0].Op != op {
		t.Errorf("%+v, %v", s, err)
	}
	other := Place{DataDir: p.DataDir, Op: "other"}
	if err := os.Mkdir(other.op(), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Discard(t.Context(), p); err != nil {
		t.Error(err)
	}
	if s, err = Inspect(t.Context(), p); err != nil || len(s.Operations) != 1 || s.Operations[0].Op != "other" || !s.Exists {
		t.Errorf("%+v, %v", s, err)
	}
}
