package datadir

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// readyFor is how long an order to freeze may take: until the last of the other members is as far.
	readyFor = 10 * time.Minute
	// strayFor is how long to look for an etcd that was waiting for the lock while the folders were exchanged. It tries
	// every 50 ms.
	strayFor = 300 * time.Millisecond
	// settleFor is how long to look again while a lock comes and goes. A client waits longer for the frozen member.
	settleFor = 2 * time.Second
)

// Hot exchanges `member` and the folder of that inode while etcd runs, in steps: it checks everything that can be
// checked and tells that it is Ready; at OrderFreeze it freezes the etcd that holds the data and tells that it is Frozen;
// at OrderGo it exchanges and kills. When an order does not come in time, when orders is closed, when ctx ends, when
// anything fails before the exchange: etcd runs on, and the error is an ErrThawed. Where the folder is in its place
// already, only what an earlier try has left undone is done.
func Hot(ctx context.Context, r HotRequest, orders <-chan Order, tell func(HotState)) (*Switched, error) {
	s, err := here.hot(ctx, r, orders, tell)
	return s, noSpace(err)
}

func (h host) hot(ctx context.Context, r HotRequest, orders <-chan Order, tell func(HotState)) (_ *Switched, err error) {
	if err := r.Place.check(); err != nil {
		return nil, err
	}
	if r.HoldMillis < 100 || r.HoldMillis > 10000 || r.Inode == 0 {
		return nil, fmt.Errorf("%w: hold %d ms, inode %d", ErrInvalid, r.HoldMillis, r.Inode)
	}
	end, err := h.begin(ctx, r.Place, false)
	if err != nil {
		return nil, err
	}
	defer end()
	s := &hotSwitch{h: h, e: ExchangeRequest{Place: r.Place, Inode: r.Inode, Exists: true}}
	defer s.close()
	if err := s.look(ctx); err != nil {
		return nil, err
	}
	if err := s.point(ctx, Ready, readyFor, orders, tell); err != nil {
		return nil, err
	}
	s.close() // another process may have come since
	if err := s.freeze(ctx); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrThawed, err)
	}
	if err := s.point(ctx, Frozen, time.Duration(r.HoldMillis)*time.Millisecond, orders, tell); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrThawed, errors.Join(err, s.thaw()))
	}
	if err := s.exchange(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrThawed, errors.Join(err, s.thaw()))
	}
	return s.finish()
}

// HotCheck finds out whether a Hot could begin, before anything has been built.
func HotCheck(ctx context.Context, p Place) (*HotState, error) { return here.hotCheck(ctx, p) }

func (h host) hotCheck(ctx context.Context, p Place) (*HotState, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	end, err := h.begin(ctx, p, true)
	if err != nil {
		return nil, err
	}
	defer end()
	defer func() { // only what is empty, so nothing that was there
		_ = os.Remove(p.op())
		_ = os.Remove(p.ours())
	}()
	if err := makeFolder(p.op(), ownerOf(p.DataDir)); err != nil {
		return nil, err
	}
	if err := (&hotSwitch{h: h, e: ExchangeRequest{Place: p}}).tryExchange(); err != nil {
		return nil, err
	}
	etcd, err := runningOn(ctx, p.member(), p.log())
	if err != nil {
		return nil, err
	}
	if etcd == nil {
		return nil, fmt.Errorf("%w: no process that can be seen from here has locked %s", ErrHolder, database(p.member()))
	}
	defer etcd.close()
	inode, err := inodeOf(p.member())
	return &HotState{Inode: inode, PID: etcd.pid}, err
}

// hotSwitch is one exchange under way.
type hotSwitch struct {
	h   host
	e   ExchangeRequest
	now *Exchanged // before
	// out holds the database of the folder that has to leave, or has left; in that of the folder that has to come: one
	// that an agent froze and could not kill before the folders were exchanged.
	out, in *process
	held    string   // out's database
	frozen  bool     // out is, by us
	lock    *os.File // of the database, where no etcd holds it: so that none starts on it
	moved   bool
	tried   bool // two folders could be exchanged; others may be frozen when it is looked again
}

