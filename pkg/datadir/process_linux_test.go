package datadir

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

func TestFlocksOn(t *testing.T) {
	locks := `1: FLOCK  ADVISORY  WRITE 1234 08:01:5678 0 EOF
1: -> FLOCK  ADVISORY  WRITE 99 08:01:5678 0 EOF
2: POSIX  ADVISORY  WRITE 77 08:01:5678 0 EOF
3: FLOCK  ADVISORY  READ 78 08:01:5678 0 EOF
4: FLOCK  ADVISORY  WRITE 79 08:02:5678 0 EOF
5: FLOCK  ADVISORY  WRITE 0 00:2d:1 0 EOF
`
	if got := flocksOn(locks, "08:01:5678", "WRITE"); len(got) != 1 || got[0] != 1234 {
		t.Errorf("%v", got)
	}
	if got := flocksOn(locks, "00:2d:1", "WRITE"); len(got) != 1 || got[0] != -1 {
		t.Errorf("a process that cannot be seen: %v", got)
	}
	if got := flocksOn(locks, "08:01:5678", "WRITE", "READ"); !slices.Equal(got, []int{1234, 78}) {
		t.Errorf("with those who only look: %v", got)
	}
}

// TestLockedByOnABusyNode finds who has a lock while others come and go. The kernel's list, read in pieces, then misses some.
func TestLockedByOnABusyNode(t *testing.T) {
	dir := t.TempDir()
	locked := func(name string) *os.File {
		f, err := os.Create(filepath.Join(dir, name))
		if err == nil {
			err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		}
		if err != nil {
			t.Error(err)
		}
		return f
	}
	var wg sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	defer wg.Wait()
	defer stop()
	for n := range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				var files []*os.File
				for i := range 200 { // a page holds some seventy
					files = append(files, locked(fmt.Sprintf("%d-%d", n, i)))
				}
				for _, f := range files {
					_ = f.Close()
				}
			}
		})
	}
	ours := locked("ours")
	defer ours.Close()
	for range 500 {
		if pid, err := lockedBy(ours.Name()); pid != os.Getpid() || err != nil {
			t.Fatalf("locked by %d, %v; it is %d", pid, err, os.Getpid())
		}
	}
	_ = ours.Close()
	if pid, err := lockedBy(ours.Name()); pid != 0 || err != nil {
		t.Errorf("nobody's lock is %d's, %v", pid, err)
	}
}

// TestHotWhileItDefragments: an etcd that opens its database anew has no lock on it for a moment, and runs all the same.
func TestHotWhileItDefragments(t *testing.T) {
	m := startMember(t, "3.6")
	b := m.build(t, 1000)
	pid := m.Process().Pid
	ctx, stop := context.WithCancel(t.Context())
	client, ended, rounds := m.Client(t), make(chan struct{}), 0
	go func() {
		defer close(ended)
		for ; ctx.Err() == nil; rounds++ {
			if _, err := client.Defragment(ctx, client.Endpoints()[0]); err != nil {
				return // it is killed in the end
			}
		}
	}()
	defer func() { stop(); <-ended }()
	unlocked := 0
	for range 300 {
		if locked, err := lockedBy(m.DB); locked == 0 && err == nil {
			unlocked++
		}
		if s, err := HotCheck(t.Context(), m.place); err != nil || s.PID != pid {
			t.Fatalf("%+v, %v", s, err)
		}
	}
	var r *hotRun
	for try := range 20 {
		r = m.hot(t, here, b.Inode)
		if s := r.at(Ready); s.PID != pid {
			t.Errorf("%+v", s)
		}
		r.order(OrderFreeze)
		s := r.at(Frozen)
		if locked, err := lockedBy(m.DB); s.PID != pid || locked != pid || err != nil {
			t.Errorf("%+v, locked by %d, %v", s, locked, err)
		}
		if try < 19 {
			r.cancel()
			_, _ = r.end()
			until(t, "it runs again", func() bool { return state(t, pid) != "T" })
		}
	}
	r.order(OrderGo)
	if done, err := r.end(); err != nil || done.Killed != pid || done.Inode != b.Inode {
		t.Fatalf("%+v, %v", done, err)
	}
	stop()
	<-ended
	t.Logf("%d times defragmented, %d times without a lock when it was looked", rounds, unlocked)
	if s := m.restart(t); s.Header.Revision != b.Revision {
		t.Errorf("revision %d, built was %d", s.Header.Revision, b.Revision)
	}
}

// TestFreezeWhatEnds: a process that was killed cannot be frozen, and need not be, whether its parent has noticed or not.
func TestFreezeWhatEnds(t *testing.T) {
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{pid: cmd.Process.Pid}
	var err error
	if p.fd, err = unix.PidfdOpen(p.pid, 0); err != nil {
		t.Fatal(err)
	}
	defer p.close()
	if p.ended() {
		t.Error("ended, it is said, and it runs")
	}
	if err := p.kill(); err != nil {
		t.Fatal(err)
	}
	if err := p.freeze(t.Context()); !errors.Is(err, errGone) {
		t.Errorf("ended: %v", err)
	}
	_ = cmd.Wait()
	if err := p.freeze(t.Context()); !errors.Is(err, errGone) {
		t.Errorf("ended, and its parent knows: %v", err)
	}
}
