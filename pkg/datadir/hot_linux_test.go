package datadir

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify/etcdtest"
)

// hotRun is a Hot under way, which its test drives point by point.
type hotRun struct {
	t      *testing.T
	orders chan Order
	states chan HotState
	ended  chan struct{}
	cancel context.CancelFunc
	done   *Switched
	err    error
}

func (m *member) hot(t *testing.T, h host, inode uint64) *hotRun {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &hotRun{t: t, orders: make(chan Order), states: make(chan HotState, 4), ended: make(chan struct{}), cancel: cancel}
	go func() {
		defer close(r.ended)
		r.done, r.err = h.hot(ctx, HotRequest{Place: m.place, Inode: inode, HoldMillis: 5000}, r.orders, func(s HotState) { r.states <- s })
	}()
	t.Cleanup(func() { cancel(); <-r.ended })
	return r
}

func (r *hotRun) at(p Point) HotState {
	r.t.Helper()
	select {
	case s := <-r.states:
		if s.Point != p {
			r.t.Fatalf("is %+v, not %s", s, p)
		}
		return s
	case <-r.ended:
		r.t.Fatalf("ended before it was %s: %v", p, r.err)
	case <-time.After(time.Minute):
		r.t.Fatalf("not %s after a minute", p)
	}
	return HotState{}
}

func (r *hotRun) order(o Order) {
	r.t.Helper()
	select {
	case r.orders <- o:
	case <-r.ended:
		r.t.Fatalf("ended before the order to %s: %v", o, r.err)
	}
}

func (r *hotRun) end() (*Switched, error) {
	r.t.Helper()
	select {
	case <-r.ended:
	case <-time.After(time.Minute):
		r.t.Fatal("not ended after 20 s")
	}
	return r.done, r.err
}

// state is what the kernel says of a process: T is frozen.
func state(t *testing.T, pid int) string {
	t.Helper()
	p := &process{pid: pid}
	all, seen, err := p.stopped()
	if err != nil {
		t.Fatal(err)
	}
	if all {
		return "T"
	}
	return seen
}

// runsOn checks that it is the same etcd as before, and that it takes writes.
func (m *member) runsOn(t *testing.T, pid int, inode uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := m.Client(t).Put(ctx, "still", "here"); err != nil {
		t.Errorf("etcd does not take writes: %v", err)
	}
	if got := m.Process().Pid; got != pid || m.Process().Signal(syscall.Signal(0)) != nil {
		t.Errorf("it was process %d, and is %d", pid, got)
	}
	if s := m.inspect(t); s.Inode != inode {
		t.Errorf("member is %d, was %d", s.Inode, inode)
	}
}

