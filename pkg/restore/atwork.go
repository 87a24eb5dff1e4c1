package restore

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/operation"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
)

// Locked says who is at an operation that is unfinished, and when that client was last heard of; or what to type.
func Locked(ctx context.Context, d Deps, o *plan.Operation) (string, error) {
	namespace, _ := splitName(o.Target)
	who, silent, err := d.locker().AtWork(ctx, o.Target)
	switch {
	case apierrors.IsForbidden(err):
		return fmt.Sprintf("%s: who works on it may not be read here; %s", o.ID, goOn(o, namespace)), nil
	case err != nil:
		return "", err
	case who == "":
		return fmt.Sprintf("%s: no client works on it; %s", o.ID, goOn(o, namespace)), nil
	}
	said := fmt.Sprintf("%s: in progress by %s, last heard of %s ago", o.ID, who, silent)
	if silent > operation.LeaseFor {
		said += "; " + goOn(o, namespace)
	}
	return said, nil
}

// inTheWay refuses something because of an operation that is unfinished, and says who is at that and what to type.
func inTheWay(ctx context.Context, d Deps, o *plan.Operation, reason string) error {
	namespace, _ := splitName(o.Target)
	next := goOn(o, namespace)
	who, silent, err := d.locker().AtWork(ctx, o.Target)
	switch {
	case err != nil: // what to type does not depend on it
		return refuse(next, "%s; who works on it cannot be seen: %v", reason, err)
	case who == "":
		return refuse(next, "%s; no client works on it", reason)
	case silent > operation.LeaseFor:
		return refuse(next, "%s; it was in progress by %s, last heard of %s ago", reason, who, silent)
	}
	return refuse(operation.WhileItLives(namespace, o.ID)+next, "%s; in progress by %s, last heard of %s ago", reason, who, silent)
}

// goOn says what can be typed about an operation that is unfinished.
func goOn(o *plan.Operation, namespace string) string {
	back := fmt.Sprintf("undo it with: kubectl etcd restore undo -n %s %s", namespace, o.ID)
	switch {
	case empty(o):
		back = fmt.Sprintf("put another snapshot in its place with: kubectl etcd restore %s --from SNAPSHOT", o.Target)
	case o.Committed():
		back = fmt.Sprintf("give it up with: kubectl etcd restore abandon -n %s %s", namespace, o.ID)
	}
	return fmt.Sprintf("finish it with: kubectl etcd restore resume -n %s %s, or %s", namespace, o.ID, back)
}
