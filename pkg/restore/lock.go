package restore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	coordv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordv1client "k8s.io/client-go/kubernetes/typed/coordination/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
)

// leaseFor is how long a lock outlives a client that was killed; it is renewed
// several times in that time.
const leaseFor = 30 * time.Second

// lock is a Lease that says who works on a control plane.
type lock struct {
	leases coordv1client.LeaseInterface
	name   string
	holder string
	stop   context.CancelFunc
	done   sync.WaitGroup
}

func lockName(plane string) string { return "kubectl-etcd-" + plane }

// acquire takes the lock, or says who has it and since when. With patience it waits
// until the lock of a client that was killed is over. The context it returns ends
// when the lock is lost.
func acquire(ctx context.Context, d Deps, namespace, plane, operation string, patience bool) (context.Context, *lock, error) {
	l := &lock{leases: d.Coord.Leases(namespace), name: lockName(plane), holder: d.Holder + " (operation " + operation + ")"}
	err := l.take(ctx, d.Now)
	if patience && errors.Is(err, ErrBusy) {
		d.Report.Step("%v; waiting until that client has been silent for %s", err, leaseFor)
		werr := wait(ctx, leaseFor+leaseFor/2, "the lock is free", func(ctx context.Context) (string, bool, error) {
			err = l.take(ctx, d.Now)
			return "", err == nil, err
		})
		if werr == nil || !errors.Is(err, ErrBusy) {
			err = werr
		}
	}
	if err != nil {
		return nil, nil, err
	}
	held, lost := context.WithCancelCause(ctx)
	rctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	l.stop = stop
	l.done.Go(func() { l.renew(rctx, d.Now, lost) })
	return held, l, nil
}

func (l *lock) take(ctx context.Context, now func() time.Time) error {
	t := metav1.NewMicroTime(now())
	seconds := int32(leaseFor / time.Second)
	want := coordv1.LeaseSpec{HolderIdentity: &l.holder, LeaseDurationSeconds: &seconds, AcquireTime: &t, RenewTime: &t}
	lease := &coordv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: l.name}, Spec: want}
	_, err := l.leases.Create(ctx, lease, metav1.CreateOptions{})
	if err == nil {
		return nil
	}
	if !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create lock %s: %w", l.name, err)
	}
	old, err := l.leases.Get(ctx, l.name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("read lock %s: %w", l.name, err)
	}
	if holder := value(old.Spec.HolderIdentity); holder != "" && holder != l.holder && !expired(old, now()) {
		return fmt.Errorf("lock %s: %w: %s, since %s", l.name, ErrBusy, holder, old.Spec.AcquireTime.UTC().Format(time.RFC3339))
	}
	old.Spec = want
	if _, err := l.leases.Update(ctx, old, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("take lock %s: %w", l.name, err)
	}
	return nil
}

// expired trusts the client's clock no further than it must: a lock that was
// renewed in what seems to be the future is held.
func expired(l *coordv1.Lease, now time.Time) bool {
	if l.Spec.RenewTime == nil || l.Spec.LeaseDurationSeconds == nil {
		return true
	}
	return now.Sub(l.Spec.RenewTime.Time) > time.Duration(*l.Spec.LeaseDurationSeconds)*time.Second
}

func (l *lock) renew(ctx context.Context, now func() time.Time, lost context.CancelCauseFunc) {
	tick := time.NewTicker(leaseFor / 5)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		lease, err := l.leases.Get(ctx, l.name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			lost(fmt.Errorf("%w: lock %s was deleted", plan.ErrAbandoned, l.name))
			return
		}
		if err != nil {
			continue // an API server that is away now may be back; another client can take the lock only through it
		}
		if value(lease.Spec.HolderIdentity) != l.holder {
			lost(fmt.Errorf("%w: lock %s is held by %s", plan.ErrAbandoned, l.name, value(lease.Spec.HolderIdentity)))
			return
		}
		t := metav1.NewMicroTime(now())
		lease.Spec.RenewTime = &t
		_, _ = l.leases.Update(ctx, lease, metav1.UpdateOptions{})
	}
}

// release gives the lock back; it is bounded by ctx.
func (l *lock) release(ctx context.Context) error {
	l.stop()
	l.done.Wait()
	lease, err := l.leases.Get(ctx, l.name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || err == nil && value(lease.Spec.HolderIdentity) != l.holder {
		return nil
	}
	if err == nil {
		err = l.leases.Delete(ctx, l.name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &lease.UID, ResourceVersion: &lease.ResourceVersion}})
	}
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("release lock %s: %w", l.name, err)
	}
	return nil
}

func value(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
