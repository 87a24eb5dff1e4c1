package hosted

import (
	"context"
	"errors"
	"fmt"

	policyv1 "k8s.io/api/policy/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/await"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore/hosting"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
)

// LeavingError says that a budget is being deleted: there can be none of its name until what holds it lets go of it.
type LeavingError struct {
	Budget *policyv1.PodDisruptionBudget // nil: it has gone this moment
}

func (e *LeavingError) Error() string {
	if e.Budget == nil || len(e.Budget.Finalizers) == 0 {
		return "it is being deleted"
	}
	return "it is being deleted, and has " + hosting.Finalizers(e.Budget)
}

// budgetAnew creates a budget. One of its name that is being deleted would vanish later: until then it is waited for.
func (r *way) budgetAnew(ctx context.Context, saved *policyv1.PodDisruptionBudget) error {
	var leaving *LeavingError
	err := await.Until(ctx, r.Timeout, fmt.Sprintf("disruption budget %s/%s can be created again", saved.Namespace, saved.Name), func(ctx context.Context) (string, bool, error) {
		err := r.k.CreateBudget(ctx, saved)
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
	return site.Refuse(fmt.Sprintf("have it let go of, and go on; whoever holds it may be gone: kubectl patch poddisruptionbudget -n %s %s --type=merge -p '{\"metadata\":{\"finalizers\":null}}'",
		saved.Namespace, saved.Name), "%v", err)
}
