package datadir

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// alonePoll is how often a member that is left alone is looked at.
	alonePoll = 250 * time.Millisecond
	// aloneHold is how long its etcd may be frozen for the last look at its log: nobody else is asked meanwhile.
	aloneHold = 10 * time.Second
	// aloneTries is how long to try to go back: something else can be at work on the data.
	aloneTries = 5 * time.Minute
)

// Alone decides the fate of a member that Hot has given new data (r is its request, old the inode of what was there), without anybody's word:
// after the exchange there may be no API server to carry one. As soon as the log of the new data has a term of its own, a new cluster may have
// served, and the member stays: a leader requires the votes of a majority, each of which is in a log before it is given, and what a leader
// sends has its term, too. Without one by the deadline, or when its etcd has ended before, etcd is frozen, so that it cannot vote any more, its log
// is looked at once more, and the old data is exchanged in again. What was decided is written beside the data. The rule is checked by test/model.
func Alone(ctx context.Context, r HotRequest, old uint64) (*Fate, error) {
	return here.alone(ctx, r, old, time.Now().Add(time.Duration(r.AloneMillis)*time.Millisecond))
}

func (h host) alone(ctx context.Context, r HotRequest, old uint64, deadline time.Time) (*Fate, error) {
	if err := r.Place.check(); err != nil {
		return nil, err
	}
	died, stop := ends(database(r.member()))
	defer stop()
	poll := time.NewTicker(alonePoll)
	defer poll.Stop()
	var last error
	for end := deadline.Add(aloneTries); ; {
		now, err := inodeOf(r.member())
		switch {
		case err == nil && now != r.Inode:
			return nil, nil // somebody else has decided
		case err == nil && h.voted(r.Place):
			return r.decide(Fate{Stays: true, At: time.Now().UTC()})
		case err == nil && (died() || !time.Now().Before(deadline)):
			back, err := h.goBack(ctx, r, old)
			if back {
				return r.decide(Fate{At: time.Now().UTC()})
			}
			last = err
		}
		if time.Now().After(end) {
			return nil, fmt.Errorf("go back: not for %v; last seen: %w", aloneTries, errors.Join(last, err))
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for the member's vote: %w", context.Cause(ctx))
		case <-poll.C:
		}
	}
}

// ends tells whether an etcd has let go of its database since: it opens it to write, and closes it when it ends. Who only looks does not write. What cannot
// be watched ends never.
func ends(database string) (died func() bool, stop func()) {
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		return func() bool { return false }, func() {}
	}
	_, err = unix.InotifyAddWatch(fd, database, unix.IN_CLOSE_WRITE)
	gone := false
	buf := make([]byte, 4096)
	return func() bool {
		if err != nil || gone {
			return gone
		}
		if n, rerr := unix.Read(fd, buf); rerr != nil || n <= 0 {
			return false
		}
		// One that defragments as it starts opens another file under that name; one that found it locked was killed.
		pid, lerr := lockedBy(database)
		if gone = lerr == nil && pid == 0; !gone {
			_, err = unix.InotifyAddWatch(fd, database, unix.IN_CLOSE_WRITE)
		}
		return gone
	}, func() { _ = unix.Close(fd) }
}

// voted: who cannot say may have.
func (h host) voted(p Place) bool {
	found, err := elected(p.log())
	return err == nil && found
}

// goBack is a hot exchange without a client: its order to go depends on the log of an etcd that is frozen.
func (h host) goBack(ctx context.Context, r HotRequest, old uint64) (bool, error) {
	orders := make(chan Order, 1)
	r.Inode, r.HoldMillis = old, int(aloneHold/time.Millisecond)
	_, err := h.hot(ctx, r, orders, func(st HotState) {
		switch {
		case st.Elected || st.Inode == old:
			close(orders)
		case st.Point == Ready:
			orders <- OrderFreeze
		default:
			orders <- OrderGo
		}
	})
	return err == nil, err
}
