package restore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/await"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/datadir"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
)

const (
	// readyWithin is how long all agents may take until they could freeze.
	readyWithin = 90 * time.Second
	// frozenWithin is how long they may take to freeze, all of them; holdFor is when an agent that has no order thaws by
	// itself. In between there must be time for the order to travel.
	frozenWithin = 3 * time.Second
	holdFor      = 5 * time.Second
	// goWithin is how long exchange and kill may take: milliseconds, unless the disk hangs.
	goWithin = time.Minute
	// hotTries is how often the members that have not followed the order are asked again.
	hotTries = 3
)

// hotMember is the conversation with one member's agent.
type hotMember struct {
	*MemberRecord
	orders chan datadir.Order // never blocks
	states chan datadir.HotState
	ended  chan struct{}
	done   *datadir.Switched // once ended
	err    error
}

// hotSwitch exchanges the data of all members, or of none. What was exchanged when it fails all the same, is either
// taken back by hotBack or, if a majority was, brought to its end by another try.
func (r *run) hotSwitch(ctx context.Context, t *plan.Task) error {
	if err := r.aboveLive(ctx); err != nil {
		return err
	}
	if err := r.recordOld(ctx, t); err != nil {
		return err
	}
	return r.hotAll(ctx, func(m *MemberRecord) uint64 { return m.NewInode }, nil)
}

// aboveLive checks, right before, that the members have not come near the restored revision.
func (r *run) aboveLive(ctx context.Context) error {
	s, err := r.c.Survey(ctx, r.hotPlane(ctx), false)
	if err != nil {
		return err
	}
	target := r.sh.Snapshot.Revision + r.sh.Bump
	for _, m := range s.Members {
		if m.Status != nil && m.Status.ClusterID.String() != r.sh.ClusterID && m.Status.Revision >= target && !r.sh.BumpAsked {
			return fmt.Errorf("check revision: member %s is at %d, and the restored one would be %d; restore again", m.Name, m.Status.Revision, target)
		}
	}
	return nil
}

// recordOld journals which folder each member has now, for the way back.
func (r *run) recordOld(ctx context.Context, t *plan.Task) error {
	states, err := r.inspectAll(ctx)
	if err != nil {
		return err
	}
	var old []uint64
	for i, s := range states {
		m := &r.sh.Members[i]
		if s.Inode != m.NewInode {
			m.HadData, m.OldInode, m.OldSize = s.Exists, s.Inode, s.TreeSize
		}
		old = append(old, m.OldInode)
	}
	return t.Remember(ctx, old)
}

func (r *run) inspectAll(ctx context.Context) ([]*datadir.State, error) {
	states := make([]*datadir.State, len(r.sh.Members))
	err := r.each(func(i int, m *MemberRecord) error {
		st, err := r.stage(ctx, m.Name)
		if err != nil {
			return err
		}
		if states[i], err = st.Inspect(ctx); err != nil {
			return fmt.Errorf("inspect volume of member %s: %w", m.Name, err)
		}
		return nil
	})
	return states, err
}

// hotBack takes back what hotSwitch has done, as long as the new cluster has never had a leader. That is looked at
// once while etcd runs, and again when all are frozen and none can vote any more.
func (r *run) hotBack(ctx context.Context, t *plan.Task) error {
	if len(t.Record) == 0 {
		return nil // nothing was frozen yet
	}
	states, err := r.inspectAll(ctx)
	if err != nil {
		return err
	}
	var hot []datadir.HotState
	exchanged := false
	for i, s := range states {
		hot = append(hot, datadir.HotState{Inode: s.Inode, Elected: s.Elected})
		exchanged = exchanged || s.Inode == r.sh.Members[i].NewInode
	}
	if !exchanged {
		return r.thawAll(ctx)
	}
	if err := r.notSeen(hot); err != nil {
		return err
	}
	if err := r.hotAll(ctx, func(m *MemberRecord) uint64 { return m.OldInode }, r.notSeen); err != nil {
		return err
	}
	if err := r.hotOld(ctx); err != nil {
		if ctx.Err() != nil {
			return err
		}
		r.d.Report.Warn("the members run on their old data again, but: %v", err)
	}
	return nil
}

// notSeen refuses to go back behind what clients may have seen.
func (r *run) notSeen(states []datadir.HotState) error {
	voted := 0
	for i, s := range states {
		if s.Elected && s.Inode == r.sh.Members[i].NewInode {
			voted++
		}
	}
	if !unserved(len(states), voted) {
		return fmt.Errorf("%w: %d of %d members have elected a leader on the new data", plan.ErrTooLate, voted, len(states))
	}
	return nil
}

// hotOld waits until all members answer on their old data again.
func (r *run) hotOld(ctx context.Context) error {
	defer r.nudging(ctx)()
	return await.Until(ctx, r.cfg.Timeout, "all members answer on their old data", func(ctx context.Context) (string, bool, error) {
		p, err := r.plane(ctx)
		if err != nil {
			return "", false, err
		}
		s, err := r.c.Survey(ctx, p, false)
		if err != nil {
			return "", false, err
		}
		for _, m := range s.Members {
			if !m.Healthy {
				return fmt.Sprintf("member %s: %s", m.Name, because(m)), false, nil
			}
		}
		r.follow(p)
		return "", true, nil
	})
}

