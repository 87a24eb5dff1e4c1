package restore

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/agentapi"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/await"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
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
func (r *run) sync(ctx context.Context, t *plan.Task) error {
	name := r.replaced().Name
	limit := r.cfg.Timeout + time.Duration(r.sh.Replace.Size/syncRate)*time.Second
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
	if err := await.Until(ctx, r.cfg.Timeout, "all members are healthy", r.whole); err != nil {
		return err
	}
	return r.compare(ctx, t)
}

func (r *run) promote(ctx context.Context) (seen string, ok bool, err error) {
	s, err := r.survey(ctx)
	if err != nil {
		return "", false, err
	}
	of, err := r.best(s)
	if err != nil {
		return "", false, err
	}
	m := bySource(s, r.replaced().Name)
	switch {
	case m == nil || m.Status == nil:
		return "it does not answer" + note(m), false, nil
	case m.Status.MemberID.String() != r.sh.Replace.ID || m.Status.ClusterID.String() != r.sh.ClusterID:
		return fmt.Sprintf("it runs as member %s of cluster %s, not as %s of %s", m.Status.MemberID, m.Status.ClusterID, r.sh.Replace.ID, r.sh.ClusterID), false, nil
	case !m.Learner:
		return "", true, nil
	case m.Status.RaftAppliedIndex+maxLag < of.Status.RaftAppliedIndex:
		return fmt.Sprintf("it is at entry %d of %d", m.Status.RaftAppliedIndex, of.Status.RaftAppliedIndex), false, nil
	}
	id, err := strconv.ParseUint(r.sh.Replace.ID, 16, 64)
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

func bySource(s *survey.Survey, name string) *survey.Member {
	for i, m := range s.Members {
		if m.Source != nil && m.Source.Name == name {
			return &s.Members[i]
		}
	}
	return nil
}

// whole is the proof: every listed member has a pod, answers and votes, the new one under its new id.
func (r *run) whole(ctx context.Context) (seen string, ok bool, err error) {
	s, err := r.survey(ctx)
	if err != nil {
		return "", false, err
	}
	for _, m := range s.Members {
		if !m.Healthy || m.Learner || m.Source == nil {
			return "member " + m.Name + note(&m), false, nil
		}
	}
	m := bySource(s, r.replaced().Name)
	if m == nil || m.Status.MemberID.String() != r.sh.Replace.ID {
		return "member " + r.replaced().Name + " is another one", false, nil
	}
	return "", true, nil
}