func (s *hotSwitch) close() {
	s.out.close()
	s.in.close()
	if s.lock != nil {
		_ = s.lock.Close()
	}
	s.out, s.in, s.lock = nil, nil, nil
}

// look finds out everything that could be in the way, and changes nothing.
func (s *hotSwitch) look(ctx context.Context) (err error) {
	if exists(s.e.half()) {
		return fmt.Errorf("exchange: %w: an exchange by two renames was cut short; it has to be put right first", ErrInode)
	}
	if s.now, err = s.e.look(); err != nil {
		return err
	}
	there := s.now.Inode == s.e.Inode
	leaves, comes, log := s.e.member(), s.e.built(), s.e.log()
	if there {
		leaves, comes, log = comes, leaves, filepath.Join(comes, "wal")
	} else if err := errors.Join(s.e.refuse(s.now), s.canExchange()); err != nil {
		return err
	}
	s.held = database(leaves)
	if s.out, err = runningOn(ctx, leaves, log); err != nil {
		return err
	}
	if s.in, err = holder(database(comes)); err != nil {
		return err
	}
	if s.in != nil && !there {
		stopped, _, err := s.in.stopped()
		if err == nil && !stopped {
			err = fmt.Errorf("%w: process %d runs on the data that is to be exchanged in", ErrLocked, s.in.pid)
		}
		return err
	}
	return nil
}

// canExchange tells whether member and the staged folder can be exchanged at once.
func (s *hotSwitch) canExchange() (err error) {
	if s.tried {
		return nil
	}
	var dev [2]uint64
	for i, path := range []string{s.e.member(), s.e.built()} {
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return &os.PathError{Op: "stat", Path: path, Err: err}
		}
		dev[i] = st.Dev
	}
	if dev[0] != dev[1] {
		return fmt.Errorf("%w: %s and %s are on two of them", ErrNoExchange, s.e.member(), s.e.built())
	}
	err = s.tryExchange()
	s.tried = err == nil
	return err
}

// tryExchange tries it on folders that nobody needs.
func (s *hotSwitch) tryExchange() (err error) {
	a, b := s.e.op("try.a"), s.e.op("try.b")
	defer func() { err = errors.Join(err, removeTree(a), removeTree(b)) }()
	for _, path := range []string{a, b} {
		if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	err = s.h.swap(a, b)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EOPNOTSUPP) {
		return fmt.Errorf("%w: %w", ErrNoExchange, err)
	}
	return err
}

// point tells where it is and waits for the order to go on.
func (s *hotSwitch) point(ctx context.Context, at Point, limit time.Duration, orders <-chan Order, tell func(HotState)) error {
	state := HotState{Point: at, Inode: s.now.Inode}
	if s.out != nil {
		state.PID = s.out.pid
	}
	var err error
	if state.Elected, err = elected(s.e.log()); err != nil {
		state.Elected = true // who cannot say may have
	}
	go tell(state) // a client that does not listen must not keep etcd frozen
	want := OrderFreeze
	if at == Frozen {
		want = OrderGo
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case got, ok := <-orders:
		switch {
		case !ok:
			return fmt.Errorf("wait for the order to %s: it was called off", want)
		case got != want:
			return fmt.Errorf("%w: ordered to %q, not to %q", ErrInvalid, got, want)
		}
		return ctx.Err()
	case <-ctx.Done():
		return fmt.Errorf("wait for the order to %s: %w", want, context.Cause(ctx))
	case <-timer.C:
		return fmt.Errorf("wait for the order to %s: none came in %v", want, limit)
	}
}

// freeze sees to it that nothing writes to the data that has to leave. Between a look at its lock and the next thing that
// is done to it, an etcd can start, one that was killed can end, and somebody who only looks can have it: then it is looked
// again, until nothing changes any more.
func (s *hotSwitch) freeze(ctx context.Context) error {
	poll := time.NewTicker(lockPoll)
	defer poll.Stop()
	for deadline := time.Now().Add(settleFor); ; {
		err := s.look(ctx)
		if err == nil {
			err = s.freezeNow(ctx)
		}
		if !errors.Is(err, ErrLocked) && !errors.Is(err, errGone) {
			return err
		}
		if !time.Now().Before(deadline) {
			return fmt.Errorf("%w, for %v", err, settleFor)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the lock of %s: %w", s.held, context.Cause(ctx))
		case <-poll.C:
		}
		s.close()
	}
}

