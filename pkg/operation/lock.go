package operation

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	coordv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	coordv1client "k8s.io/client-go/kubernetes/typed/coordination/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/await"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
)

// ErrBusy says that another client holds the lock, of whatever operation.
var ErrBusy = errors.New("another client holds it")

// LeaseFor is how long a lock outlives a client that was killed; it is renewed
// several times in that time.
const LeaseFor = 30 * time.Second

// Lock is a Lease that says who works on a control plane.
type Lock struct {
	leases coordv1client.LeaseInterface
	name   string
	holder string
	now    func() time.Time
	lost   context.Context // ends when it is another's, whatever becomes of the operation
	lose   context.CancelCauseFunc
	stop   context.CancelFunc
	done   sync.WaitGroup

	// Another's lock as it was last seen, and since when it has been so: by this machine's own time, since two machines'
	// clocks need not agree. silent says that by their clocks it is over.
	seen   string
	since  time.Time
	silent bool

	mu      sync.Mutex
	renewed time.Time // when this client has last made sure that it holds the lock
	journal Witness   // nil: there is none yet
}

// Witness tells whether the journal is still as this client has written it.
type Witness interface {
	Ours(ctx context.Context) (same, exists bool, err error)
}

func lockName(plane string) string { return "kubectl-etcd-" + plane }

// Locker takes locks for one client.
type Locker struct {
	Coord  coordv1client.CoordinationV1Interface
	Holder string // who holds the lock, for people: user@machine
	Now    func() time.Time
	// Step is told what is waited for.
	Step func(format string, args ...any)
}

// Acquire takes the lock of a control plane, or says who has it and since when. With patience, or when
// the lock seems to be over, it waits until nobody has renewed it for as long as it
// lasts. The context it returns ends when the lock is lost.
func (k Locker) Acquire(ctx context.Context, namespace, plane, operation string, patience bool) (context.Context, *Lock, error) {
	// The suffix tells two clients apart that are process 1 of containers with one name.
	l := &Lock{leases: k.Coord.Leases(namespace), name: lockName(plane), holder: fmt.Sprintf("%s (operation %s, client %s)", k.Holder, operation, rand.String(5)), now: k.Now}
	err := l.take(ctx)
	if (patience || l.silent) && errors.Is(err, ErrBusy) {
		k.Step("%v; waiting until that client has been silent for %s", err, LeaseFor)
		werr := await.Until(ctx, LeaseFor+LeaseFor/2, "the lock is free", func(ctx context.Context) (string, bool, error) {
			err = l.take(ctx)
			return "", err == nil, err
		})
		if werr == nil || !errors.Is(err, ErrBusy) {
			err = werr
		}
	}
	if err != nil {
		return nil, nil, err
	}
	held, release := context.WithCancelCause(ctx)
	l.lost, l.lose = context.WithCancelCause(context.WithoutCancel(ctx))
	context.AfterFunc(l.lost, func() { release(context.Cause(l.lost)) })
	rctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	l.stop = stop
	l.done.Go(func() { l.keep(rctx) })
	return context.WithValue(held, lockKey{}, l), l, nil
}

// Lost ends with plan.ErrAbandoned as its cause when the lock is another's, whatever becomes of the operation.
func (l *Lock) Lost() context.Context { return l.lost }

func (l *Lock) take(ctx context.Context) error {
	want := l.spec()
	asked := time.Now()
	_, err := l.create(ctx)
	if err == nil {
		l.confirm(asked)
		return nil
	}
	if !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create lock %s: %w", l.name, err)
	}
	old, err := l.leases.Get(ctx, l.name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("read lock %s: %w", l.name, err)
	}
	if l.seen != old.ResourceVersion {
		l.seen, l.since, l.silent = old.ResourceVersion, time.Now(), expired(old, l.now())
	}
	if holder := value(old.Spec.HolderIdentity); holder != "" && holder != l.holder && time.Since(l.since) < LeaseFor {
		busy := &BusyError{lock: l.name, namespace: old.Namespace, holder: holder}
		if old.Spec.AcquireTime != nil {
			busy.since = old.Spec.AcquireTime.Time
		}
		return busy
	}
	old.Spec = want
	if _, err := l.leases.Update(ctx, old, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("take lock %s: %w", l.name, err)
	}
	l.confirm(asked)
	return nil
}

// spec is the lock of this client, taken now.
func (l *Lock) spec() coordv1.LeaseSpec {
	t := metav1.NewMicroTime(l.now())
	seconds := int32(LeaseFor / time.Second)
	return coordv1.LeaseSpec{HolderIdentity: &l.holder, LeaseDurationSeconds: &seconds, AcquireTime: &t, RenewTime: &t}
}

