package restore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/agent"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/agentapi"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/await"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/backup"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/survey"
)

// actions are what the kinds of steps do.
func (r *run) actions() map[string]plan.Action {
	all := map[string]plan.Action{
		kindInspect:    action{do: r.inspect, undo: func(ctx context.Context, _ *plan.Task) error { return r.closeStages(ctx) }},
		kindAsk:        action{do: r.ask, undo: func(ctx context.Context, _ *plan.Task) error { return r.closeStages(ctx) }},
		kindRelease:    action{do: func(ctx context.Context, _ *plan.Task) error { return r.closeStages(ctx) }},
		kindSafety:     action{do: r.safety},
		kindBuild:      action{do: r.build, undo: r.discard},
		kindBudgetAway: action{do: r.budgetAway, undo: func(ctx context.Context, t *plan.Task) error { return r.budgetCreate(ctx, t.Step) }},
		kindBudgetBack: action{do: r.budgetBack},
		kindPause:      action{do: r.pause, undo: func(ctx context.Context, t *plan.Task) error { return r.unpause(ctx, t.Step) }},
		kindUnpause:    action{do: func(ctx context.Context, _ *plan.Task) error { return r.unpause(ctx, r.stepOf(kindPause)) }},
		kindParallel:   action{do: r.parallel, undo: func(ctx context.Context, t *plan.Task) error { return r.parallelBack(ctx, t.Step) }},
		kindOrdered:    action{do: func(ctx context.Context, _ *plan.Task) error { return r.parallelBack(ctx, r.stepOf(kindParallel)) }},
		kindRetain:     action{do: r.retain, undo: func(ctx context.Context, t *plan.Task) error { return r.retainBack(ctx, t.Step) }},
		kindRetainBack: action{do: func(ctx context.Context, _ *plan.Task) error { return r.retainBack(ctx, r.stepOf(kindRetain)) }},
		kindWriterDown: action{do: r.scaleDown, undo: func(ctx context.Context, t *plan.Task) error { return r.scaleBack(ctx, t.Step) }},
		kindWriterUp:   action{do: r.scaleUp},
		kindQuiet:      action{do: r.quiet},
		kindEtcdDown:   action{do: r.etcdDown, undo: r.etcdBack},
		kindDrop:       action{do: r.drop},
		kindSwitch:     action{do: r.switchTo, undo: r.switchBack},
		kindEtcdUp:     action{do: r.etcdUp, undo: r.etcdUnstart},
		kindAlarms:     action{do: r.alarms},
		kindCompare:    action{do: r.compare},
		kindRestart:    action{do: r.restart},
		kindServe:      action{do: r.serve},
		kindCaches:     action{do: r.caches},
		kindFinish:     action{do: func(ctx context.Context, _ *plan.Task) error { return r.closeStages(ctx) }},
	}
	maps.Copy(all, r.replaceActions())
	maps.Copy(all, r.hotActions())
	return all
}

func (r *run) stepOf(kind string) *plan.Step {
	for i := range r.op.Steps {
		if r.op.Steps[i].Kind == kind {
			return &r.op.Steps[i]
		}
	}
	return nil
}

func (r *run) etcdSet() workload { return workload{"StatefulSet", r.sh.Namespace, r.sh.StatefulSet} }

func (r *run) etcdDown(ctx context.Context, _ *plan.Task) error {
	if err := r.idle(ctx); err != nil {
		return err
	}
	return r.stopEtcd(ctx)
}

func (r *run) stopEtcd(ctx context.Context) error {
	// Right before: somebody may have put the policy back that deletes volumes with their pods.
	policy, err := r.c.Retention(ctx, r.etcdSet())
	if err != nil {
		return err
	}
	if policy != nil && policy.WhenScaled == appsv1.DeletePersistentVolumeClaimRetentionPolicyType {
		return refuse("pause what manages it, then restore again", "scale %s to 0: its retention policy would delete the volumes; it was put there by %s", r.etcdSet(), r.c.Reverted(ctx, r.etcdSet()))
	}
	return r.stop(ctx, r.etcdSet(), &etcdGrace)
}

// etcdGrace is how many seconds etcd gets to end (a kubelet makes two of one). With clients and peers that do not let go it
// takes seven; it bears being killed, and has had nothing to write for longer than it keeps anything in memory.
var etcdGrace = int64(1)

