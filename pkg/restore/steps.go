package restore

import (
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
)

// The kinds of steps, which name their actions in the journal.
const (
	kindAsk        = "ask"
	kindInspect    = "inspect"
	kindSafety     = "safety"
	kindBuild      = "build"
	kindBudgetAway = "budget-away"
	kindBudgetBack = "budget-back"
	kindPause      = "pause"
	kindUnpause    = "unpause"
	kindParallel   = "parallel"
	kindOrdered    = "ordered"
	kindRetain     = "retain"
	kindRetainBack = "retain-back"
	kindWriterDown = "writer-down"
	kindWriterUp   = "writer-up"
	kindQuiet      = "quiet"
	kindEtcdDown   = "etcd-down"
	kindDrop       = "drop"
	kindSwitch     = "switch"
	kindRelease    = "release"
	kindEtcdUp     = "etcd-up"
	kindAlarms     = "alarms"
	kindServe      = "serve"
	kindCaches     = "caches"
	kindCompare    = "compare"
	kindRestart    = "restart"
	kindFinish     = "finish"
)

// planned is the plan of a restore.
func (r *run) planned(sc *scene) ([]plan.Step, error) {
	b := plan.NewBuilder(r.actions())
	if r.cfg.Hot {
		hotSteps(b, sc, r.sh, r.cfg)
	} else {
		steps(b, sc, r.sh, r.cfg)
	}
	return b.Steps()
}

// steps is the plan of a restore of all members.
func steps(b *plan.Builder, sc *scene, sh *Shared, cfg Config) {
	set := "StatefulSet " + sh.StatefulSet

	const whatInspect, backInspect = "start a utility pod at each member's volume; look at data, space and revisions", "remove the utility pods"
	if sh.StageLate {
		b.Add(kindAsk, "", "start a utility pod beside a member, without its volume; ask whether the snapshot is of this cluster", plan.Back(backInspect))
	} else {
		b.Add(kindInspect, "", whatInspect, plan.Back(backInspect))
	}
	if cfg.Safety != "" {
		b.Add(kindSafety, "", "back up what answers now, into "+cfg.Safety)
	}
	for _, m := range sh.Members {
		if !sh.DiscardOld && !sh.StageLate {
			b.Add(kindBuild, m.Name, fmt.Sprintf("member %s: upload the snapshot and build the new data beside the old; etcd goes on", m.Name), plan.Back("remove what was built"))
		}
	}
	if sh.Hosted != nil {
		b.Add(kindPause, sh.Hosted.Cluster, "pause HyperShift for hosted cluster "+sh.Hosted.Cluster, plan.Back("let it go on, or be paused, as before"))
	}
	for _, pdb := range sc.budgets {
		b.Add(kindBudgetAway, pdb.Namespace+"/"+pdb.Name, "delete disruption budget "+pdb.Name+", after saving it in the journal", plan.Back("create it again"))
	}
	if sc.recreate {
		b.Add(kindParallel, sh.StatefulSet, set+": recreate it with podManagementPolicy Parallel; its pods go on", plan.Back("recreate it as it was"))
	}
	retain := deletesClaims(sc.set)
	if retain {
		b.Add(kindRetain, sh.StatefulSet, set+": keep its volumes when it is scaled to 0", plan.Back("put its retention policy back"))
	}
	for _, w := range sc.writers {
		if w.Replicas > 0 {
			b.Add(kindWriterDown, w.Path(), fmt.Sprintf("scale writer %s from %d to 0 (%s)", w.Path(), w.Replicas, w.Why), plan.Back(fmt.Sprintf("scale it back to %d", w.Replicas)), plan.Outage)
		}
	}
	b.Add(kindQuiet, "", "wait until the writers are gone and nothing else writes; check the revision again", plan.Outage)
	b.Add(kindEtcdDown, sh.StatefulSet, fmt.Sprintf("scale %s from %d to 0", set, sh.Replicas), plan.Back(fmt.Sprintf("scale it back to %d and wait for it", sh.Replicas)), plan.Outage)
	if sh.StageLate {
		b.Add(kindInspect, "", whatInspect, plan.Back(backInspect), plan.Outage)
	}
	for _, m := range sh.Members {
		switch {
		case sh.DiscardOld:
			b.Add(kindDrop, m.Name, fmt.Sprintf("member %s: delete the old data for good", m.Name), plan.Outage, plan.Commit)
			b.Add(kindBuild, m.Name, fmt.Sprintf("member %s: upload the snapshot and build the new data", m.Name), plan.Outage)
		case sh.StageLate:
			b.Add(kindBuild, m.Name, fmt.Sprintf("member %s: upload the snapshot and build the new data beside the old", m.Name), plan.Back("remove what was built"), plan.Outage)
		}
	}
	for _, m := range sh.Members {
		b.Add(kindSwitch, m.Name, fmt.Sprintf("member %s: exchange old data and new", m.Name), plan.Back("exchange them back"), plan.Outage)
	}
	if sh.StageLate {
		b.Add(kindRelease, "", "remove the utility pods: etcd's need the volumes", plan.Outage)
	}
	b.Add(kindEtcdUp, sh.StatefulSet, fmt.Sprintf("scale %s to %d; wait until all members are one healthy cluster", set, sh.Replicas), plan.Back("scale it to 0"), plan.Outage)
	b.Add(kindAlarms, "", "disarm alarms that came with the snapshot", plan.Outage)
	for _, w := range sc.writers {
		if w.Replicas > 0 {
			b.Add(kindWriterUp, w.Path(), fmt.Sprintf("scale writer %s back to %d", w.Path(), w.Replicas), plan.Outage, plan.Commit)
		}
	}
	b.Add(kindServe, "", "wait until all writers are ready", plan.Outage, plan.Commit)
	if retain {
		b.Add(kindRetainBack, sh.StatefulSet, set+": put its retention policy back")
	}
	if sc.access != nil {
		b.Add(kindCaches, "", whatCaches)
	}
	if sc.recreate {
		b.Add(kindOrdered, sh.StatefulSet, set+": recreate it as it was; its pods go on")
	}
	for _, pdb := range sc.budgets {
		b.Add(kindBudgetBack, pdb.Namespace+"/"+pdb.Name, "create disruption budget "+pdb.Name+" again")
	}
	if sh.Hosted != nil {
		b.Add(kindUnpause, sh.Hosted.Cluster, "HyperShift goes on, or stays paused, as before")
	}
	for _, w := range sc.controllers {
		if w.Replicas > 0 {
			b.Add(kindRestart, w.Path(), fmt.Sprintf("restart the pods of %s, so that they read everything anew", w.ID()))
		}
	}
	b.Add(kindCompare, "", "compare the members' data at one revision")
	b.Add(kindFinish, "", "remove the utility pods; the old data stays on the volumes")
}

const whatCaches = "ask every API server whether it has read everything anew; restart one that has not; count the objects"

func deletesClaims(s *appsv1.StatefulSet) bool {
	p := s.Spec.PersistentVolumeClaimRetentionPolicy
	return p != nil && p.WhenScaled == appsv1.DeletePersistentVolumeClaimRetentionPolicyType
}

// other is the step that a later one takes its record from: "writer-up/x" from "writer-down/x".
func other(o *plan.Operation, s *plan.Step, kind string) *plan.Step {
	_, object, _ := strings.Cut(s.ID, "/")
	return o.Step(kind + "/" + object)
}
