package exchange

import (
	"context"
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
	return await.Until(ctx, r.Timeout, "the restored members are one healthy cluster", func(ctx context.Context) (string, bool, error) {
		p, err := r.FindPlane(ctx)
		if err != nil {
			return "", false, err
		}
		s, err := r.Cluster.Survey(ctx, p, false)
		if err != nil {
			return "", false, err
		}
		if err := r.hotSeen(ctx, t, s); err != nil {
			return "", false, await.Stop(err)
		}
		if r.Serves(s) {
			r.OutageEnds()
		}
		behind, decided := r.behind(s)
		if err := restore.Corrupt(s); err != nil {
			return "", false, await.Stop(err)
		}
		if !decided {
			r.Relieve(ctx, p, s)
			return "members on old data: " + strings.Join(behind, ", ") + "; of the others too few answer", false, nil
		}
		if len(behind) > 0 {
			r.Deps.Report.Warn("the restored cluster serves, and these members are on their old data: %s; they are exchanged again", strings.Join(behind, ", "))
			return "members on old data: " + strings.Join(behind, ", "), false, r.hotAll(ctx, r.forward(""))
		}
		seen, ok, err := r.Restored(s)
		r.Relieve(ctx, p, s)
		if ok {
			r.Follow(p)
		}
		return seen, ok, err
	})
}

// behind are the members that have gone back by themselves, where a majority has not: the rest is finished, not undone. As long as members that do
// not answer yet may make that majority, it is not decided, unless the new cluster has been seen to have had a leader.
func (r *Exchange) behind(s *survey.Survey) (names []string, decided bool) {
	there := 0
	for _, m := range s.Members {
		switch {
		case m.Status == nil || r.Shared.Member(m.Name) == nil:
		case m.Status.ClusterID.String() == r.Shared.ClusterID:
			there++
		default:
			names = append(names, m.Name)
		}
	}
	all := len(r.Shared.Members)
	switch {
	case r.Alone == 0 || len(names) == 0 || unserved(all, all-len(names)):
		return nil, true
	case unserved(all, there) && !r.Operation.Committed():
		return names, false
	}
	return names, true
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
