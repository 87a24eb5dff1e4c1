package hosting

import (
	"context"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
)

// findBudgets finds every budget that selects pods of etcd or of its writers.
func (h *Found) findBudgets(ctx context.Context, sc *restore.Scene, d site.Deps, p controlplane.ControlPlane) error {
	pods := map[string][]labels.Set{p.Namespace: {labels.Set(h.Set.Spec.Template.Labels)}}
	for _, w := range sc.Writers {
		pods[w.Namespace] = append(pods[w.Namespace], labels.Set(w.Template.Labels))
	}
	for ns, sets := range pods {
		list, err := d.Policy.PodDisruptionBudgets(ns).List(ctx, metav1.ListOptions{})
		if apierrors.IsForbidden(err) {
			sc.Notes = append(sc.Notes, fmt.Sprintf("disruption budgets in namespace %s may not be read, and stay as they are", ns))
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
				sc.Notes = append(sc.Notes, StaysAsItIs(&b))
			default:
				h.Budgets = append(h.Budgets, b)
			}
		}
	}
	slices.SortFunc(h.Budgets, func(a, b policyv1.PodDisruptionBudget) int {
		return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name)
	})
	return nil
}

// Finalizers names a budget's, for people.
func Finalizers(b *policyv1.PodDisruptionBudget) string {
	if len(b.Finalizers) == 1 {
		return "the finalizer " + b.Finalizers[0]
	}
	return "the finalizers " + strings.Join(b.Finalizers, ", ")
}

// StaysAsItIs is said of a budget that would be gone only when somebody else lets go of it: to delete it could not be
// taken back. A restore evicts no pods, and can do with it.
func StaysAsItIs(b *policyv1.PodDisruptionBudget) string {
	return fmt.Sprintf("disruption budget %s/%s has %s, without which it cannot be deleted: it stays as it is", b.Namespace, b.Name, Finalizers(b))
}