// etcdUnstart stops the members on the new data. A writer that came back by itself may have seen revisions that are
// about to vanish, and has to read everything anew: its pods go, too.
func (r *run) etcdUnstart(ctx context.Context, _ *plan.Task) error {
	if err := r.stopEtcd(ctx); err != nil {
		return err
	}
	for _, object := range r.sh.Writers {
		w, err := parseWorkload(object)
		if err != nil {
			return err
		}
		pods, err := r.podsOf(ctx, w)
		if err != nil && !apierrors.IsNotFound(err) {
			return err
		}
		for _, p := range pods {
			if err := r.c.DeletePod(ctx, w, p, &writerGrace); err != nil {
				return err
			}
		}
	}
	return nil
}

// etcdBack starts the old members again. That they get healthy is waited for,
// but members that were not healthy before are no reason to stop.
func (r *run) etcdBack(ctx context.Context, _ *plan.Task) error {
	if err := r.c.Scale(ctx, r.etcdSet(), r.sh.Replicas); err != nil {
		return err
	}
	if err := r.ready(ctx, r.etcdSet()); err != nil {
		r.d.Report.Warn("the members run on their old data again, but: %v", err)
	}
	return nil
}

// etcdUp starts the members on the new data. Success is that all are one
// healthy cluster, the predicted one, above the old revision.
func (r *run) etcdUp(ctx context.Context, _ *plan.Task) error {
	if err := r.c.Scale(ctx, r.etcdSet(), r.sh.Replicas); err != nil {
		return err
	}
	return await.Until(ctx, r.cfg.Timeout, "the restored members are one healthy cluster", func(ctx context.Context) (string, bool, error) {
		var back *Refusal
		if err := r.idle(ctx); errors.As(err, &back) {
			return "", false, await.Stop(err)
		} else if err != nil {
			return "", false, err
		}
		p, err := r.plane(ctx)
		if err != nil {
			return "", false, err
		}
		s, err := r.c.Survey(ctx, p, false)
		if err != nil {
			return "", false, err
		}
		seen, ok, err := r.restored(s)
		r.relieve(ctx, p, s)
		if ok {
			r.follow(p)
		}
		return seen, ok, err
	})
}

// follow takes note of where the members are now.
func (r *run) follow(p controlplane.ControlPlane) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cfg.Plane = p
	for name, st := range r.stages {
		if m, ok := p.Member(strings.TrimPrefix(name, askPrefix)); ok {
			st.Follow(m)
		}
	}
}

func (r *run) restored(s *survey.Survey) (string, bool, error) {
	asked := slices.DeleteFunc(slices.Clone(s.Members), func(m survey.Member) bool { return m.Source == nil })
	if len(asked) != len(r.sh.Members) {
		return fmt.Sprintf("%d members of %d", len(asked), len(r.sh.Members)), false, nil
	}
	for _, m := range asked {
		switch {
		case m.Corrupt():
			return "", false, await.Stop(fmt.Errorf("start etcd: member %s has a CORRUPT alarm", m.Name))
		case m.Status == nil:
			return fmt.Sprintf("member %s: %s", m.Name, m.Error), false, nil
		case m.Status.ClusterID.String() != r.sh.ClusterID:
			return "", false, await.Stop(fmt.Errorf("start etcd: member %s is in cluster %s, not in the restored one, %s", m.Name, m.Status.ClusterID, r.sh.ClusterID))
		case !m.Healthy:
			return fmt.Sprintf("member %s: %s", m.Name, m.Error), false, nil
		case m.Status.Revision < r.sh.Snapshot.Revision+r.sh.Bump:
			return "", false, await.Stop(fmt.Errorf("start etcd: member %s is at revision %d, below the restored %d", m.Name, m.Status.Revision, r.sh.Snapshot.Revision+r.sh.Bump))
		}
	}
	r.calm = true
	for _, m := range asked { // an alarm that came with the snapshot is disarmed next
		r.calm = r.calm && agent.Calm(m.Status)
		corrupt := func(e string) bool { return strings.Contains(e, "CORRUPT") }
		r.sh.CorruptAlarm = r.sh.CorruptAlarm || slices.ContainsFunc(m.Status.Errors, corrupt)
	}
	return "", true, nil
}

// compare asks for hashes, which takes time in proportion to the data: so it is
// not part of the outage. Every member was built from the same proven bytes, so a
// difference is a disk's or etcd's: there is nothing to go back to, and it is told.
func (r *run) compare(ctx context.Context, _ *plan.Task) error {
	p, err := r.plane(ctx)
	if err != nil {
		return err
	}
	s, err := r.c.Survey(ctx, p, true)
	if err != nil {
		return err
	}
	switch s.Consistency {
	case survey.Differs:
		r.sh.Differs = s.Note
	case survey.NotComparable:
		r.d.Report.Warn("the members' data could not be compared: %s", s.Note)
	}
	return nil
}