// hotAll makes the folder that want names the data of each member: a two-phase commit. Until the order to go is given,
// any failure leaves all members as they are. decide is asked when all are frozen.
func (r *run) hotAll(ctx context.Context, want func(*MemberRecord) uint64, decide func([]datadir.HotState) error) error {
	for try := 1; ; try++ {
		gone, err := r.hotOnce(ctx, want, decide)
		if err == nil || !gone || try == hotTries || ctx.Err() != nil {
			return err
		}
		r.d.Report.Warn("not all members were exchanged; trying again: %v", err)
	}
}

// hotOnce tells whether the order to go was given.
func (r *run) hotOnce(ctx context.Context, want func(*MemberRecord) uint64, decide func([]datadir.HotState) error) (gone bool, err error) {
	// The conversations outlive an interrupt that comes after the order to go: half of the members is worse than all.
	talk, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	members, err := r.hotBegin(ctx, talk, want)
	if err != nil {
		return false, errors.Join(err, callOff(members))
	}
	if _, err = reached(ctx, members, datadir.Ready, readyWithin); err != nil {
		return false, errors.Join(err, callOff(members))
	}
	r.outageBegins()
	for _, m := range members {
		m.orders <- datadir.OrderFreeze
	}
	states, err := reached(ctx, members, datadir.Frozen, frozenWithin)
	if err == nil && decide != nil {
		err = decide(states)
	}
	if err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return false, errors.Join(err, callOff(members), r.thawAll(ctx))
	}
	for _, m := range members {
		m.orders <- datadir.OrderGo
	}
	return true, r.hotEnd(ctx, members)
}

// hotBegin opens the conversations; those that were opened are returned in any case.
func (r *run) hotBegin(ctx, talk context.Context, want func(*MemberRecord) uint64) ([]*hotMember, error) {
	stages := make([]stage, len(r.sh.Members))
	if err := r.each(func(i int, m *MemberRecord) (err error) {
		stages[i], err = r.stage(ctx, m.Name)
		return err
	}); err != nil {
		return nil, err
	}
	var out []*hotMember
	for i, st := range stages {
		h := &hotMember{MemberRecord: &r.sh.Members[i], orders: make(chan datadir.Order, 2), states: make(chan datadir.HotState, 2), ended: make(chan struct{})}
		req := datadir.HotRequest{Inode: want(h.MemberRecord), HoldMillis: int(holdFor / time.Millisecond)}
		go func() {
			defer close(h.ended)
			h.done, h.err = st.Hot(talk, req, h.orders, func(s datadir.HotState) { h.states <- s })
		}()
		out = append(out, h)
	}
	return out, nil
}

// reached waits until all members are at a point; the first that does not get there ends it.
func reached(ctx context.Context, members []*hotMember, p datadir.Point, limit time.Duration) ([]datadir.HotState, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not after %s", limit))
	defer cancel()
	failed := make(chan error, len(members))
	states := make([]datadir.HotState, len(members))
	for i, m := range members {
		go func() {
			select {
			case states[i] = <-m.states:
				failed <- nil
			case <-m.ended:
				failed <- fmt.Errorf("member %s is not %s: %w", m.Name, p, m.err)
			case <-ctx.Done():
				failed <- fmt.Errorf("wait until member %s is %s: %w", m.Name, p, context.Cause(ctx))
			}
		}()
	}
	var first error
	for range members {
		if err := <-failed; err != nil && first == nil {
			first = err
			cancel() // the others need not get there any more
		}
	}
	return states, first
}

// callOff ends conversations before their order to go. Each agent thaws its member by itself.
func callOff(members []*hotMember) error {
	for _, m := range members {
		close(m.orders)
	}
	late := time.NewTimer(2 * holdFor)
	defer late.Stop()
	for _, m := range members {
		select {
		case <-m.ended:
		case <-late.C:
			return fmt.Errorf("call off the exchange: the agent of member %s does not answer", m.Name)
		}
	}
	return nil
}

// thawAll is for a member whose agent was ended while it was frozen: the others run already. It outlives an interrupt.
func (r *run) thawAll(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readyWithin)
	defer cancel()
	return r.each(func(_ int, m *MemberRecord) error {
		st, err := r.stage(ctx, m.Name)
		if err != nil {
			return err
		}
		did, err := st.Thaw(ctx)
		if err != nil {
			return fmt.Errorf("thaw member %s: %w", m.Name, err)
		}
		if did.PID != 0 {
			r.d.Report.Warn("member %s was left frozen, and runs again", m.Name)
		}
		return nil
	})
}

// hotEnd hears how it went. An etcd that did not run is started anew in any case: one that was just starting may hold
// what is not its data any more.
func (r *run) hotEnd(ctx context.Context, members []*hotMember) error {
	late := time.NewTimer(goWithin)
	defer late.Stop()
	var errs []error
	for _, m := range members {
		select {
		case <-m.ended:
		case <-late.C:
			return errors.Join(append(errs, fmt.Errorf("exchange data of member %s: no answer after %s", m.Name, goWithin))...)
		}
		switch {
		case m.err != nil:
			errs = append(errs, fmt.Errorf("exchange data of member %s: %w", m.Name, m.err))
		case m.done.Exchanged.Exchanged && m.done.Killed == 0:
			errs = append(errs, r.deletePod(ctx, m.PodName, ""))
		}
	}
	return errors.Join(errs...)
}