func (l *Lock) create(ctx context.Context) (*coordv1.Lease, error) {
	return l.leases.Create(ctx, &coordv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: l.name}, Spec: l.spec()}, metav1.CreateOptions{})
}

// confirm says that the lock was this client's when it asked.
func (l *Lock) confirm(asked time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.renewed = asked
}

// expired goes by the clocks of both machines: reason enough to wait and see, not to take it.
func expired(l *coordv1.Lease, now time.Time) bool {
	if l.Spec.RenewTime == nil || l.Spec.LeaseDurationSeconds == nil {
		return true
	}
	return now.Sub(l.Spec.RenewTime.Time) > time.Duration(*l.Spec.LeaseDurationSeconds)*time.Second
}

func (l *Lock) keep(ctx context.Context) {
	tick := time.NewTicker(LeaseFor / 5)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		// Any other error may pass: an API server that is away now may be back; another client can take the lock only through it.
		if err := l.renew(ctx, renewTimeout); errors.Is(err, plan.ErrAbandoned) {
			return
		}
	}
}

// renew gives other clients all their patience to wait anew; the lock is lost if it is another's.
func (l *Lock) renew(ctx context.Context, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(Unfenced(ctx), timeout)
	defer cancel()
	asked := time.Now()
	lease, err := l.look(ctx)
	if err != nil {
		return err
	}
	t := metav1.NewMicroTime(l.now())
	lease.Spec.RenewTime = &t
	_, err = l.leases.Update(ctx, lease, metav1.UpdateOptions{})
	if apierrors.IsConflict(err) { // by this client's other hand, or by another client
		_, err = l.look(ctx)
		return err
	}
	if err != nil {
		return fmt.Errorf("renew lock %s: %w", l.name, err)
	}
	l.confirm(asked)
	return nil
}

// look reads the lease; the lock is lost if that is another's.
func (l *Lock) look(ctx context.Context) (*coordv1.Lease, error) {
	lease, err := l.leases.Get(ctx, l.name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		lease, err = l.retake(ctx)
	}
	switch {
	case err == nil && value(lease.Spec.HolderIdentity) != l.holder:
		err = fmt.Errorf("%w: lock %s is held by %s", plan.ErrAbandoned, l.name, value(lease.Spec.HolderIdentity))
	}
	if errors.Is(err, plan.ErrAbandoned) {
		l.lose(err)
	}
	return lease, err
}

// Watches names the journal by which this client knows, should its lock be deleted, whether another one was at work since.
func (l *Lock) Watches(j Witness) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.journal = j
}

// retake makes a lock again that somebody has deleted. Another client could have taken it, done its work and given it back:
// then the journal says so, or is gone as well.
func (l *Lock) retake(ctx context.Context) (*coordv1.Lease, error) {
	l.mu.Lock()
	journal, silent := l.journal, time.Since(l.renewed)
	l.mu.Unlock()
	same, exists := false, true
	if journal != nil {
		var err error
		if same, exists, err = journal.Ours(ctx); err != nil {
			return nil, err
		}
	}
	switch {
	case exists && !same:
		return nil, fmt.Errorf("%w: lock %s was deleted, and the journal is not as this client has left it", plan.ErrAbandoned, l.name)
	case !exists && silent > LeaseFor:
		return nil, fmt.Errorf("%w: lock %s was deleted, and the journal, too", plan.ErrAbandoned, l.name)
	}
	lease, err := l.create(ctx)
	if apierrors.IsAlreadyExists(err) {
		return l.leases.Get(ctx, l.name, metav1.GetOptions{})
	}
	if err != nil {
		return nil, fmt.Errorf("create lock %s again: %w", l.name, err)
	}
	return lease, nil
}

// Held makes sure that the lock is still this client's, if it was not renewed for so long that another may have taken it.
func (l *Lock) Held(ctx context.Context) error {
	if l.lost.Err() != nil {
		return context.Cause(l.lost)
	}
	l.mu.Lock()
	renewed := l.renewed
	l.mu.Unlock()
	// By both clocks: the one stands still while the machine sleeps, the other can be set.
	if max(time.Since(renewed), time.Now().Round(0).Sub(renewed.Round(0))) <= LeaseFor/2 {
		return nil
	}
	err := l.renew(ctx, LeaseFor)
	if err != nil && l.lost.Err() != nil { // also when somebody else found it out
		return context.Cause(l.lost)
	}
	return err
}

// renewTimeout is for one renewal, so that a connection that swallows everything costs one and not all.
const renewTimeout = 5 * time.Second

// Release gives the lock back; it is bounded by ctx.
func (l *Lock) Release(ctx context.Context) error {
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
