// Package hosted is the cold way of restoring a hosted control plane: its writers and its StatefulSet are scaled to 0, the data is
// exchanged, and all is scaled back.
package hosted

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore/hosting"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
)

// way stops API servers and etcd, exchanges the data, and starts etcd and then the API servers.
type way struct {
	*restore.Run
	k    Workloads
	find func(context.Context, *restore.Run) (*restore.Scene, *hosting.Found, error)
	h    *hosting.Found
	sc   *restore.Scene
}

// New is the way in the cluster that a kubeconfig names.
func New(r *restore.Run) restore.Way { return NewIn(r, hostedKube{r.Deps}, hosting.Look) }

// NewIn is the way in any other, and with any other look at it.
func NewIn(r *restore.Run, k Workloads, find func(context.Context, *restore.Run) (*restore.Scene, *hosting.Found, error)) restore.Way {
	return &way{Run: r, k: k, find: find}
}

func (r *way) Possible() error { return site.Supported(r.Plane, r.Config.OperatorStopped) }

func (r *way) Look(ctx context.Context) (sc *restore.Scene, err error) {
	r.sc, r.h, err = r.find(ctx, r.Run)
	return r.sc, err
}

func (r *way) Share(sh *site.Shared) { r.h.Share(sh) }
func (r *way) Serving() bool         { return false }
func (r *way) Check(*plan.Builder)   {}

func (r *way) Stop(b *plan.Builder) {
	sh := r.Shared
	set := "StatefulSet " + sh.StatefulSet
	if sh.Hosted != nil {
		b.Add(site.KindPause, sh.Hosted.Cluster, "pause HyperShift for hosted cluster "+sh.Hosted.Cluster, plan.Back("let it go on, or be paused, as before"))
	}
	for _, pdb := range r.h.Budgets {
		b.Add(site.KindBudgetAway, pdb.Namespace+"/"+pdb.Name, "delete disruption budget "+pdb.Name+", after saving it in the journal", plan.Back("create it again"))
	}
	if r.h.Recreate {
		b.Add(site.KindParallel, sh.StatefulSet, set+": recreate it with podManagementPolicy Parallel; its pods go on", plan.Back("recreate it as it was"))
	}
	if hosting.DeletesClaims(r.h.Set) {
		b.Add(site.KindRetain, sh.StatefulSet, set+": keep its volumes when it is scaled to 0", plan.Back("put its retention policy back"))
	}
	for _, w := range r.sc.Writers {
		if w.Replicas > 0 {
			b.Add(site.KindWriterDown, w.Path(), fmt.Sprintf("scale writer %s from %d to 0 (%s)", w.Path(), w.Replicas, w.Why), plan.Back(fmt.Sprintf("scale it back to %d", w.Replicas)), plan.Outage)
		}
	}
	b.Add(site.KindQuiet, "", "wait until the writers are gone and nothing else writes; check the revision again", plan.Outage)
	b.Add(site.KindEtcdDown, sh.StatefulSet, fmt.Sprintf("scale %s from %d to 0", set, sh.Replicas), plan.Back(fmt.Sprintf("scale it back to %d and wait for it", sh.Replicas)), plan.Outage)
	r.exchanges(b)
}

// exchanges adds the steps between etcd's end and its start.
func (r *way) exchanges(b *plan.Builder) {
	sh := r.Shared
	if sh.StageLate {
		r.AddInspect(b, plan.Outage)
	}
	for _, m := range sh.Members {
		switch {
		case sh.DiscardOld:
			b.Add(site.KindDrop, m.Name, fmt.Sprintf("member %s: delete the old data for good", m.Name), plan.Outage, plan.Commit)
			b.Add(site.KindBuild, m.Name, fmt.Sprintf("member %s: upload the snapshot and build the new data", m.Name), plan.Outage)
		case sh.StageLate:
			b.Add(site.KindBuild, m.Name, fmt.Sprintf("member %s: upload the snapshot and build the new data beside the old", m.Name), plan.Back("remove what was built"), plan.Outage)
		}
	}
	for _, m := range sh.Members {
		b.Add(site.KindSwitch, m.Name, fmt.Sprintf("member %s: exchange old data and new", m.Name), plan.Back("exchange them back"), plan.Outage)
	}
	if sh.StageLate {
		b.Add(site.KindRelease, "", "remove the utility pods: etcd's need the volumes", plan.Outage)
	}
}

func (r *way) Start(b *plan.Builder) {
	b.Add(site.KindEtcdUp, r.Shared.StatefulSet, fmt.Sprintf("scale StatefulSet %s to %d; wait until all members are one healthy cluster", r.Shared.StatefulSet, r.Shared.Replicas), plan.Back("scale it to 0"), plan.Outage)
}

func (r *way) Serve(b *plan.Builder) {
	for _, w := range r.sc.Writers {
		if w.Replicas > 0 {
			b.Add(site.KindWriterUp, w.Path(), fmt.Sprintf("scale writer %s back to %d", w.Path(), w.Replicas), plan.Outage, plan.Commit)
		}
	}
	b.Add(site.KindServe, "", "wait until all writers are ready", plan.Outage, plan.Commit)
	if hosting.DeletesClaims(r.h.Set) {
		b.Add(site.KindRetainBack, r.Shared.StatefulSet, "StatefulSet "+r.Shared.StatefulSet+": put its retention policy back")
	}
}

