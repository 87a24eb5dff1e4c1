package restore

import (
	"context"
	"fmt"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
)

// Plan is the plan of a restore.
func (r *Run) Plan(sc *Scene) ([]plan.Step, error) {
	b := plan.NewBuilder(r.Actions())
	if r.Shared.StageLate {
		b.Add(site.KindAsk, "", "start a utility pod beside a member, without its volume; ask whether the snapshot is of this cluster", plan.Back(backInspect))
	} else {
		r.AddInspect(b)
	}
	r.Way.Check(b)
	if r.Config.Safety != "" {
		b.Add(site.KindSafety, "", "back up what answers now, into "+r.Config.Safety)
	}
	for _, m := range r.Shared.Members {
		if !r.Shared.DiscardOld && !r.Shared.StageLate {
			b.Add(site.KindBuild, m.Name, fmt.Sprintf("member %s: upload the snapshot and build the new data beside the old; etcd goes on", m.Name), plan.Back("remove what was built"))
		}
	}
	r.Way.Stop(b)
	r.Way.Start(b)
	var outage []plan.Option
	if !r.Way.Serving() {
		outage = append(outage, plan.Outage)
	}
	b.Add(site.KindAlarms, "", "disarm alarms that came with the snapshot", outage...)
	r.Way.Serve(b)
	if sc.Access != nil {
		b.Add(site.KindCaches, "", "ask every API server whether it has read everything anew; restart one that has not; count the objects")
	}
	r.Way.After(b)
	for _, w := range sc.Controllers {
		if w.Replicas > 0 {
			b.Add(site.KindRestart, w.Path(), fmt.Sprintf("restart the pods of %s, so that they read everything anew", w.ID()))
		}
	}
	b.Add(site.KindCompare, "", "compare the members' data at one revision")
	b.Add(site.KindFinish, "", "remove the utility pods; the old data stays on the volumes")
	return b.Steps()
}

const backInspect = "remove the utility pods"

// AddInspect adds the step in which the volumes are looked at: at once, or when etcd has let go of them.
func (r *Run) AddInspect(b *plan.Builder, options ...plan.Option) {
	what := "start a utility pod at each member's volume; look at data, space and revisions"
	if r.Config.Hot {
		what = "start a utility pod at each member's volume, with hostPID; look at data, space and revisions"
	}
	b.Add(site.KindInspect, "", what, append(options, plan.Back(backInspect))...)
}

// Actions are what the kinds of steps do: those of every restore, and those of its way.
func (r *Run) Actions() map[string]plan.Action {
	all := map[string]plan.Action{
		site.KindInspect: site.Action{Forth: r.inspect, Back: func(ctx context.Context, _ *plan.Task) error { return r.CloseStages(ctx) }},
		site.KindAsk:     site.Action{Forth: r.ask, Back: func(ctx context.Context, _ *plan.Task) error { return r.CloseStages(ctx) }},
		site.KindSafety:  site.Action{Forth: r.safety},
		site.KindBuild:   site.Action{Forth: r.build, Back: r.discard},
		site.KindAlarms:  site.Action{Forth: r.alarms},
		site.KindCompare: site.Action{Forth: r.Compare},
		site.KindRestart: site.Action{Forth: r.restart},
		site.KindCaches:  site.Action{Forth: r.caches},
		site.KindFinish:  site.Action{Forth: func(ctx context.Context, _ *plan.Task) error { return r.CloseStages(ctx) }},
	}
	for kind, action := range r.Way.Actions() {
		if _, twice := all[kind]; twice {
			panic("restore: two actions for steps of kind " + kind)
		}
		all[kind] = action
	}
	return all
}
