package datadir

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// looksAt locks a database as Inspect does, while no etcd has it.
func (m *member) looksAt(t *testing.T) *os.File {
	t.Helper()
	f, err := os.Open(m.DB)
	if err == nil {
		err = unix.Flock(int(f.Fd()), unix.LOCK_SH)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// TestHotSettles: between a look at the lock and the next thing that is done to it, it can come and go.
func TestHotSettles(t *testing.T) {
	m := startMember(t, "3.6")
	b := m.build(t, 1000)
	was := m.inspect(t).Inode
	m.Stop()
	const moment = 300 * time.Millisecond
	t.Run("somebody looks for a moment", func(t *testing.T) {
		r := m.hot(t, here, b.Inode)
		r.at(Ready)
		f := m.looksAt(t)
		r.order(OrderFreeze)
		time.Sleep(moment)
		_ = f.Close()
		if s := r.at(Frozen); s.PID != 0 {
			t.Errorf("%+v", s)
		}
		r.order(OrderGo)
		if done, err := r.end(); err != nil || done.Inode != b.Inode || done.Killed != 0 {
			t.Fatalf("%+v, %v", done, err)
		}
	})
	t.Run("and for ever", func(t *testing.T) {
		r := m.hot(t, here, was)
		r.at(Ready)
		f := m.looksAt(t)
		r.order(OrderFreeze)
		_, err := r.end()
		if !errors.Is(err, ErrThawed) || !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "by process "+strconv.Itoa(os.Getpid())) {
			t.Errorf("%v", err)
		}
		_ = f.Close()
	})
	t.Run("an etcd starts meanwhile", func(t *testing.T) {
		r := m.hot(t, here, was)
		r.at(Ready)
		f := m.looksAt(t)
		r.order(OrderFreeze)
		m.Start(t)
		pid := m.Process().Pid
		until(t, "etcd waits for the lock", func() bool { return m.opened(pid) })
		_ = f.Close()
		r.at(Frozen)
		r.order(OrderGo)
		if done, err := r.end(); err != nil || done.Inode != was || done.Killed != pid {
			t.Fatalf("%+v, %v; it was process %d", done, err, pid)
		}
		m.restart(t)
		if got, err := m.Client(t).Get(t.Context(), "after"); err != nil || len(got.Kvs) != 1 {
			t.Errorf("%v, %v", got, err)
		}
	})
}
