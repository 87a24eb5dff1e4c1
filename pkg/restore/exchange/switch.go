package exchange

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/datadir"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
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
	// Tries is how often the members that have not followed the order are asked again.
	Tries = 3
)

// hotMember is the conversation with one member's agent.
type hotMember struct {
	*site.MemberRecord
	orders chan datadir.Order // never blocks
	states chan datadir.HotState
	ended  chan struct{}
	done   *datadir.Switched // once ended
	err    error
}

// Switch exchanges the data of all members, or of none. What was exchanged when it fails all the same, is either
// taken back by Back or, if a majority was, brought to its end by another try.
func (r *Exchange) Switch(ctx context.Context, t *plan.Task) error {
	leader, err := r.aboveLive(ctx)
	if err != nil {
		return err
	}
	if err := r.recordOld(ctx, t); err != nil {
		return err
	}
	if r.Before != nil {
		if err := r.Before(ctx); err != nil {
			return err
		}
	}
	if err := r.hotAll(ctx, r.forward(leader)); err != nil {
		r.endQuorum()
		return err
	}
	return nil
}

// forward is the round that brings all members to the restored data; last is the one to go after all others.
func (r *Exchange) forward(last string) round {
	return round{want: func(m *site.MemberRecord) uint64 { return m.NewInode }, alone: r.Alone, staggered: r.Staggered, last: last}
}

// aboveLive checks, right before, that the members have not come near the restored revision. It returns which of them leads.
func (r *Exchange) aboveLive(ctx context.Context) (leader string, _ error) {
	s, err := r.Cluster.Survey(ctx, r.hotPlane(ctx), false)
	if err != nil {
		return "", err
	}
	target := r.Shared.Snapshot.Revision + r.Shared.Bump
	for _, m := range s.Members {
		if m.Status != nil && m.Status.ClusterID.String() != r.Shared.ClusterID && m.Status.Revision >= target && !r.Shared.BumpAsked {
			return "", fmt.Errorf("check revision: member %s is at %d, and the restored one would be %d; restore again", m.Name, m.Status.Revision, target)
		}
		if m.Leader {
			leader = m.Name
		}
	}
	return leader, nil
}

// recordOld journals which folder each member has now, for the way back.
func (r *Exchange) recordOld(ctx context.Context, t *plan.Task) error {
	states, err := r.InspectAll(ctx)
	if err != nil {
		return err
	}
	var old []uint64
	for i, s := range states {
		m := &r.Shared.Members[i]
		if s.Inode != m.NewInode {
			m.HadData, m.OldInode, m.OldSize = s.Exists, s.Inode, s.TreeSize
		}
		old = append(old, m.OldInode)
	}
	return t.Remember(ctx, old)
}

// round is one exchange of all members, there or back.
type round struct {
	want func(*site.MemberRecord) uint64 // which folder each shall have
	// decide, if set, is asked when all are frozen.
	decide    func([]datadir.HotState) error
	alone     time.Duration
	staggered bool
	last      string // the member to be exchanged after all others
}

// hotAll makes the folder that each member shall have its data: a two-phase commit. Until the order to go is given,
// any failure leaves all members as they are.
func (r *Exchange) hotAll(ctx context.Context, way round) error {
	for try := 1; ; try++ {
		gone, err := r.hotOnce(ctx, way)
		if err == nil || !gone || try == Tries || ctx.Err() != nil || errors.Is(err, errNotServing) {
			return err
		}
		r.Deps.Report.Warn("not all members were exchanged; trying again: %v", err)
	}
}

// hotOnce tells whether the order to go was given to any.
func (r *Exchange) hotOnce(ctx context.Context, way round) (gone bool, err error) {
	// The conversations outlive an interrupt that comes after the order to go: half of the members is worse than all.
	talk, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	members, err := r.hotBegin(ctx, talk, way)
	if err != nil {
		return false, errors.Join(err, callOff(members))
	}
	states, err := reached(ctx, members, datadir.Ready, readyWithin)
	if err != nil {
		return false, errors.Join(err, callOff(members))
	}
	moves := false
	for i, m := range members {
		moves = moves || states[i].Inode != way.want(m.MemberRecord)
	}
	groups := way.groups(members, states)
	spare := (len(members) - 1) / 2 // how many the old cluster can lack
	for i, g := range groups {
		if spare < 0 { // the old cluster is down: from here an interrupt would only leave some behind
			ctx = context.WithoutCancel(ctx)
		}
		before := spare
		if spare -= len(g); spare < 0 && before >= 0 && way.staggered && len(groups) > 1 {
			if err := follow(ctx, slices.Concat(groups[i:]...)); err != nil {
				return gone, errors.Join(err, callOff(slices.Concat(groups[i:]...)))
			}
		}
		if spare < 0 && moves { // otherwise an earlier try has done it
			r.OutageBegins()
		}
		went, err := r.hotGroup(ctx, g, way.decide)
		gone = gone || went
		if err == nil && way.alone > 0 {
			err = r.served(g)
		}
		if err != nil {
			return gone, errors.Join(err, callOff(slices.Concat(groups[i+1:]...)))
		}
		if spare == -1 && i+1 < len(groups) && r.quorum == nil { // these are a majority, and serve while the others are exchanged
			r.quorum = r.watchQuorum(ctx, namesOf(slices.Concat(groups[:i+1]...)))
		}
	}
	return gone, nil
}

