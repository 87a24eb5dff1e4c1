package site

import (
	"context"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/operation"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
)

// Locked says who is at an operation that is unfinished, and when that client was last heard of; or what to type.
func Locked(ctx context.Context, d Deps, o *plan.Operation) (string, error) {
	namespace, _, _ := strings.Cut(o.Target, "/")
	who, silent, err := d.Locker().AtWork(ctx, o.Target)
	switch {
	case apierrors.IsForbidden(err):
		return fmt.Sprintf("%s: who works on it may not be read here; %s", o.ID, GoOn(o, namespace)), nil
	case err != nil:
		return "", err
	case who == "":
		return fmt.Sprintf("%s: no client works on it; %s", o.ID, GoOn(o, namespace)), nil
	}
	said := fmt.Sprintf("%s: in progress by %s, last heard of %s ago", o.ID, who, silent)
	if silent > operation.LeaseFor {
		said += "; " + GoOn(o, namespace)
	}
	return said, nil
}

// InTheWay refuses something because of an operation that is unfinished, and says who is at that and what to type.
func InTheWay(ctx context.Context, d Deps, o *plan.Operation, reason string) error {
	namespace, _, _ := strings.Cut(o.Target, "/")
	next := GoOn(o, namespace)
	who, silent, err := d.Locker().AtWork(ctx, o.Target)
	switch {
	case err != nil: // what to type does not depend on it
		return Refuse(next, "%s; who works on it cannot be seen: %v", reason, err)
	case who == "":
		return Refuse(next, "%s; no client works on it", reason)
	case silent > operation.LeaseFor:
		return Refuse(next, "%s; it was in progress by %s, last heard of %s ago", reason, who, silent)
	}
	return Refuse(operation.WhileItLives(namespace, o.ID)+next, "%s; in progress by %s, last heard of %s ago", reason, who, silent)
}

// GoOn says what can be typed about an operation that is unfinished.
func GoOn(o *plan.Operation, namespace string) string {
	back := fmt.Sprintf("undo it with: kubectl etcd restore undo -n %s %s", namespace, o.ID)
	switch {
	case Empty(o):
		back = fmt.Sprintf("put another snapshot in its place with: kubectl etcd restore %s --from SNAPSHOT", o.Target)
	case o.Committed():
		back = fmt.Sprintf("give it up with: kubectl etcd restore abandon -n %s %s", namespace, o.ID)
	}
	return fmt.Sprintf("finish it with: kubectl etcd restore resume -n %s %s, or %s", namespace, o.ID, back)
}
