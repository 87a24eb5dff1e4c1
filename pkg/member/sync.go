package member

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/agentapi"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/await"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/survey"
)

const (
	// syncRate is the slowest at which a member is taken to receive data, in bytes a second.
	syncRate = 4 << 20
	// maxLag is how many entries a learner may be behind when it is promoted: with
	// writers going on it is always a few, and etcd itself asks for a tenth of all only.
	maxLag = 500
)

// sync waits for the member, promotes it, and proves that all is well again.
func (r *Replacement) sync(ctx context.Context, t *plan.Task) error {
	name := r.replaced().Name
	limit := r.Timeout + time.Duration(r.Shared.Replace.Size/syncRate)*time.Second
	if r.static() {
		limit += site.LongestBackoff
	}
	why := &catchUp{r: r}
	err := await.Until(ctx, limit, "member "+name+" has everything and votes", func(ctx context.Context) (string, bool, error) {
		seen, ok, err := r.promote(ctx)
		if !ok && err == nil {
			seen += why.look(ctx)
		}
		return seen, ok, err
	})
	if err != nil {
		return why.explain(err)
	}
	if err := await.Until(ctx, r.Timeout, "all members are healthy", r.whole); err != nil {
		return err
	}
	return r.Compare(ctx, t)
}

func (r *Replacement) promote(ctx context.Context) (seen string, ok bool, err error) {
	s, err := r.Survey(ctx)
	if err != nil {
		return "", false, err
	}
	of, err := r.best(s)
	if err != nil {
		return "", false, err
	}
	m := s.Of(r.replaced().Name)
	switch {
	case (m == nil || m.Status == nil) && r.static():
		// Its kubelet may be cut off until the API server beside it has an etcd that votes. etcd promotes nobody who has not nearly all.
		seen, ok, err := r.promoteNow(ctx, of)
		return "it does not answer" + note(m) + "; " + seen, ok, err
	case m == nil || m.Status == nil:
		return "it does not answer" + note(m), false, nil
	case m.Status.MemberID.String() != r.Shared.Replace.ID || m.Status.ClusterID.String() != r.Shared.ClusterID:
		return fmt.Sprintf("it runs as member %s of cluster %s, not as %s of %s", m.Status.MemberID, m.Status.ClusterID, r.Shared.Replace.ID, r.Shared.ClusterID), false, nil
	case !m.Learner:
		return "", true, nil
	case m.Status.RaftAppliedIndex+maxLag < of.Status.RaftAppliedIndex:
		return fmt.Sprintf("it is at entry %d of %d", m.Status.RaftAppliedIndex, of.Status.RaftAppliedIndex), false, nil
	}
	return r.promoteNow(ctx, of)
}

func (r *Replacement) promoteNow(ctx context.Context, of *survey.Member) (seen string, ok bool, err error) {
	id, err := strconv.ParseUint(r.Shared.Replace.ID, 16, 64)
	if err != nil {
		return "", false, await.Stop(fmt.Errorf("read journal: %w", err))
	}
	_, notNow, err := r.changeNow(ctx, *of, agentapi.MembershipRequest{Change: agentapi.MemberPromote, ID: etcd.ID(id)})
	return notNow, err == nil && notNow == "", err
}

func note(m *survey.Member) string {
	if m == nil || m.Error == "" {
		return ""
	}
	return ": " + m.Error
}

// whole is the proof: every listed member has a pod, answers and votes, the new one under its new id.
func (r *Replacement) whole(ctx context.Context) (seen string, ok bool, err error) {
	s, err := r.Survey(ctx)
	if err != nil {
		return "", false, err
	}
	for _, m := range s.Members {
		if !m.Healthy || m.Learner || m.Source == nil {
			return "member " + m.Name + note(&m), false, nil
		}
	}
	m := s.Of(r.replaced().Name)
	if m == nil || m.Status.MemberID.String() != r.Shared.Replace.ID {
		return "member " + r.replaced().Name + " is another one", false, nil
	}
	return "", true, nil
}