func (r *way) After(b *plan.Builder) {
	if r.h.Recreate {
		b.Add(site.KindOrdered, r.Shared.StatefulSet, "StatefulSet "+r.Shared.StatefulSet+": recreate it as it was; its pods go on")
	}
	for _, pdb := range r.h.Budgets {
		b.Add(site.KindBudgetBack, pdb.Namespace+"/"+pdb.Name, "create disruption budget "+pdb.Name+" again")
	}
	if r.Shared.Hosted != nil {
		b.Add(site.KindUnpause, r.Shared.Hosted.Cluster, "HyperShift goes on, or stays paused, as before")
	}
}

func (r *way) Actions() map[string]plan.Action {
	return map[string]plan.Action{
		site.KindRelease:    site.Action{Forth: func(ctx context.Context, _ *plan.Task) error { return r.CloseStages(ctx) }},
		site.KindBudgetAway: site.Action{Forth: r.budgetAway, Back: func(ctx context.Context, t *plan.Task) error { return r.budgetCreate(ctx, t.Step) }},
		site.KindBudgetBack: site.Action{Forth: r.budgetBack},
		site.KindPause:      site.Action{Forth: r.pause, Back: func(ctx context.Context, t *plan.Task) error { return r.unpause(ctx, t.Step) }},
		site.KindUnpause:    site.Action{Forth: func(ctx context.Context, _ *plan.Task) error { return r.unpause(ctx, r.StepOf(site.KindPause)) }},
		site.KindParallel:   site.Action{Forth: r.parallel, Back: func(ctx context.Context, t *plan.Task) error { return r.parallelBack(ctx, t.Step) }},
		site.KindOrdered:    site.Action{Forth: func(ctx context.Context, _ *plan.Task) error { return r.parallelBack(ctx, r.StepOf(site.KindParallel)) }},
		site.KindRetain:     site.Action{Forth: r.retain, Back: func(ctx context.Context, t *plan.Task) error { return r.retainBack(ctx, t.Step) }},
		site.KindRetainBack: site.Action{Forth: func(ctx context.Context, _ *plan.Task) error { return r.retainBack(ctx, r.StepOf(site.KindRetain)) }},
		site.KindWriterDown: site.Action{Forth: r.scaleDown, Back: func(ctx context.Context, t *plan.Task) error { return r.scaleBack(ctx, t.Step) }},
		site.KindWriterUp:   site.Action{Forth: r.scaleUp},
		site.KindQuiet:      site.Action{Forth: r.quiet},
		site.KindEtcdDown:   site.Action{Forth: r.etcdDown, Back: r.etcdBack},
		site.KindDrop:       site.Action{Forth: r.drop},
		site.KindSwitch:     site.Action{Forth: r.switchTo, Back: r.switchBack},
		site.KindEtcdUp:     site.Action{Forth: r.etcdUp, Back: r.etcdUnstart},
		site.KindServe:      site.Action{Forth: r.served},
	}
}

func (r *way) Gives(s plan.Step) bool {
	return slices.Contains([]string{site.KindWriterUp, site.KindRetainBack, site.KindOrdered, site.KindUnpause, site.KindBudgetBack}, s.Kind)
}

func (r *way) Abandonable(ctx context.Context) error { return r.EtcdRuns(ctx) }

func (r *way) Down(s plan.Step, ended func(kind, object string) bool) string {
	switch {
	case s.Kind == site.KindEtcdDown && !ended(site.KindEtcdUp, s.Object):
		return "etcd (StatefulSet " + s.Object + ")"
	case s.Kind == site.KindWriterDown:
		var rec replicasRecord
		if known, err := s.Recall(&rec); err == nil && known && !ended(site.KindWriterUp, s.Object) {
			return fmt.Sprintf("writer %s (had %d replicas)", s.Object, rec.Replicas)
		}
	case (s.Kind == site.KindParallel || s.Kind == site.KindOrdered) && s.State != plan.Done: // half of it, or of its undo
		return "StatefulSet " + s.Object + " (may be deleted, and not made again)"
	case s.Kind == site.KindPause && !ended(site.KindUnpause, s.Object):
		return "HyperShift for hosted cluster " + s.Object + " (paused)"
	case s.Kind == site.KindBudgetAway && len(s.Record) > 0 && !ended(site.KindBudgetBack, s.Object):
		return "disruption budget " + s.Object
	}
	return ""
}

func (r *way) Undone(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, againWithin)
	defer cancel()
	var down []string
	for _, s := range r.Operation.Steps {
		if s.Kind == site.KindWriterDown && len(s.Record) > 0 {
			down = append(down, s.Object)
		}
	}
	if _, err := r.WritersReady(ctx, down); err != nil {
		r.Deps.Report.Warn("%v", err)
	}
}

// againWithin is less than a user waits for one workload: this comes after everything else.
const againWithin = 2 * time.Minute

// other is the step that a later one takes its record from: "writer-up/x" from "writer-down/x".
func other(o *plan.Operation, s *plan.Step, kind string) *plan.Step {
	_, object, _ := strings.Cut(s.ID, "/")
	return o.Step(kind + "/" + object)
}
