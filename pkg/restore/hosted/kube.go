package hosted

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore/hosting"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
)

// Workloads is what stopping and starting a hosted control plane does to the world, beyond what every operation does.
type Workloads interface {
	// Budget returns nil when there is none of that name.
	Budget(ctx context.Context, namespace, name string) (*policyv1.PodDisruptionBudget, error)
	DeleteBudget(ctx context.Context, b *policyv1.PodDisruptionBudget) error
	// CreateBudget does nothing when there is one, and returns a leavingError when that one is being deleted.
	CreateBudget(ctx context.Context, b *policyv1.PodDisruptionBudget) error

	Retention(ctx context.Context, w site.Workload) (*appsv1.StatefulSetPersistentVolumeClaimRetentionPolicy, error)
	SetRetention(ctx context.Context, w site.Workload, scaled appsv1.PersistentVolumeClaimRetentionPolicyType) error
	// Leaving names a volume claim that goes when its pod goes, or is going; "" when none does.
	Leaving(ctx context.Context, namespace string, pods []string) (string, error)

	// Set returns nil when there is no such StatefulSet; DeleteSet leaves its pods alone.
	Set(ctx context.Context, w site.Workload) (*appsv1.StatefulSet, error)
	DeleteSet(ctx context.Context, s *appsv1.StatefulSet) error
	CreateSet(ctx context.Context, s *appsv1.StatefulSet) error

	// PausedUntil is spec.pausedUntil of one of HyperShift's objects, SetPausedUntil changes a HostedCluster's; nil is none.
	PausedUntil(ctx context.Context, resource, id string) (*string, error)
	SetPausedUntil(ctx context.Context, id string, until *string) error
}

// hostedKube is the cluster that a kubeconfig names.
type hostedKube struct{ site.Deps }

func (k hostedKube) Budget(ctx context.Context, namespace, name string) (*policyv1.PodDisruptionBudget, error) {
	b, err := k.Policy.PodDisruptionBudgets(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read disruption budget %s/%s: %w", namespace, name, err)
	}
	return b, nil
}

func (k hostedKube) DeleteBudget(ctx context.Context, b *policyv1.PodDisruptionBudget) error {
	err := k.Policy.PodDisruptionBudgets(b.Namespace).Delete(ctx, b.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &b.UID}})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete disruption budget %s/%s: %w", b.Namespace, b.Name, err)
	}
	return nil
}

func (k hostedKube) CreateBudget(ctx context.Context, b *policyv1.PodDisruptionBudget) error {
	_, err := k.Policy.PodDisruptionBudgets(b.Namespace).Create(ctx, b, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		there, err := k.Budget(ctx, b.Namespace, b.Name)
		switch {
		case err != nil:
			return err
		case there == nil || there.DeletionTimestamp != nil:
			return &LeavingError{Budget: there}
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("create disruption budget %s/%s: %w", b.Namespace, b.Name, err)
	}
	return nil
}

func (k hostedKube) Set(ctx context.Context, w site.Workload) (*appsv1.StatefulSet, error) {
	s, err := k.Apps.StatefulSets(w.Namespace).Get(ctx, w.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", w, err)
	}
	return s, nil
}

func (k hostedKube) DeleteSet(ctx context.Context, s *appsv1.StatefulSet) error {
	orphan := metav1.DeletePropagationOrphan
	err := k.Apps.StatefulSets(s.Namespace).Delete(ctx, s.Name, metav1.DeleteOptions{PropagationPolicy: &orphan, Preconditions: &metav1.Preconditions{UID: &s.UID}})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete StatefulSet %s/%s without its pods: %w", s.Namespace, s.Name, err)
	}
	return nil
}

func (k hostedKube) CreateSet(ctx context.Context, s *appsv1.StatefulSet) error {
	_, err := k.Apps.StatefulSets(s.Namespace).Create(ctx, s, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create StatefulSet %s/%s: %w", s.Namespace, s.Name, err)
	}
	return nil
}

func (k hostedKube) Retention(ctx context.Context, w site.Workload) (*appsv1.StatefulSetPersistentVolumeClaimRetentionPolicy, error) {
	s, err := k.Apps.StatefulSets(w.Namespace).Get(ctx, w.Name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", w, err)
	}
	return s.Spec.PersistentVolumeClaimRetentionPolicy, nil
}

func (k hostedKube) SetRetention(ctx context.Context, w site.Workload, scaled appsv1.PersistentVolumeClaimRetentionPolicyType) error {
	for tries := 0; ; tries++ {
		s, err := k.Apps.StatefulSets(w.Namespace).Get(ctx, w.Name, metav1.GetOptions{})
		if err == nil {
			p := s.Spec.PersistentVolumeClaimRetentionPolicy
			if p == nil || p.WhenScaled == scaled {
				return nil
			}
			p.WhenScaled = scaled
			_, err = k.Apps.StatefulSets(w.Namespace).Update(ctx, s, metav1.UpdateOptions{})
		}
		if err == nil {
			return nil
		}
		if !apierrors.IsConflict(err) || tries == 5 {
			return fmt.Errorf("set retention policy of %s: %w", w, err)
		}
	}
}

func (k hostedKube) Leaving(ctx context.Context, namespace string, pods []string) (string, error) {
	list, err := k.Clients.Core.PersistentVolumeClaims(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", fmt.Errorf("list volume claims: %w", err)
	}
	for _, c := range list.Items {
		for _, o := range c.OwnerReferences {
			if o.Kind == "Pod" && slices.Contains(pods, o.Name) {
				return "claim " + c.Name + " is owned by pod " + o.Name, nil
			}
		}
		if c.DeletionTimestamp != nil && slices.ContainsFunc(pods, func(p string) bool { return strings.HasSuffix(c.Name, "-"+p) }) {
			return "claim " + c.Name + " is being deleted", nil
		}
	}
	return "", nil
}

func (k hostedKube) PausedUntil(ctx context.Context, resource, id string) (*string, error) {
	b, err := k.Clients.Core.RESTClient().Get().AbsPath(hosting.HyperShiftPath(resource, id)).DoRaw(ctx)
	if err != nil {
		return nil, fmt.Errorf("read %s %s: %w", resource, id, err)
	}
	h := hosting.HyperShift{}
	if err := json.Unmarshal(b, &h); err != nil {
		return nil, fmt.Errorf("read %s %s: %w", resource, id, err)
	}
	return h.Spec.PausedUntil, nil
}

func (k hostedKube) SetPausedUntil(ctx context.Context, id string, until *string) error {
	body, err := json.Marshal(map[string]any{"spec": map[string]any{"pausedUntil": until}})
	if err != nil {
		return err
	}
	_, err = k.Clients.Core.RESTClient().Patch(types.MergePatchType).AbsPath(hosting.HyperShiftPath(hosting.HostedClusters, id)).Body(body).DoRaw(ctx)
	if err != nil {
		return fmt.Errorf("set spec.pausedUntil of hosted cluster %s: %w", id, err)
	}
	return nil
}