func (s *hotSwitch) freezeNow(ctx context.Context) (err error) {
	if s.out != nil {
		return s.freezeOut(ctx)
	}
	if s.now.Inode == s.e.Inode {
		return nil
	}
	s.lock, err = lockDatabase(ctx, s.held, time.Now())
	return err
}

// freezeOut freezes an etcd that has its database locked: by that lock a Thaw finds it.
func (s *hotSwitch) freezeOut(ctx context.Context) error {
	for deadline := time.Now().Add(reopenFor); ; {
		if err := s.out.freeze(ctx); err != nil {
			return err
		}
		pid, err := lockedBy(s.held)
		if s.frozen = err == nil && pid == s.out.pid; s.frozen {
			return nil
		}
		if err = errors.Join(err, s.out.thaw()); err != nil {
			return err
		}
		if !time.Now().Before(deadline) {
			return fmt.Errorf("freeze process %d: %w: for %v it had not locked %s", s.out.pid, ErrHolder, reopenFor, s.held)
		}
		time.Sleep(lockPoll) // it opens its database anew
	}
}

// thaw has etcd run on, unless what it holds is not its data any more.
func (s *hotSwitch) thaw() error {
	if !s.frozen || s.now.Inode == s.e.Inode {
		return nil
	}
	return s.out.thaw()
}

// exchange looks once more: nothing may have changed since, but this is the last moment in which it would not matter.
func (s *hotSwitch) exchange() error {
	if s.now.Inode == s.e.Inode {
		return nil
	}
	now, err := s.e.look()
	if err != nil {
		return err
	}
	if *now != *s.now {
		return fmt.Errorf("exchange: %w: member was %d and is %d", ErrInode, s.now.Inode, now.Inode)
	}
	if err := s.h.swap(s.e.member(), s.e.built()); err != nil {
		return err
	}
	s.moved = true
	return nil
}

// finish ends the etcd whose data has left, which must never run again: from here nothing goes back. The exchange is made
// durable while the new one starts.
func (s *hotSwitch) finish() (*Switched, error) {
	r := &Switched{}
	err := s.end(r)
	if err = errors.Join(err, s.e.sync()); err != nil {
		return nil, err
	}
	now, err := s.e.look()
	if err != nil {
		return nil, err
	}
	r.Exchanged = *now
	r.Exchanged.Exchanged, r.Atomic = s.moved, true
	return r, nil
}

func (s *hotSwitch) end(r *Switched) (err error) {
	if s.out != nil {
		if err := s.out.kill(); err != nil {
			return err
		}
		r.Killed = s.out.pid
	}
	if s.in != nil { // frozen by an agent that got no further; a thaw of what runs does nothing
		if err := s.in.thaw(); err != nil && !errors.Is(err, unix.ESRCH) {
			return err
		}
	}
	if s.lock != nil {
		_ = s.lock.Close()
		s.lock = nil
		r.Killed, err = killStray(database(s.e.built()))
	}
	return err
}

// killStray ends an etcd that opened the database before it was moved, and gets its lock now: it would go on with one
// folder's database and the other's log.
func killStray(path string) (int, error) {
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(strayFor); time.Now().Before(deadline); <-poll.C {
		p, err := holder(path)
		if err != nil {
			return 0, err
		}
		if p != nil {
			err = p.kill()
			p.close()
			return p.pid, err
		}
	}
	return 0, nil
}

// Thaw has an etcd run on that was frozen by an agent that was ended before it could thaw it. Whether it was is only what
// is reported: a process that was told to stop takes a while on a busy machine, and does not look stopped until then.
func Thaw(_ context.Context, p Place) (*Thawed, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	h, err := holder(database(p.member()))
	if err != nil || h == nil {
		return &Thawed{}, err
	}
	defer h.close()
	stopped, _, err := h.stopped()
	done := &Thawed{}
	if stopped {
		done.PID = h.pid
	}
	return done, errors.Join(err, h.thaw())
}
