package restore

import (
	"context"
	"errors"
	"fmt"
	"strings"

	policyv1 "k8s.io/api/policy/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/await"
)

// leavingError says that a budget is being deleted: there can be none of its name until what holds it lets go of it.
type leavingError struct {
	budget *policyv1.PodDisruptionBudget // nil: it has gone this moment
}

func (e *leavingError) Error() string {
	if e.budget == nil || len(e.budget.Finalizers) == 0 {
		return "it is being deleted"
	}
	return "it is being deleted, and has " + finalizers(e.budget)
}

func finalizers(b *policyv1.PodDisruptionBudget) string {
	if len(b.Finalizers) == 1 {
		return "the finalizer " + b.Finalizers[0]
	}
	return "the finalizers " + strings.Join(b.Finalizers, ", ")
}

// staysAsItIs is said of a budget that would be gone only when somebody else lets go of it: to delete it could not be
// taken back. A restore evicts no pods, and can do with it.
func staysAsItIs(b *policyv1.PodDisruptionBudget) string {
	return fmt.Sprintf("disruption budget %s/%s has %s, without which it cannot be deleted: it stays as it is", b.Namespace, b.Name, finalizers(b))
}

// budgetAnew creates a budget. One of its name that is being deleted would vanish later: until then it is waited for.
func (r *run) budgetAnew(ctx context.Context, saved *policyv1.PodDisruptionBudget) error {
	var leaving *leavingError
	err := await.Until(ctx, r.cfg.Timeout, fmt.Sprintf("disruption budget %s/%s can be created again", saved.Namespace, saved.Name), func(ctx context.Context) (string, bool, error) {
		err := r.c.CreateBudget(ctx, saved)
		switch {
		case errors.As(err, &leaving):
			return err.Error(), false, nil
		case err != nil:
			leaving = nil
			if ctx.Err() == nil {
				err = await.Stop(err)
			}
			return "", false, err
		}
		return "", true, nil
	})
	if err == nil || leaving == nil || ctx.Err() != nil {
		return err
	}
	return refuse(fmt.Sprintf("have it let go of, and go on; whoever holds it may be gone: kubectl patch poddisruptionbudget -n %s %s --type=merge -p '{\"metadata\":{\"finalizers\":null}}'",
		saved.Namespace, saved.Name), "%v", err)
}
