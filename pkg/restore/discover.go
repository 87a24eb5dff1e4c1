package restore

import (
	"context"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/survey"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/userapi"
)

// scene is what a restore finds before it begins.
type scene struct {
	set     *appsv1.StatefulSet
	survey  *survey.Survey
	writers []controlplane.Writer
	// unsure may be writers, and nobody has said so yet.
	unsure []controlplane.Writer
	// controllers hold caches, but write through API servers only.
	controllers []controlplane.Writer
	budgets     []policyv1.PodDisruptionBudget
	access      *userapi.Access // to the restored cluster's own API; nil where there is none
	hosted      *hostedCluster  // HyperShift's; nil elsewhere
	exclusive   string          // a claim that is one pod's at a time, if there is one
	recreate    bool            // the StatefulSet starts its pods one after the other
	// skipped are left out, because the user says so.
	skipped []controlplane.Member
	notes   []string
}

// look reads everything that the plan depends on, and refuses what cannot be restored.
func look(ctx context.Context, d Deps, cfg Config) (*scene, error) {
	if err := supported(cfg); err != nil {
		return nil, err
	}
	sc := &scene{}
	var err error
	if sc.set, err = d.Apps.StatefulSets(cfg.Plane.Namespace).Get(ctx, cfg.Plane.Owner.Name, metav1.GetOptions{}); err != nil {
		return nil, fmt.Errorf("read statefulset %s: %w", cfg.Plane.Owner.Name, err)
	}
	sc.recreate = ordered(sc.set)
	if sc.skipped, err = chosen(cfg.Plane, cfg.Skip); err != nil {
		return nil, err
	}
	if err := sc.restorable(cfg); err != nil {
		return nil, err
	}
	for _, m := range cfg.Plane.Members {
		if !sc.skips(m.Name) && sc.exclusive == "" {
			if sc.exclusive, err = (kube{d, cfg.Reach}).exclusive(ctx, m); err != nil {
				return nil, err
			}
		}
	}
	if sc.survey, err = survey.Take(ctx, survey.Sources(d.Clients, cfg.Plane, cfg.Reach), false); err != nil {
		return nil, fmt.Errorf("ask members: %w", err)
	}
	if err := sc.whole(cfg); err != nil {
		return nil, err
	}
	if sc.hosted, err = (kube{d, cfg.Reach}).Hosted(ctx, cfg.Plane); err != nil {
		return nil, err
	}
	if err := sc.findWriters(ctx, d, cfg); err != nil {
		return nil, err
	}
	if err := sc.letGo(cfg); err != nil {
		return nil, err
	}
	if sc.controllers, err = controlplane.Controllers(ctx, d.planes(), cfg.Plane); err != nil {
		return nil, fmt.Errorf("find controllers: %w", err)
	}
	if !cfg.KeepBudgets {
		if err := sc.findBudgets(ctx, d, cfg.Plane); err != nil {
			return nil, err
		}
	}
	var note string
	if sc.access, note = userapi.Find(ctx, d.Clients, cfg.Plane.Namespace, sc.writers, sc.controllers); note != "" {
		sc.notes = append(sc.notes, note)
	}
	return sc, sc.entitled(ctx, d.Clients, cfg.Plane, cfg.Reach.Username != "")
}

