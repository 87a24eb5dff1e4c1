package restore

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
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

// leaseFor is how long a lock outlives a client that was killed; it is renewed
// several times in that time.
const leaseFor = 30 * time.Second

// lock is a Lease that says who works on a control plane.
type lock struct {
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
	journal witness   // nil: there is none yet
}

// witness tells whether the journal is still as this client has written it.
type witness interface {
	ours(ctx context.Context) (same, exists bool, err error)
}

func lockName(plane string) string { return "kubectl-etcd-" + plane }

// acquire takes the lock, or says who has it and since when. With patience, or when
// the lock seems to be over, it waits until nobody has renewed it for as long as it
// lasts. The context it returns ends when the lock is lost.
func acquire(ctx context.Context, d Deps, namespace, plane, operation string, patience bool) (context.Context, *lock, error) {
	// The suffix tells two clients apart that are process 1 of containers with one name.
	l := &lock{leases: d.Coord.Leases(namespace), name: lockName(plane), holder: fmt.Sprintf("%s (operation %s, client %s)", d.Holder, operation, rand.String(5)), now: d.Now}
	err := l.take(ctx)
	if (patience || l.silent) && errors.Is(err, ErrBusy) {
		d.Report.Step("%v; waiting until that client has been silent for %s", err, leaseFor)
		werr := await.Until(ctx, leaseFor+leaseFor/2, "the lock is free", func(ctx context.Context) (string, bool, error) {
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

func (l *lock) take(ctx context.Context) error {
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
	if holder := value(old.Spec.HolderIdentity); holder != "" && holder != l.holder && time.Since(l.since) < leaseFor {
		busy := &busyError{lock: l.name, namespace: old.Namespace, holder: holder}
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
func (l *lock) spec() coordv1.LeaseSpec {
	t := metav1.NewMicroTime(l.now())
	seconds := int32(leaseFor / time.Second)
	return coordv1.LeaseSpec{HolderIdentity: &l.holder, LeaseDurationSeconds: &seconds, AcquireTime: &t, RenewTime: &t}
}

func (l *lock) create(ctx context.Context) (*coordv1.Lease, error) {
	return l.leases.Create(ctx, &coordv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: l.name}, Spec: l.spec()}, metav1.CreateOptions{})
}

// confirm says that the lock was this client's when it asked.
func (l *lock) confirm(asked time.Time) {
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

func (l *lock) keep(ctx context.Context) {
	tick := time.NewTicker(leaseFor / 5)
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
func (l *lock) renew(ctx context.Context, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(unfenced(ctx), timeout)
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
func (l *lock) look(ctx context.Context) (*coordv1.Lease, error) {
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

// watches names the journal by which this client knows, should its lock be deleted, whether another one was at work since.
func (l *lock) watches(j witness) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.journal = j
}

// retake makes a lock again that somebody has deleted. Another client could have taken it, done its work and given it back:
// then the journal says so, or is gone as well.
func (l *lock) retake(ctx context.Context) (*coordv1.Lease, error) {
	l.mu.Lock()
	journal, silent := l.journal, time.Since(l.renewed)
	l.mu.Unlock()
	same, exists := false, true
	if journal != nil {
		var err error
		if same, exists, err = journal.ours(ctx); err != nil {
			return nil, err
		}
	}
	switch {
	case exists && !same:
		return nil, fmt.Errorf("%w: lock %s was deleted, and the journal is not as this client has left it", plan.ErrAbandoned, l.name)
	case !exists && silent > leaseFor:
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

// held makes sure that the lock is still this client's, if it was not renewed for so long that another may have taken it.
func (l *lock) held(ctx context.Context) error {
	if l.lost.Err() != nil {
		return context.Cause(l.lost)
	}
	l.mu.Lock()
	renewed := l.renewed
	l.mu.Unlock()
	// By both clocks: the one stands still while the machine sleeps, the other can be set.
	if max(time.Since(renewed), time.Now().Round(0).Sub(renewed.Round(0))) <= leaseFor/2 {
		return nil
	}
	err := l.renew(ctx, leaseFor)
	if err != nil && l.lost.Err() != nil { // also when somebody else found it out
		return context.Cause(l.lost)
	}
	return err
}

type lockKey struct{}

// Fence is for a rest.Config's Wrap: what changes something is sent only while the operation that sends it has its lock.
// A client that was stopped, or whose machine slept, does not know yet that another has gone on in its place.
func Fence(next http.RoundTripper) http.RoundTripper { return fence{next} }

type fence struct{ next http.RoundTripper }

func (f fence) RoundTrip(req *http.Request) (*http.Response, error) {
	if l, ok := req.Context().Value(lockKey{}).(*lock); ok && l != nil && changes(req) {
		if err := l.held(req.Context()); err != nil {
			return nil, err
		}
	}
	return f.next.RoundTrip(req)
}

// changes knows that an exec is a GET where it is a WebSocket: all that is done on a volume is one.
func changes(req *http.Request) bool {
	return req.Method != http.MethodGet || strings.HasSuffix(req.URL.Path, "/exec")
}

// unfenced is for what a client makes for itself, and has to remove whoever has the lock by then: its utility pods.
func unfenced(ctx context.Context) context.Context {
	return context.WithValue(ctx, lockKey{}, (*lock)(nil))
}

// WrappedRoundTripper lets client-go find the transport below.
func (f fence) WrappedRoundTripper() http.RoundTripper { return f.next }

// renewTimeout is for one renewal, so that a connection that swallows everything costs one and not all.
const renewTimeout = 5 * time.Second

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
