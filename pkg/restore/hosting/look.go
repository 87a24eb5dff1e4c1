// Package hosting finds what runs a hosted control plane's etcd: its StatefulSet, its budgets, and the operators that put back what is
// changed. Both ways of restoring one stand on it.
package hosting

import (
	"context"
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"

	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/survey"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/userapi"
)

// Found is what runs a hosted control plane's etcd, as it was found.
type Found struct {
	Set      *appsv1.StatefulSet
	Budgets  []policyv1.PodDisruptionBudget
	Hosted   *site.HostedCluster // HyperShift's; nil elsewhere
	Recreate bool                // the StatefulSet starts its pods one after the other
}

// Share puts it into the journal.
func (h *Found) Share(sh *site.Shared) {
	sh.StatefulSet, sh.Replicas, sh.Hosted = h.Set.Name, ptr.Deref(h.Set.Spec.Replicas, 1), h.Hosted
}

// Look reads everything that the plan depends on, and refuses what cannot be restored.
func Look(ctx context.Context, r *restore.Run) (*restore.Scene, *Found, error) {
	d, cfg := r.Deps, r.Config
	if err := site.Supported(cfg.Plane, cfg.OperatorStopped); err != nil {
		return nil, nil, err
	}
	sc, h := &restore.Scene{}, &Found{}
	var err error
	if h.Set, err = d.Apps.StatefulSets(cfg.Plane.Namespace).Get(ctx, cfg.Plane.Owner.Name, metav1.GetOptions{}); err != nil {
		return nil, nil, fmt.Errorf("read statefulset %s: %w", cfg.Plane.Owner.Name, err)
	}
	sc.Pods, h.Recreate = restore.PodsOf(h.Set), ordered(h.Set)
	if sc.Skipped, err = site.Chosen(cfg.Plane, cfg.Skip); err != nil {
		return nil, nil, err
	}
	if err := h.restorable(sc, cfg); err != nil {
		return nil, nil, err
	}
	for _, m := range cfg.Plane.Members {
		if !sc.Skips(m.Name) && sc.Exclusive == "" {
			if sc.Exclusive, err = site.NewKube(d, cfg.Reach).Exclusive(ctx, m); err != nil {
				return nil, nil, err
			}
		}
	}
	if sc.Survey, err = survey.Take(ctx, survey.Sources(d.Clients, cfg.Plane, cfg.Reach), false); err != nil {
		return nil, nil, fmt.Errorf("ask members: %w", err)
	}
	if err := sc.Whole(cfg); err != nil {
		return nil, nil, err
	}
	if h.Hosted, err = hyperShiftOf(ctx, d, cfg.Plane); err != nil {
		return nil, nil, err
	}
	if err := sc.FindWriters(ctx, d, cfg); err != nil {
		return nil, nil, err
	}
	if err := h.letGo(sc, cfg); err != nil {
		return nil, nil, err
	}
	if sc.Controllers, err = controlplane.Controllers(ctx, d.Planes(), cfg.Plane); err != nil {
		return nil, nil, fmt.Errorf("find controllers: %w", err)
	}
	if !cfg.KeepBudgets {
		if err := h.findBudgets(ctx, sc, d, cfg.Plane); err != nil {
			return nil, nil, err
		}
	}
	var note string
	if sc.Access, note = userapi.Find(ctx, d.Clients, cfg.Plane.Namespace, sc.Writers, sc.Controllers); note != "" {
		sc.Notes = append(sc.Notes, note)
	}
	return sc, h, h.entitled(ctx, sc, d.Clients, cfg.Plane, cfg.Reach.Username != "")
}

// restorable refuses what the steps could not carry out, before anything is made.
func (h *Found) restorable(sc *restore.Scene, cfg restore.Config) error {
	n := int32(1)
	if h.Set.Spec.Replicas != nil {
		n = *h.Set.Spec.Replicas
	}
	members := cfg.Plane.Members
	switch {
	case n == 0:
		return site.Refuse(lookFirst(cfg.Plane), "restore %s: StatefulSet %s has 0 replicas", cfg.Plane.ID(), h.Set.Name)
	case int(n) != len(members):
		return fmt.Errorf("restore %s: StatefulSet %s has %d replicas, but %d members were found", cfg.Plane.ID(), h.Set.Name, n, len(members))
	case ordered(h.Set) && cfg.Hot:
		return site.Refuse("leave out --hot", "restore %s: StatefulSet %s starts its pods one after the other (OrderedReady)", cfg.Plane.ID(), h.Set.Name)
	case ordered(h.Set) && DeletesWithSet(h.Set):
		return site.Refuse("set persistentVolumeClaimRetentionPolicy.whenDeleted to Retain first", "recreate StatefulSet %s: it deletes its volumes when it is deleted", h.Set.Name)
	case ordered(h.Set) && !cfg.Recreate:
		return site.Refuse("pass --recreate-statefulset: it is deleted without its pods, created with podManagementPolicy: Parallel, and put back in the end",
			"restore %s: StatefulSet %s starts its pods one after the other (OrderedReady), and the first cannot get ready without the second", cfg.Plane.ID(), h.Set.Name)
	}
	for _, m := range members {
		switch {
		case sc.Skips(m.Name):
		case m.DataVolume == nil || m.DataVolume.Kind == "emptyDir":
			return site.Refuse("", "restore %s: member %s keeps its data in no volume that outlives its pod", cfg.Plane.ID(), m.Name)
		case m.WALDir != "" && !strings.HasPrefix(m.WALDir, m.DataDir+"/"):
			return site.Refuse("", "restore %s: member %s has its write-ahead log elsewhere (%s), which cannot be restored yet", cfg.Plane.ID(), m.Name, m.WALDir)
		}
	}
	return nil
}

// DeletesClaims tells whether its volumes go when it is scaled to 0.
func DeletesClaims(s *appsv1.StatefulSet) bool {
	p := s.Spec.PersistentVolumeClaimRetentionPolicy
	return p != nil && p.WhenScaled == appsv1.DeletePersistentVolumeClaimRetentionPolicyType
}

// ordered tells whether a StatefulSet starts its pods one after the other.
func ordered(s *appsv1.StatefulSet) bool {
	return ptr.Deref(s.Spec.Replicas, 1) > 1 && s.Spec.PodManagementPolicy != appsv1.ParallelPodManagement
}

// DeletesWithSet tells whether its volumes go when it goes.
func DeletesWithSet(s *appsv1.StatefulSet) bool {
	p := s.Spec.PersistentVolumeClaimRetentionPolicy
	return p != nil && p.WhenDeleted == appsv1.DeletePersistentVolumeClaimRetentionPolicyType
}

// lookFirst is what to do about an etcd that is scaled to 0: one that starts without its data is a new and empty one, and the
// right snapshot is then another cluster's.
func lookFirst(p controlplane.ControlPlane) string {
	return fmt.Sprintf("start it only with its data: whether a member's volume has it says kubectl etcd backup %s --raw --member %s; if all have it: kubectl -n %s scale statefulset/%s --replicas=%d; without, it would start empty",
		p.ID(), p.Members[0].Name, p.Namespace, p.Owner.Name, len(p.Members))
}
