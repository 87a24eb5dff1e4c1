package exchange

import (
	"context"
	"fmt"
	"strings"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/await"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/survey"
)

// Try finds what would be in the way before anything is uploaded.
func (r *Exchange) Try(ctx context.Context, _ *plan.Task) error {
	return r.Each(func(_ int, m *site.MemberRecord) error {
		st, err := r.Stage(ctx, m.Name)
		if err != nil {
			return err
		}
		if _, err := st.HotCheck(ctx); err != nil {
			if ctx.Err() != nil {
				return err
			}
			return site.Refuse("try again; if that does not help, "+r.Otherwise, "check whether member %s can be frozen: %v", m.Name, err)
		}
		return nil
	})
}

// Up waits until the pods have started etcd again, on all members. The first leader of the new cluster is the point
// from which clients may have seen it.
func (r *Exchange) Up(ctx context.Context, t *plan.Task) error {
	defer r.watch(ctx)()
	if r.quorum == nil {
		var all []string
		for _, m := range r.Shared.Members {
			all = append(all, m.Name)
		}
		r.quorum = r.watchQuorum(ctx, all)
	}
	defer r.endQuorum()
	return await.Until(ctx, r.Timeout, "the restored members are one healthy cluster", func(ctx context.Context) (string, bool, error) {
		p, err := r.FindPlane(ctx)
		if err != nil {
			return "", false, err
		}
		s, err := r.Cluster.Survey(ctx, p, false)
		if err != nil {
			return "", false, err
		}
		if r.Serves(s) {
			r.OutageEnds(r.quorum.seen(r.Deps.Now()))
		}
		if err := r.hotSeen(ctx, t, s); err != nil {
			return "", false, await.Stop(err)
		}
		if err := restore.Corrupt(s); err != nil {
			return "", false, await.Stop(err)
		}
		old, what := r.behind(s)
		names := strings.Join(old, ", ")
		switch what {
		case wentBack:
			return "", false, await.Stop(fmt.Errorf("start etcd: %s went back to the old data, since etcd ended, or did not vote in time, on the restored data; the log of %s says more: kubectl -n %s logs --previous %s",
				names, old[0], r.Shared.Namespace, r.Shared.Member(old[0]).PodName))
		case undecided:
			r.Relieve(ctx, p, s)
			return "members on old data: " + names + "; of the others too few answer", false, nil
		case left:
			r.Deps.Report.Warn("the restored cluster serves, and these members are on their old data: %s; they are exchanged again", names)
			return "members on old data: " + names, false, r.hotAll(ctx, r.forward(""))
		}
		seen, ok, err := r.Restored(s)
		r.Relieve(ctx, p, s)
		if ok {
			r.Follow(p)
		}
		return seen, ok, err
	})
}

// decision is what becomes of members that have gone back by themselves.
type decision int

const (
	together  decision = iota // there are none
	wentBack                  // so many that the rest is no majority: it is undone
	undecided                 // as long as members that do not answer yet may make either majority
	left                      // a majority has not, or the new cluster has been seen to have had a leader: they are exchanged again
)

// behind are the members that have gone back by themselves, and what becomes of them.
func (r *Exchange) behind(s *survey.Survey) (old []string, _ decision) {
	there := 0
	for _, m := range s.Members {
		switch {
		case m.Status == nil || r.Shared.Member(m.Name) == nil:
		case m.Status.ClusterID.String() == r.Shared.ClusterID:
			there++
		default:
			old = append(old, m.Name)
		}
	}
	all := len(r.Shared.Members)
	switch {
	case r.Alone == 0 || len(old) == 0:
		return nil, together
	case unserved(all, all-len(old)):
		return old, wentBack
	case unserved(all, there) && !r.Operation.Committed():
		return old, undecided
	}
	return old, left
}

// hotSeen journals that the new cluster has had a leader, when it is first seen to.
func (r *Exchange) hotSeen(ctx context.Context, t *plan.Task, s *survey.Survey) error {
	for _, m := range s.Members {
		if !r.Operation.Committed() && m.Status != nil && m.Status.ClusterID.String() == r.Shared.ClusterID && m.Status.Leader != 0 {
			return t.Commit(ctx, m.Name)
		}
	}
	return nil
}

// unserved tells whether the new cluster cannot have had a leader. Each vote for one is in a log before it is given; a
// leader needs those of a majority.
func unserved(members, voted int) bool { return voted < members/2+1 }

// hotPlane is where the members are, when some of their etcds may just have ended.
func (r *Exchange) hotPlane(ctx context.Context) controlplane.ControlPlane {
	if p, err := r.FindPlane(ctx); err == nil {
		return p
	}
	return r.Plane
}