// TestHot is the way of a hot restore, there and back.
func TestHot(t *testing.T) {
	for _, minor := range etcdtest.Minors {
		t.Run("etcd-"+minor, func(t *testing.T) {
			m := startMember(t, minor)
			b := m.build(t, 1000)
			before := m.inspect(t)
			pid := m.Process().Pid
			r := m.hot(t, here, b.Inode)
			if s := r.at(Ready); s.PID != pid || s.Inode != before.Inode || !s.Elected || state(t, pid) == "T" {
				t.Errorf("%+v", s)
			}
			r.order(OrderFreeze)
			if s := r.at(Frozen); s.PID != pid || s.Inode != before.Inode || state(t, pid) != "T" {
				t.Errorf("%+v, %s", s, state(t, pid))
			}
			r.order(OrderGo)
			done, err := r.end()
			if err != nil || done.Killed != pid || !done.Exchanged.Exchanged || !done.Atomic || done.Inode != b.Inode || done.Other != before.Inode {
				t.Fatalf("%+v, %v", done, err)
			}
			if s := m.inspect(t); s.Elected || s.ClusterID != b.ClusterID || s.Locked {
				t.Errorf("the new data before anybody has started on it: %+v", s)
			}
			if s := m.restart(t); s.Header.Revision != b.Revision {
				t.Errorf("revision %d, built was %d", s.Header.Revision, b.Revision)
			}
			if s := m.inspect(t); !s.Elected {
				t.Error("nobody seems to have been elected")
			}
			pid = m.Process().Pid
			r = m.hot(t, here, before.Inode)
			r.at(Ready)
			r.order(OrderFreeze)
			if s := r.at(Frozen); !s.Elected || s.PID != pid {
				t.Errorf("%+v", s)
			}
			r.order(OrderGo)
			if done, err := r.end(); err != nil || done.Killed != pid || done.Inode != before.Inode {
				t.Fatalf("%+v, %v", done, err)
			}
			m.restart(t)
			if got, err := m.Client(t).Get(t.Context(), "after"); err != nil || len(got.Kvs) != 1 {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
}

// TestHotThaws: whatever goes wrong while etcd is frozen, it runs on.
func TestHotThaws(t *testing.T) {
	m := startMember(t, "3.6")
	b := m.build(t, 1000)
	was, pid := m.inspect(t).Inode, m.Process().Pid
	broken := here
	broken.swap = func(a, b string) error {
		if filepath.Base(a) == "member" {
			return syscall.EIO
		}
		return exchangeFolders(a, b)
	}
	for name, c := range map[string]struct {
		h    host
		then func(r *hotRun)
		says string
	}{
		"no order":            {here, func(*hotRun) {}, "none came in 5s"},
		"called off":          {here, func(r *hotRun) { close(r.orders) }, "called off"},
		"the client is gone":  {here, func(r *hotRun) { r.cancel() }, "context canceled"},
		"another order":       {here, func(r *hotRun) { r.order(OrderFreeze) }, "not to \"go\""},
		"the exchange fails":  {broken, func(r *hotRun) { r.order(OrderGo) }, syscall.EIO.Error()},
		"the staged one goes": {here, func(r *hotRun) { m.withoutStaged(t, func() { r.order(OrderGo); _, _ = r.end() }) }, "member was"},
	} {
		r := m.hot(t, c.h, b.Inode)
		r.at(Ready)
		r.order(OrderFreeze)
		r.at(Frozen)
		if s := state(t, pid); s != "T" {
			t.Errorf("%s: %s", name, s)
		}
		c.then(r)
		if _, err := r.end(); !errors.Is(err, ErrThawed) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
		m.runsOn(t, pid, was)
	}
}

// withoutStaged has the staged folder away for a moment.
func (m *member) withoutStaged(t *testing.T, do func()) {
	t.Helper()
	away := m.place.built() + ".away"
	if err := os.Rename(m.place.built(), away); err != nil {
		t.Fatal(err)
	}
	do()
	if err := os.Rename(away, m.place.built()); err != nil {
		t.Fatal(err)
	}
}

// TestHotRefuses: what can be known before is known before anything is frozen.
func TestHotRefuses(t *testing.T) {
	m := startMember(t, "3.6")
	b := m.build(t, 1000)
	was, pid := m.inspect(t).Inode, m.Process().Pid
	for name, c := range map[string]struct {
		h     host
		inode uint64
		want  error
	}{
		"nothing of that inode": {here, b.Inode + 1e6, ErrInode},
		"no atomic exchange":    {lacks(syscall.EINVAL), b.Inode, ErrNoExchange},
		"no inode":              {here, 0, ErrInvalid},
	} {
		r := m.hot(t, c.h, c.inode)
		if _, err := r.end(); !errors.Is(err, c.want) || len(r.states) > 0 {
			t.Errorf("%s: %v", name, err)
		}
		m.runsOn(t, pid, was)
	}
	if left := m.leftovers(t); strings.Contains(strings.Join(left, " "), "try.") {
		t.Errorf("left: %v", left)
	}
}

// TestHotWrongHolder: only an etcd is ever frozen.
func TestHotWrongHolder(t *testing.T) {
	p := folders(t, memberFolder+"/snap", stagedFolder+"/snap")
	f, err := os.Create(database(p.member()))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	m := &member{place: p}
	r := m.hot(t, here, inode(t, p, stagedFolder))
	if _, err := r.end(); !errors.Is(err, ErrHolder) || !strings.Contains(err.Error(), "is called") {
		t.Errorf("%v", err)
	}
	if _, err := Thaw(t.Context(), p); !errors.Is(err, ErrHolder) {
		t.Errorf("thaw: %v", err)
	}
}

// TestHotLeftBehind goes on where an agent was ended between the exchange and the end of etcd.
func TestHotLeftBehind(t *testing.T) {
	for _, forward := range []bool{true, false} {
		m := startMember(t, "3.6")
		b := m.build(t, 1000)
		was, pid := m.inspect(t).Inode, m.Process().Pid
		p, err := holder(m.DB)
		if err != nil || p == nil {
			t.Fatalf("%v, %v", p, err)
		}
		if err := errors.Join(p.freeze(t.Context()), exchangeFolders(m.place.member(), m.place.built())); err != nil {
			t.Fatal(err)
		}
		p.close()
		if done, err := Thaw(t.Context(), m.place); err != nil || done.PID != 0 || state(t, pid) != "T" {
			t.Fatalf("thawed, while its data is elsewhere: %+v, %v", done, err)
		}
		want := was
		if forward {
			want = b.Inode
		}
		r := m.hot(t, here, want)
		r.at(Ready)
		r.order(OrderFreeze)
		r.at(Frozen)
		r.order(OrderGo)
		done, err := r.end()
		if err != nil || done.Inode != want || done.Exchanged.Exchanged == forward || (done.Killed == pid) != forward {
			t.Fatalf("forward %t: %+v, %v", forward, done, err)
		}
		if !forward {
			m.runsOn(t, pid, was)
			continue
		}
		if s := m.restart(t); s.Header.Revision != b.Revision {
			t.Errorf("revision %d, built was %d", s.Header.Revision, b.Revision)
		}
	}
}

// TestHotWithoutEtcd exchanges also where none runs, and none may start on it meanwhile.
func TestHotWithoutEtcd(t *testing.T) {
	m := startMember(t, "3.6")
	b := m.build(t, 1000)
	m.Stop()
	r := m.hot(t, here, b.Inode)
	if s := r.at(Ready); s.PID != 0 {
		t.Errorf("%+v", s)
	}
	r.order(OrderFreeze)
	r.at(Frozen)
	m.Start(t) // waits for the lock
	pid := m.Process().Pid
	until(t, "etcd has opened its database", func() bool { return m.opened(pid) })
	r.order(OrderGo)
	if done, err := r.end(); err != nil || done.Inode != b.Inode || done.Killed != pid {
		t.Fatalf("%+v, %v", done, err)
	}
	if s := m.restart(t); s.Header.Revision != b.Revision {
		t.Errorf("revision %d, built was %d", s.Header.Revision, b.Revision)
	}
}

func TestThaw(t *testing.T) {
	m := startMember(t, "3.6")
	pid := m.Process().Pid
	if done, err := Thaw(t.Context(), m.place); err != nil || done.PID != 0 {
		t.Errorf("nothing to thaw: %+v, %v", done, err)
	}
	if err := m.Process().Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	p, err := holder(database(m.place.member()))
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	until(t, "it is frozen", func() bool {
		all, _, err := p.stopped()
		return err == nil && all
	})
	if done, err := Thaw(t.Context(), m.place); err != nil || done.PID != pid {
		t.Errorf("%+v, %v", done, err)
	}
	m.runsOn(t, pid, m.inspect(t).Inode)
}

// TestThawWhileItStops: an agent can end right after it told etcd to stop, which does not look stopped yet.
func TestThawWhileItStops(t *testing.T) {
	m := startMember(t, "3.6")
	pid := m.Process().Pid
	busy, idle := context.WithCancel(t.Context())
	defer idle()
	for range 4 * runtime.NumCPU() {
		go func() {
			for busy.Err() == nil {
			}
		}()
	}
	for range 200 {
		if err := m.Process().Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		if _, err := Thaw(t.Context(), m.place); err != nil {
			t.Fatal(err)
		}
	}
	idle()
	m.runsOn(t, pid, m.inspect(t).Inode)
}

// opened tells whether a process has opened the member's database; it may wait for its lock yet.
func (m *member) opened(pid int) bool {
	fds, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/fd/*")
	for _, fd := range fds {
		if to, err := os.Readlink(fd); err == nil && to == m.DB {
			return true
		}
	}
	return false
}

func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); !is(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("wait until %s: not after 20 s", what)
		}
	}
}
