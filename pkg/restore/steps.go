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

// steps is the plan of a restore of all members.
func steps(sc *scene, sh *Shared, cfg Config) []plan.Step {
	var out []plan.Step
	add := func(kind, object, what, back string, change ...func(*plan.Step)) {
		id := kind
		if object != "" {
			id += "/" + object
		}
		s := plan.Step{ID: id, Kind: kind, Object: object, What: what, Back: back, State: plan.Pending}
		for _, c := range change {
			c(&s)
		}
		out = append(out, s)
	}
	outage := func(s *plan.Step) { s.Outage = true }
	set := "StatefulSet " + sh.StatefulSet

	const whatInspect, backInspect = "start a utility pod at each member's volume; look at data, space and revisions", "remove the utility pods"
	if sh.StageLate {
		add(kindAsk, "", "start a utility pod beside a member, without its volume; ask whether the snapshot is of this cluster", backInspect)
	} else {
		add(kindInspect, "", whatInspect, backInspect)
	}
	if cfg.Safety != "" {
		add(kindSafety, "", "back up what answers now, into "+cfg.Safety, "")
	}
	for _, m := range sh.Members {
		if !sh.DiscardOld && !sh.StageLate {
			add(kindBuild, m.Name, fmt.Sprintf("member %s: upload the snapshot and build the new data beside the old; etcd goes on", m.Name), "remove what was built")
		}
	}
	if sh.Hosted != nil {
		add(kindPause, sh.Hosted.Cluster, "pause HyperShift for hosted cluster "+sh.Hosted.Cluster, "let it go on, or be paused, as before")
	}
	for _, b := range sc.budgets {
		add(kindBudgetAway, b.Namespace+"/"+b.Name, "delete disruption budget "+b.Name+", after saving it in the journal", "create it again")
	}
	if sc.recreate {
		add(kindParallel, sh.StatefulSet, set+": recreate it with podManagementPolicy Parallel; its pods go on", "recreate it as it was")
	}
	retain := deletesClaims(sc.set)
	if retain {
		add(kindRetain, sh.StatefulSet, set+": keep its volumes when it is scaled to 0", "put its retention policy back")
	}
	for _, w := range sc.writers {
		if w.Replicas > 0 {
			add(kindWriterDown, w.Path(), fmt.Sprintf("scale writer %s from %d to 0 (%s)", w.Path(), w.Replicas, w.Why), fmt.Sprintf("scale it back to %d", w.Replicas), outage)
		}
	}
	add(kindQuiet, "", "wait until the writers are gone and nothing else writes; check the revision again", "", outage)
	add(kindEtcdDown, sh.StatefulSet, fmt.Sprintf("scale %s from %d to 0", set, sh.Replicas), fmt.Sprintf("scale it back to %d and wait for it", sh.Replicas), outage)
	if sh.StageLate {
		add(kindInspect, "", whatInspect, backInspect, outage)
	}
	for _, m := range sh.Members {
		switch {
		case sh.DiscardOld:
			add(kindDrop, m.Name, fmt.Sprintf("member %s: delete the old data for good", m.Name), "", outage, func(s *plan.Step) { s.Commit = true })
			add(kindBuild, m.Name, fmt.Sprintf("member %s: upload the snapshot and build the new data", m.Name), "", outage)
		case sh.StageLate:
			add(kindBuild, m.Name, fmt.Sprintf("member %s: upload the snapshot and build the new data beside the old", m.Name), "remove what was built", outage)
		}
	}
	for _, m := range sh.Members {
		add(kindSwitch, m.Name, fmt.Sprintf("member %s: exchange old data and new", m.Name), "exchange them back", outage)
	}
	if sh.StageLate {
		add(kindRelease, "", "remove the utility pods: etcd's need the volumes", "", outage)
	}
	add(kindEtcdUp, sh.StatefulSet, fmt.Sprintf("scale %s to %d; wait until all members are one healthy cluster", set, sh.Replicas), "scale it to 0", outage)
	add(kindAlarms, "", "disarm alarms that came with the snapshot", "", outage)
	for _, w := range sc.writers {
		if w.Replicas > 0 {
			add(kindWriterUp, w.Path(), fmt.Sprintf("scale writer %s back to %d", w.Path(), w.Replicas), "", outage, func(s *plan.Step) { s.Commit = true })
		}
	}
	add(kindServe, "", "wait until all writers are ready", "", outage, func(s *plan.Step) { s.Commit = true })
	if retain {
		add(kindRetainBack, sh.StatefulSet, set+": put its retention policy back", "")
	}
	if sc.access != nil {
		add(kindCaches, "", whatCaches, "")
	}
	if sc.recreate {
		add(kindOrdered, sh.StatefulSet, set+": recreate it as it was; its pods go on", "")
	}
	for _, b := range sc.budgets {
		add(kindBudgetBack, b.Namespace+"/"+b.Name, "create disruption budget "+b.Name+" again", "")
	}
	if sh.Hosted != nil {
		add(kindUnpause, sh.Hosted.Cluster, "HyperShift goes on, or stays paused, as before", "")
	}
	for _, w := range sc.controllers {
		if w.Replicas > 0 {
			add(kindRestart, w.Path(), fmt.Sprintf("restart the pods of %s, so that they read everything anew", w.ID()), "")
		}
	}
	add(kindCompare, "", "compare the members' data at one revision", "")
	add(kindFinish, "", "remove the utility pods; the old data stays on the volumes", "")
	return out
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