// alarms takes back what a full database left in the snapshot, or a member whose data was corrupt: with it the API
// servers could not write. Alarms are the cluster's, but each member has a database of its own, and the first that is full
// raises another one.
func (r *run) alarms(ctx context.Context, _ *plan.Task) error {
	if r.calm { // part of the outage: nobody is asked for nothing
		return nil
	}
	did := make([]*agentapi.DisarmReply, len(r.sh.Members))
	if !r.sh.Hot { // otherwise one after the other: a member that is defragmented does not answer, and API servers ask
		_ = r.each(func(i int, m *MemberRecord) error {
			if st, err := r.asker(ctx, m.Name); err == nil {
				did[i], _ = st.Disarm(ctx, r.sh.CorruptAlarm) // what fails is asked again below
			}
			return nil
		})
	}
	for i, m := range r.sh.Members {
		if did[i] == nil {
			var err error
			if did[i], err = r.disarm(ctx, m.Name); err != nil {
				return fmt.Errorf("disarm alarms: %w", err)
			}
		}
		if did[i].Disarmed > 0 || did[i].Freed > 0 {
			r.d.Report.Step("member %s: disarmed %d NOSPACE alarms, %d bytes freed", m.Name, did[i].Disarmed, did[i].Freed)
		}
	}
	if r.sh.CorruptAlarm {
		r.d.Report.Warn("when the snapshot was taken, etcd had found a member's data corrupt; that alarm is disarmed: if the snapshot is of that member, compare it with another one")
	}
	if r.sh.Hot {
		r.outageEnds()
	}
	return nil
}

func (r *run) disarm(ctx context.Context, member string) (did *agentapi.DisarmReply, err error) {
	err = await.Until(ctx, r.cfg.Timeout, "alarms are asked for and disarmed", func(ctx context.Context) (string, bool, error) {
		st, err := r.asker(ctx, member)
		if err != nil {
			return "", false, err
		}
		if did, err = st.Disarm(ctx, r.sh.CorruptAlarm); err == nil {
			return "", true, nil
		}
		if code := reach.Refused(err); code == agentapi.CodeQuota || code == agentapi.CodeAlarm {
			return "", false, await.Stop(err)
		}
		// The member may have got its address only after it was found.
		if p, perr := r.plane(ctx); perr == nil {
			r.follow(p)
		}
		return "", false, err
	})
	return did, err
}

// safety backs up what still answers. Nothing that answers is no reason to stop:
// then there is nothing to lose.
func (r *run) safety(ctx context.Context, _ *plan.Task) error {
	file, err := r.c.Backup(ctx, r.cfg.Plane, r.op.ID, r.sh.Safety, "", false)
	var none *backup.ErrNoSource
	if errors.As(err, &none) { // without a quorum: what a member that is left still knows
		if s, serr := r.c.Survey(ctx, r.cfg.Plane, false); serr == nil {
			if m := survivor(s); m != nil {
				file, err = r.c.Backup(ctx, r.cfg.Plane, r.op.ID, r.sh.Safety, m.Source.Name, false)
			}
		}
	}
	switch {
	case err == nil:
		r.d.Report.Step("safety backup: %s", file)
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case r.answers(ctx):
		return refuse(`mend it, name another folder with --safety-backup, or do without: --safety-backup ""`, "take safety backup: %v", err)
	case r.sh.DiscardOld:
		return refuse(`copy it first (kubectl etcd backup --raw --member NAME), then do without: --safety-backup ""`, "take safety backup: no member answers, and the only copy of its data would be deleted: %v", err)
	default:
		r.d.Report.Warn("no safety backup: %v", err)
	}
	return nil
}

// answers tells whether a member is healthy: then what it holds can be backed up.
func (r *run) answers(ctx context.Context) bool {
	s, err := r.c.Survey(ctx, r.cfg.Plane, false)
	return err == nil && anyHealthy(s)
}

// anyHealthy tells whether a voter takes part in a quorum.
func anyHealthy(s *survey.Survey) bool {
	return slices.ContainsFunc(s.Members, func(m survey.Member) bool { return m.Healthy && !m.Learner })
}
