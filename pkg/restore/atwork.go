package restore

import (
	"context"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
)

// atWork is who holds the lock of a control plane ("" is nobody), and for how long that client has been silent, by its own clock.
func atWork(ctx context.Context, d Deps, target string) (who string, silent time.Duration, err error) {
	namespace, plane := splitName(target)
	lease, err := d.Coord.Leases(namespace).Get(ctx, lockName(plane), metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return "", 0, nil
	case err != nil:
		return "", 0, fmt.Errorf("read lock %s: %w", lockName(plane), err)
	case lease.Spec.RenewTime == nil:
		return "", 0, nil
	}
	silent = max(d.Now().Sub(lease.Spec.RenewTime.Time), 0).Round(time.Second)
	return value(lease.Spec.HolderIdentity), silent, nil
}

// Locked says who is at an operation that has not ended, and when that client was last heard of; or what to type.
func Locked(ctx context.Context, d Deps, o *plan.Operation) (string, error) {
	namespace, _ := splitName(o.Target)
	who, silent, err := atWork(ctx, d, o.Target)
	switch {
	case apierrors.IsForbidden(err):
		return fmt.Sprintf("%s: who is at it may not be read here; %s", o.ID, goOn(o, namespace)), nil
	case err != nil:
		return "", err
	case who == "":
		return fmt.Sprintf("%s: nobody is at it; %s", o.ID, goOn(o, namespace)), nil
	}
	said := fmt.Sprintf("%s: at it is %s, last heard of %s ago", o.ID, who, silent)
	if silent > leaseFor {
		said += "; " + goOn(o, namespace)
	}
	return said, nil
}

// inTheWay refuses something because of an operation that has not ended, and says who is at that and what to type.
func inTheWay(ctx context.Context, d Deps, o *plan.Operation, reason string) error {
	namespace, _ := splitName(o.Target)
	next := goOn(o, namespace)
	who, silent, err := atWork(ctx, d, o.Target)
	switch {
	case err != nil: // what to type does not depend on it
		return refuse(next, "%s; who is at it cannot be seen: %v", reason, err)
	case who == "":
		return refuse(next, "%s; nobody is at it", reason)
	case silent > leaseFor:
		return refuse(next, "%s; at it was %s, last heard of %s ago", reason, who, silent)
	}
	return refuse(whileItLives(namespace, o.ID)+next, "%s; at it is %s, last heard of %s ago", reason, who, silent)
}

// whileItLives is what to do about a client that lives.
func whileItLives(namespace, id string) string {
	return fmt.Sprintf("wait until that client has ended, or press Ctrl-C there; how far it is says: kubectl etcd restore status -n %s %s; if it is gone, ", namespace, id)
}

// busyError says that another client holds the lock.
type busyError struct {
	lock, namespace, holder string
	since                   time.Time
}

func (e *busyError) Error() string {
	return fmt.Sprintf("lock %s: %v: %s, since %s", e.lock, ErrBusy, e.holder, e.since.UTC().Format(time.RFC3339))
}
func (e *busyError) Unwrap() error { return ErrBusy }

// Hint says what to do about that client.
func (e *busyError) Hint() string {
	_, id, _ := strings.Cut(e.holder, "(operation ")
	id, _, _ = strings.Cut(id, ",")
	return whileItLives(e.namespace, id) + fmt.Sprintf("try again %s after its last sign of life", leaseFor)
}

// goOn says what can be typed about an operation that has not ended.
func goOn(o *plan.Operation, namespace string) string {
	back := fmt.Sprintf("take it back with: kubectl etcd restore undo -n %s %s", namespace, o.ID)
	switch {
	case empty(o):
		back = fmt.Sprintf("put another snapshot in its place with: kubectl etcd restore %s --from SNAPSHOT", o.Target)
	case o.Committed():
		back = fmt.Sprintf("give it up with: kubectl etcd restore abandon -n %s %s", namespace, o.ID)
	}
	return fmt.Sprintf("finish it with: kubectl etcd restore resume -n %s %s, or %s", namespace, o.ID, back)
}