// restorable refuses what the steps could not carry out, before anything is made.
func (sc *scene) restorable(cfg Config) error {
	n := int32(1)
	if sc.set.Spec.Replicas != nil {
		n = *sc.set.Spec.Replicas
	}
	members := cfg.Plane.Members
	switch {
	case n == 0:
		return refuse(lookFirst(cfg.Plane), "restore %s: StatefulSet %s has 0 replicas", cfg.Plane.ID(), sc.set.Name)
	case int(n) != len(members):
		return fmt.Errorf("restore %s: StatefulSet %s has %d replicas, but %d members were found", cfg.Plane.ID(), sc.set.Name, n, len(members))
	case ordered(sc.set) && cfg.Hot:
		return refuse("leave out --hot", "restore %s: StatefulSet %s starts its pods one after the other (OrderedReady)", cfg.Plane.ID(), sc.set.Name)
	case ordered(sc.set) && deletesWithSet(sc.set):
		return refuse("set persistentVolumeClaimRetentionPolicy.whenDeleted to Retain first", "recreate StatefulSet %s: it deletes its volumes when it is deleted", sc.set.Name)
	case ordered(sc.set) && !cfg.Recreate:
		return refuse("pass --recreate-statefulset: it is deleted without its pods, created with podManagementPolicy: Parallel, and put back in the end",
			"restore %s: StatefulSet %s starts its pods one after the other (OrderedReady), and the first cannot get ready without the second", cfg.Plane.ID(), sc.set.Name)
	}
	for _, m := range members {
		switch {
		case sc.skips(m.Name):
		case m.DataVolume == nil || m.DataVolume.Kind == "emptyDir":
			return refuse("", "restore %s: member %s keeps its data in no volume that outlives its pod", cfg.Plane.ID(), m.Name)
		case m.WALDir != "" && !strings.HasPrefix(m.WALDir, m.DataDir+"/"):
			return refuse("", "restore %s: member %s has its write-ahead log elsewhere (%s), which cannot be restored yet", cfg.Plane.ID(), m.Name, m.WALDir)
		}
	}
	return nil
}

// findBudgets finds every budget that selects pods of etcd or of its writers.
func (sc *scene) findBudgets(ctx context.Context, d Deps, p controlplane.ControlPlane) error {
	pods := map[string][]labels.Set{p.Namespace: {labels.Set(sc.set.Spec.Template.Labels)}}
	for _, w := range sc.writers {
		pods[w.Namespace] = append(pods[w.Namespace], labels.Set(w.Template.Labels))
	}
	for ns, sets := range pods {
		list, err := d.Policy.PodDisruptionBudgets(ns).List(ctx, metav1.ListOptions{})
		if apierrors.IsForbidden(err) {
			sc.notes = append(sc.notes, fmt.Sprintf("disruption budgets in namespace %s may not be read, and stay as they are", ns))
			continue
		}
		if err != nil {
			return fmt.Errorf("list disruption budgets in %s: %w", ns, err)
		}
		for _, b := range list.Items {
			sel, err := metav1.LabelSelectorAsSelector(b.Spec.Selector)
			if err != nil {
				return fmt.Errorf("read disruption budget %s/%s: %w", ns, b.Name, err)
			}
			switch {
			case !slices.ContainsFunc(sets, func(s labels.Set) bool { return sel.Matches(s) }):
			case len(b.Finalizers) > 0:
				sc.notes = append(sc.notes, staysAsItIs(&b))
			default:
				sc.budgets = append(sc.budgets, b)
			}
		}
	}
	slices.SortFunc(sc.budgets, func(a, b policyv1.PodDisruptionBudget) int {
		return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name)
	})
	return nil
}

// quota is the smallest that is known of a member that is restored, in bytes; 0 where none is. What the pods have says
// nothing of pods that will be made of another template.
func (sc *scene) quota(hot bool) (least int64) {
	if st := sc.set.Status; !hot && st.UpdateRevision != st.CurrentRevision {
		return 0
	}
	for _, m := range sc.survey.Members {
		if m.Source != nil && !sc.skips(m.Source.Name) && m.Quota > 0 && (least == 0 || m.Quota < least) {
			least = m.Quota
		}
	}
	return least
}

// highest is the highest revision that a living member knows of, and the
// cluster's id. ok is false when nobody answers.
func (sc *scene) highest() (revision int64, cluster etcd.ID, ok bool) {
	for _, m := range sc.survey.Members {
		if m.Status != nil {
			revision, ok = max(revision, m.Status.Revision), true
			cluster = m.Status.ClusterID
		}
	}
	return revision, cluster, ok
}