func namesOf(members []*hotMember) (out []string) {
	for _, m := range members {
		out = append(out, m.Name)
	}
	return out
}

// follow has the members that are left go on by themselves should this client end: without a quorum their own API servers could not be reached.
func follow(ctx context.Context, members []*hotMember) error {
	for _, m := range members {
		m.orders <- datadir.OrderFollow
	}
	_, err := reached(ctx, members, datadir.Following, frozenWithin)
	return err
}

// groups are the members in the order in which they are exchanged, those together that are at once. Who has the folder already comes first.
func (w round) groups(members []*hotMember, ready []datadir.HotState) [][]*hotMember {
	if !w.staggered {
		return [][]*hotMember{members}
	}
	rank := map[*hotMember]int{}
	for i, m := range members {
		switch {
		case ready[i].Inode == w.want(m.MemberRecord):
		case m.Name == w.last:
			rank[m] = 2
		default:
			rank[m] = 1
		}
	}
	sorted := slices.Clone(members)
	slices.SortStableFunc(sorted, func(a, b *hotMember) int { return rank[a] - rank[b] })
	return slices.Collect(slices.Chunk(sorted, 1))
}

// hotGroup freezes some members, and exchanges them when all of these are frozen; went says that the order to go was given.
func (r *Exchange) hotGroup(ctx context.Context, members []*hotMember, decide func([]datadir.HotState) error) (went bool, err error) {
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
		return false, errors.Join(err, callOff(members), r.ThawAll(ctx))
	}
	for _, m := range members {
		m.orders <- datadir.OrderGo
	}
	return true, r.hotEnd(ctx, members)
}

// errNotServing: another try would meet the same.
var errNotServing = errors.New("it does not serve its peers on the restored data")

// served refuses to go on where a member does not come up on its new data: the others may still serve on the old.
func (r *Exchange) served(members []*hotMember) error {
	for _, m := range members {
		if !m.done.Serving {
			return fmt.Errorf("start etcd: member %s: %w; its log says more: kubectl -n %s logs --previous %s", m.Name, errNotServing, r.Shared.Namespace, m.PodName)
		}
	}
	return nil
}

// hotBegin opens the conversations; those that were opened are returned in any case.
func (r *Exchange) hotBegin(ctx, talk context.Context, way round) ([]*hotMember, error) {
	stages := make([]site.Stage, len(r.Shared.Members))
	if err := r.Each(func(i int, m *site.MemberRecord) (err error) {
		stages[i], err = r.Stage(ctx, m.Name)
		return err
	}); err != nil {
		return nil, err
	}
	var out []*hotMember
	for i, st := range stages {
		h := &hotMember{MemberRecord: &r.Shared.Members[i], orders: make(chan datadir.Order, 3), states: make(chan datadir.HotState, 3), ended: make(chan struct{})}
		req := datadir.HotRequest{Inode: way.want(h.MemberRecord), HoldMillis: int(holdFor / time.Millisecond), AloneMillis: int(way.alone / time.Millisecond)}
		if way.alone > 0 {
			req.Peers = strings.Split(h.PeerURLs, ",")
		}
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

// ThawAll is for a member whose agent was ended while it was frozen: the others run already. It outlives an interrupt.
func (r *Exchange) ThawAll(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readyWithin)
	defer cancel()
	return r.Each(func(_ int, m *site.MemberRecord) error {
		st, err := r.Stage(ctx, m.Name)
		if err != nil {
			return err
		}
		did, err := st.Thaw(ctx)
		if err != nil {
			return fmt.Errorf("thaw member %s: %w", m.Name, err)
		}
		if did.PID != 0 {
			r.Deps.Report.Warn("member %s was left frozen, and runs again", m.Name)
		}
		return nil
	})
}

// hotEnd hears how it went. An etcd that did not run is started anew in any case: one that was just starting may hold
// what is not its data any more.
func (r *Exchange) hotEnd(ctx context.Context, members []*hotMember) error {
	within := goWithin + r.Alone
	late := time.NewTimer(within)
	defer late.Stop()
	var errs []error
	for _, m := range members {
		select {
		case <-m.ended:
		case <-late.C:
			return errors.Join(append(errs, fmt.Errorf("exchange data of member %s: no answer after %s", m.Name, within))...)
		}
		switch {
		case m.err != nil:
			errs = append(errs, fmt.Errorf("exchange data of member %s: %w", m.Name, m.err))
		case m.done.Exchanged.Exchanged && m.done.Killed == 0:
			errs = append(errs, r.restart(ctx, m.PodName))
		}
	}
	return errors.Join(errs...)
}
