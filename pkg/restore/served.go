package restore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/agentapi"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/await"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/backup"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/survey"
)

// Corrupt is an error where a member that is to be asked has found its data corrupt: waiting mends nothing.
func Corrupt(s *survey.Survey) error {
	for _, m := range s.Members {
		if m.Source != nil && m.Corrupt() {
			return fmt.Errorf("start etcd: member %s has a CORRUPT alarm", m.Name)
		}
	}
	return nil
}

// Restored tells whether all members are one healthy cluster, the predicted one, above the old revision; else what was seen last.
func (r *Run) Restored(s *survey.Survey) (string, bool, error) {
	asked := slices.DeleteFunc(slices.Clone(s.Members), func(m survey.Member) bool { return m.Source == nil })
	if len(asked) != len(r.Shared.Members) {
		return fmt.Sprintf("%d members of %d", len(asked), len(r.Shared.Members)), false, nil
	}
	if err := Corrupt(s); err != nil {
		return "", false, await.Stop(err)
	}
	for _, m := range asked {
		switch {
		case m.Status == nil:
			return fmt.Sprintf("member %s: %s", m.Name, m.Error), false, nil
		case m.Status.ClusterID.String() != r.Shared.ClusterID:
			return "", false, await.Stop(fmt.Errorf("start etcd: member %s is in cluster %s, not in the restored one, %s", m.Name, m.Status.ClusterID, r.Shared.ClusterID))
		case !m.Healthy:
			return fmt.Sprintf("member %s: %s", m.Name, m.Error), false, nil
		case m.Status.Revision < r.Shared.Snapshot.Revision+r.Shared.Bump:
			return "", false, await.Stop(fmt.Errorf("start etcd: member %s is at revision %d, below the restored %d", m.Name, m.Status.Revision, r.Shared.Snapshot.Revision+r.Shared.Bump))
		}
	}
	r.Calm = true
	for _, m := range asked { // an alarm that came with the snapshot is disarmed next
		r.Calm = r.Calm && agentapi.Calm(m.Status)
		corrupt := func(e string) bool { return strings.Contains(e, "CORRUPT") }
		r.Shared.CorruptAlarm = r.Shared.CorruptAlarm || slices.ContainsFunc(m.Status.Errors, corrupt)
	}
	return "", true, nil
}

// Serves tells whether a member has served a linearizable read of the restored cluster, which takes a majority, and nothing keeps API servers from
// writing: no alarm, no full database.
func (r *Run) Serves(s *survey.Survey) bool {
	return slices.ContainsFunc(s.Members, func(m survey.Member) bool {
		return m.Status != nil && m.Status.ClusterID.String() == r.Shared.ClusterID && m.Votes() && agentapi.Calm(m.Status)
	})
}

// alarms takes back what a full database left in the snapshot, or a member whose data was corrupt: with it the API
// servers could not write. Alarms are the cluster's, but each member has a database of its own, and the first that is full
// raises another one.
func (r *Run) alarms(ctx context.Context, _ *plan.Task) error {
	if r.Calm { // part of the outage: nobody is asked for nothing
		return nil
	}
	did := make([]*agentapi.DisarmReply, len(r.Shared.Members))
	if !r.Way.Serving() { // otherwise one after the other: a member that is defragmented does not answer, and API servers ask
		_ = r.Each(func(i int, m *site.MemberRecord) error {
			if st, err := r.Asker(ctx, m.Name); err == nil {
				did[i], _ = st.Disarm(ctx, r.Shared.CorruptAlarm) // what fails is asked again below
			}
			return nil
		})
	}
	for i, m := range r.Shared.Members {
		if did[i] == nil {
			var err error
			if did[i], err = r.disarm(ctx, m.Name); err != nil {
				return fmt.Errorf("disarm alarms: %w", err)
			}
		}
		if did[i].Disarmed > 0 || did[i].Freed > 0 {
			r.Deps.Report.Step("member %s: disarmed %d NOSPACE alarms, %d bytes freed", m.Name, did[i].Disarmed, did[i].Freed)
		}
	}
	if r.Shared.CorruptAlarm {
		r.Deps.Report.Warn("when the snapshot was taken, etcd had found a member's data corrupt; that alarm is disarmed: if the snapshot is of that member, compare it with another one")
	}
	if r.Way.Serving() {
		r.OutageEnds(r.Deps.Now())
	}
	return nil
}

func (r *Run) disarm(ctx context.Context, member string) (did *agentapi.DisarmReply, err error) {
	err = await.Until(ctx, r.Timeout, "alarms are asked for and disarmed", func(ctx context.Context) (string, bool, error) {
		st, err := r.Asker(ctx, member)
		if err != nil {
			return "", false, err
		}
		if did, err = st.Disarm(ctx, r.Shared.CorruptAlarm); err == nil {
			return "", true, nil
		}
		if code := reach.Refused(err); code == agentapi.CodeQuota || code == agentapi.CodeAlarm {
			return "", false, await.Stop(err)
		}
		// The member may have got its address only after it was found.
		if p, perr := r.FindPlane(ctx); perr == nil {
			r.Follow(p)
		}
		return "", false, err
	})
	return did, err
}

// safety backs up what still answers. Nothing that answers is no reason to stop:
// then there is nothing to lose.
func (r *Run) safety(ctx context.Context, _ *plan.Task) error {
	file, err := r.Cluster.Backup(ctx, r.Plane, r.Operation.ID, r.Shared.Safety, "", false)
	var none *backup.ErrNoSource
	if errors.As(err, &none) { // without a quorum: what a member that is left still knows
		if s, serr := r.Cluster.Survey(ctx, r.Plane, false); serr == nil {
			if m := s.MostUpToDate(); m != nil {
				file, err = r.Cluster.Backup(ctx, r.Plane, r.Operation.ID, r.Shared.Safety, m.Source.Name, false)
			}
		}
	}
	switch {
	case err == nil:
		r.Deps.Report.Step("safety backup: %s", file)
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case r.Answers(ctx):
		return site.Refuse(`mend it, name another folder with --safety-backup, or do without: --safety-backup ""`, "take safety backup: %v", err)
	case r.Shared.DiscardOld:
		return site.Refuse(`copy it first (kubectl etcd backup --raw --member NAME), then do without: --safety-backup ""`, "take safety backup: no member answers, and the only copy of its data would be deleted: %v", err)
	default:
		r.Deps.Report.Warn("no safety backup: %v", err)
	}
	return nil
}
