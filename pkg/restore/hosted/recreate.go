package hosted

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/await"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore/hosting"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
)

// An OrderedReady StatefulSet makes its second pod when the first is ready, and a
// restored member gets ready only together with others. The policy cannot be
// changed: so the StatefulSet is deleted without its pods, created with another
// policy, which adopts them, and in the end the same way back.

func (r *way) parallel(ctx context.Context, t *plan.Task) error {
	saved := &appsv1.StatefulSet{}
	known, err := t.Recall(saved)
	if err != nil {
		return err
	}
	if !known {
		if saved, err = r.k.Set(ctx, r.StatefulSet()); err != nil {
			return err
		}
		if saved == nil {
			return fmt.Errorf("read %s: it is gone", r.StatefulSet())
		}
		saved = bare(saved)
		if err := t.Remember(ctx, saved); err != nil {
			return err
		}
	}
	return r.recreate(ctx, saved, appsv1.ParallelPodManagement)
}

// parallelBack gives the StatefulSet its own policy again; rec is what parallel has recorded.
func (r *way) parallelBack(ctx context.Context, rec *plan.Step) error {
	if rec == nil {
		return nil
	}
	saved := &appsv1.StatefulSet{}
	if known, err := rec.Recall(saved); err != nil || !known {
		return err
	}
	return r.recreate(ctx, saved, saved.Spec.PodManagementPolicy)
}

// recreate makes the StatefulSet have that policy; its replicas and pods stay as they are.
func (r *way) recreate(ctx context.Context, saved *appsv1.StatefulSet, policy appsv1.PodManagementPolicyType) error {
	want := saved.DeepCopy()
	want.Spec.PodManagementPolicy = policy
	deleted := false
	return await.Until(ctx, r.Timeout, fmt.Sprintf("%s exists with policy %s", r.StatefulSet(), policy), func(ctx context.Context) (string, bool, error) {
		now, err := r.k.Set(ctx, r.StatefulSet())
		switch {
		case err != nil:
			return "", false, err
		case now == nil:
			return "it does not exist", false, r.k.CreateSet(ctx, want)
		case now.Spec.PodManagementPolicy == policy && now.DeletionTimestamp == nil:
			return "", true, nil
		case now.DeletionTimestamp != nil:
			return "it is being deleted", false, nil
		case deleted:
			return "", false, await.Stop(site.Refuse("pause what manages it, then restore again", "recreate %s: it was put back with policy %s by %s", r.StatefulSet(), now.Spec.PodManagementPolicy, r.Cluster.Reverted(ctx, r.StatefulSet())))
		}
		if hosting.DeletesWithSet(now) {
			return "", false, await.Stop(site.Refuse("", "recreate %s: it deletes its volumes when it is deleted", r.StatefulSet()))
		}
		// As it is now: it may have been changed since, by this restore itself or by others.
		want = bare(now)
		want.Spec.PodManagementPolicy = policy
		if err := r.k.DeleteSet(ctx, now); err != nil {
			return "", false, err
		}
		deleted = true
		return "it has policy " + string(now.Spec.PodManagementPolicy), false, nil
	})
}

// bare is a StatefulSet as somebody would apply it: its pods are adopted by their labels.
func bare(s *appsv1.StatefulSet) *appsv1.StatefulSet {
	return &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Name: s.Name, Namespace: s.Namespace, Labels: s.Labels, Annotations: s.Annotations, OwnerReferences: s.OwnerReferences, Finalizers: s.Finalizers},
		Spec:       *s.Spec.DeepCopy(),
	}
}
