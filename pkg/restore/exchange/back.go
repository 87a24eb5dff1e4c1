package exchange

import (
	"context"
	"fmt"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/await"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/datadir"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
)

// Back takes back what Switch has done, as long as the new cluster has never had a leader. That is looked at
// once while etcd runs, and again when all are frozen and none can vote any more.
func (r *Exchange) Back(ctx context.Context, t *plan.Task) error {
	if len(t.Record) == 0 {
		return nil // nothing was frozen yet
	}
	states, err := r.InspectAll(ctx)
	hot := make([]datadir.HotState, len(states))
	exchanged := false
	for i, s := range states {
		if s == nil {
			continue
		}
		hot[i] = datadir.HotState{Inode: s.Inode, Elected: s.Elected}
		exchanged = exchanged || s.Inode == r.Shared.Members[i].NewInode
	}
	if terr := r.notSeen(hot); terr != nil { // however many others do not answer
		return terr
	}
	if err != nil {
		return err
	}
	if !exchanged {
		return r.ThawAll(ctx)
	}
	if err := r.hotAll(ctx, round{want: func(m *site.MemberRecord) uint64 { return m.OldInode }, decide: r.notSeen}); err != nil {
		return err
	}
	if err := r.hotOld(ctx); err != nil {
		if ctx.Err() != nil {
			return err
		}
		r.Deps.Report.Warn("the members run on their old data again, but: %v", err)
	}
	return nil
}

// notSeen refuses to go back behind what clients may have seen.
func (r *Exchange) notSeen(states []datadir.HotState) error {
	voted, old := 0, 0
	for i, s := range states {
		switch there := s.Inode == r.Shared.Members[i].NewInode; {
		case there && s.Elected:
			voted++
		case !there && s.Inode != 0: // 0: it does not answer
			old++
		}
	}
	seen := !unserved(len(states), voted)
	if r.Alone > 0 { // agents go on alone there: then any vote counts, unless a majority has never left (test/model)
		seen = seen || voted > 0 && old < len(states)/2+1
	}
	if seen {
		return fmt.Errorf("%w: %d of %d members have elected a leader on the new data", plan.ErrTooLate, voted, len(states))
	}
	return nil
}

// hotOld waits until all members answer on their old data again.
func (r *Exchange) hotOld(ctx context.Context) error {
	defer r.watch(ctx)()
	return await.Until(ctx, r.Timeout, "all members answer on their old data", func(ctx context.Context) (string, bool, error) {
		s, err := r.Survey(ctx)
		if err != nil {
			return "", false, err
		}
		for _, m := range s.Members {
			if !m.Healthy {
				return fmt.Sprintf("member %s: %s", m.Name, m.Why()), false, nil
			}
		}
		return "", true, nil
	})
}
