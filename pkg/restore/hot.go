package restore

import (
	"context"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/await"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/survey"
)

// The kinds of steps that only a hot restore has. Budgets, writers and the StatefulSet are not touched by it.
const (
	kindHotCheck  = "hot-check"
	kindHotSwitch = "hot-switch"
	kindHotUp     = "hot-up"
	kindHotServe  = "hot-serve"
)

// hotSteps is the plan of a restore under running API servers: all members are frozen, their data exchanged, and they
// are killed, so that their pods start them again on the new data.
func hotSteps(b *plan.Builder, sc *scene, sh *Shared, cfg Config) {
	b.Add(kindInspect, "", "start a utility pod at each member's volume, with hostPID; look at data, space and revisions", plan.Back("remove the utility pods"))
	b.Add(kindHotCheck, "", "find each member's etcd among its node's processes; try whether its file system can exchange folders at once")
	if cfg.Safety != "" {
		b.Add(kindSafety, "", "back up what answers now, into "+cfg.Safety)
	}
	for _, m := range sh.Members {
		b.Add(kindBuild, m.Name, fmt.Sprintf("member %s: upload the snapshot and build the new data beside the old; etcd goes on", m.Name), plan.Back("remove what was built"))
	}
	b.Add(kindHotSwitch, "", "freeze etcd on all members; when all are frozen, exchange old data and new, and kill it, so that its pods start it again", plan.Back("exchange them back, as long as the new cluster has not had a leader; after that, only forward"), plan.Outage)
	b.Add(kindHotUp, "", "wait until all members are one healthy cluster; from its first leader on, only forward", plan.Outage)
	b.Add(kindAlarms, "", "disarm alarms that came with the snapshot")
	b.Add(kindHotServe, "", "wait until all writers are ready; none was stopped")
	if sc.access != nil {
		b.Add(kindCaches, "", whatCaches)
	}
	for _, w := range sc.controllers {
		if w.Replicas > 0 {
			b.Add(kindRestart, w.Namespace+"/"+w.ID(), fmt.Sprintf("restart the pods of %s, so that they read everything anew", w.ID()))
		}
	}
	b.Add(kindCompare, "", "compare the members' data at one revision")
	b.Add(kindFinish, "", "remove the utility pods; the old data stays on the volumes")
}

func (r *run) hotActions() map[string]plan.Action {
	return map[string]plan.Action{
		kindHotCheck:  action{do: r.hotCheck},
		kindHotSwitch: action{do: r.hotSwitch, undo: r.hotBack},
		kindHotUp:     action{do: r.hotUp},
		kindHotServe:  action{do: r.hotServe},
	}
}

// hotPossible refuses what a hot restore is not for. With a member down there is an outage already, and nothing of its
// etcd that could be frozen.
func hotPossible(cfg Config, sc *scene) error {
	if len(cfg.Members)+len(cfg.Skip) > 0 {
		return refuse("leave out --hot", "restore %s: a hot restore is one of all members", cfg.Plane.ID())
	}
	if sc.exclusive != "" {
		return refuse("leave out --hot", "restore %s: volume claim %s is ReadWriteOncePod, and no second pod can have it while etcd runs", cfg.Plane.ID(), sc.exclusive)
	}
	for _, m := range sc.survey.Members {
		if !m.Healthy || m.Source == nil {
			return refuse("leave out --hot", "restore %s: member %s is not healthy (%s), and a hot restore is for members that run", cfg.Plane.ID(), m.Name, because(m))
		}
	}
	return nil
}

// hotCheck finds what would be in the way before anything is uploaded.
func (r *run) hotCheck(ctx context.Context, _ *plan.Task) error {
	return r.each(func(_ int, m *MemberRecord) error {
		st, err := r.stage(ctx, m.Name)
		if err != nil {
			return err
		}
		if _, err := st.HotCheck(ctx); err != nil {
			if ctx.Err() != nil {
				return err
			}
			return refuse("try again; if that does not help, leave out --hot", "check whether member %s can be frozen: %v", m.Name, err)
		}
		return nil
	})
}

// hotUp waits until the pods have started etcd again, on all members. The first leader of the new cluster is the point
// from which clients may have seen it.
func (r *run) hotUp(ctx context.Context, t *plan.Task) error {
	defer r.nudging(ctx)()
	err := await.Until(ctx, r.cfg.Timeout, "the restored members are one healthy cluster", func(ctx context.Context) (string, bool, error) {
		p, err := r.plane(ctx)
		if err != nil {
			return "", false, err
		}
		s, err := r.c.Survey(ctx, p, false)
		if err != nil {
			return "", false, err
		}
		if err := r.hotSeen(ctx, t, s); err != nil {
			return "", false, await.Stop(err)
		}
		seen, ok, err := r.restored(s)
		r.relieve(ctx, p, s)
		if ok {
			r.follow(p)
		}
		return seen, ok, err
	})
	if err == nil && r.calm { // else nobody can write before the alarms are gone
		r.outageEnds()
	}
	return err
}

// hotSeen journals that the new cluster has had a leader, when it is first seen to.
func (r *run) hotSeen(ctx context.Context, t *plan.Task, s *survey.Survey) error {
	for _, m := range s.Members {
		if !r.op.Committed() && m.Status != nil && m.Status.ClusterID.String() == r.sh.ClusterID && m.Status.Leader != 0 {
			return t.Commit(ctx, m.Name)
		}
	}
	return nil
}

// nudging nudges until it is stopped. It does not wait for anybody's answer: to ask members that are down takes time.
// What it cannot do now it tries again; that members come up is waited for elsewhere.
func (r *run) nudging(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() {
		nudged := map[types.UID]bool{}
		tick := time.NewTicker(await.Poll)
		defer tick.Stop()
		for ctx.Err() == nil {
			_ = r.nudge(ctx, nudged)
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
		}
	})
	return func() { cancel(); done.Wait() }
}

// nudge deletes the pods of members that the kubelet leaves alone for a while since they have ended before: a new pod
// starts at once. Each is deleted once.
func (r *run) nudge(ctx context.Context, nudged map[types.UID]bool) error {
	pods, err := r.podsOf(ctx, r.etcdSet())
	if err != nil {
		return err
	}
	for _, p := range pods {
		if p.Backoff[r.etcdContainer(p)] == 0 || nudged[p.UID] || len(nudged) >= nudges*len(r.sh.Members) {
			continue
		}
		if err := r.c.DeletePod(ctx, r.etcdSet(), p, &etcdGrace); err != nil {
			return err
		}
		nudged[p.UID] = true
	}
	return nil
}

func (r *run) etcdContainer(p pod) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.cfg.Plane.Members {
		if m.PodName == p.Name {
			return m.Container
		}
	}
	return ""
}

// nudges is how many pods of a member may be deleted: an etcd that ends again and again has another reason.
const nudges = 2

// hotServe waits for the writers, which have lost etcd for a moment.
func (r *run) hotServe(ctx context.Context, _ *plan.Task) error {
	late, err := r.writersReady(ctx, r.sh.Writers)
	r.sh.Late = late
	r.tellStopped(ctx)
	return err
}

// unserved tells whether the new cluster cannot have had a leader. Each vote for one is in a log before it is given; a
// leader needs those of a majority.
func unserved(members, voted int) bool { return voted < members/2+1 }

// hotPlane is where the members are, when some of their etcds may just have ended.
func (r *run) hotPlane(ctx context.Context) controlplane.ControlPlane {
	if p, err := r.plane(ctx); err == nil {
		return p
	}
	return r.cfg.Plane
}
