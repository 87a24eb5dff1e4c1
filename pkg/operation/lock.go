package operation

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/util/rand"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/await"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
)

// ErrBusy says that another client holds the lock, of whatever operation.
var ErrBusy = errors.New("another client holds it")

// LeaseFor is how long a lock outlives a client that was killed; it is renewed
// several times in that time.
const LeaseFor = 30 * time.Second

// Lock is a claim that says who works on a control plane.
type Lock struct {
	place Place
	claim Claim // as this client would have it: namespace, name, holder
	now   func() time.Time
	lost  context.Context // ends when it is another's, whatever becomes of the operation
	lose  context.CancelCauseFunc
	stop  context.CancelFunc
	done  sync.WaitGroup

	// Another's lock as it was last seen, and since when it has been so: by this machine's own time, since two machines'
	// clocks need not agree. silent says that by their clocks it is over.
	seen   string
	since  time.Time
	silent bool

	mu      sync.Mutex
	renewed time.Time // when this client has last made sure that it holds the lock
	journal Witness   // nil: there is none yet
	written int64     // at which revision this client has last written it; 0: not known
	reborn  int64     // see Reborn; 0: nothing was exchanged
	remade  bool      // since then
}

// Witness tells whether the journal is still as this client has written it.
type Witness interface {
	Ours(ctx context.Context) (same, exists bool, err error)
}

func lockName(plane string) string { return "kubectl-etcd-" + plane }

// Locker takes locks for one client.
type Locker struct {
	Place  Place
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
	l := &Lock{place: k.Place, now: k.Now, claim: Claim{Namespace: namespace, Name: lockName(plane), For: LeaseFor,
		Holder: fmt.Sprintf("%s (operation %s, client %s)", k.Holder, operation, rand.String(5))}}
	var fenced atomic.Bool
	pctx := context.WithValue(ctx, probe{}, &fenced)
	err := l.take(pctx)
	if (patience || l.silent) && errors.Is(err, ErrBusy) {
		k.Step("%v; waiting until that client has been silent for %s", err, LeaseFor)
		werr := await.Until(pctx, LeaseFor+LeaseFor/2, "the lock is free", func(ctx context.Context) (string, bool, error) {
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
	if !fenced.Load() {
		return nil, nil, errors.Join(errors.New("open operation: its clients are not fenced"), l.free(ctx))
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
	want := l.mine()
	asked := time.Now()
	c, err := l.place.CreateClaim(ctx, want)
	if err == nil {
		l.confirm(asked, c)
		return nil
	}
	if !errors.Is(err, ErrConflict) {
		return fmt.Errorf("create lock %s: %w", l.claim.Name, err)
	}
	old, err := l.place.Claim(ctx, l.claim.Namespace, l.claim.Name)
	if err != nil {
		return fmt.Errorf("read lock %s: %w", l.claim.Name, err)
	}
	if l.seen != old.Version {
		l.seen, l.since, l.silent = old.Version, time.Now(), expired(old, l.now())
	}
	if old.Holder != "" && old.Holder != l.claim.Holder && time.Since(l.since) < LeaseFor {
		return &BusyError{lock: old.Name, namespace: old.Namespace, holder: old.Holder, since: old.Since}
	}
	want.Version = old.Version
	if c, err = l.place.UpdateClaim(ctx, want); err != nil {
		return fmt.Errorf("take lock %s: %w", l.claim.Name, err)
	}
	l.confirm(asked, c)
	return nil
}

// mine is the lock of this client, taken now.
func (l *Lock) mine() Claim {
	c := l.claim
	c.Since = l.now()
	c.Renewed = c.Since
	return c
}

// confirm says that the lock was this client's when it asked.
func (l *Lock) confirm(asked time.Time, c Claim) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.renewed, l.written = asked, c.Revision
	if l.reborn > 0 && c.Revision > l.reborn && l.remade { // from here it is as any other
		l.reborn, l.remade = 0, false
	}
}

// expired goes by the clocks of both machines: reason enough to wait and see, not to take it.
func expired(c Claim, now time.Time) bool {
	return c.Renewed.IsZero() || c.For == 0 || now.Sub(c.Renewed) > c.For
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
	c, err := l.look(ctx)
	if err != nil {
		return err
	}
	c.Renewed = l.now()
	c, err = l.place.UpdateClaim(ctx, c)
	if errors.Is(err, ErrConflict) { // by this client's other hand, or by another client
		_, err = l.look(ctx)
		return err
	}
	if err != nil {
		return fmt.Errorf("renew lock %s: %w", l.claim.Name, err)
	}
	l.confirm(asked, c)
	return nil
}

// look reads the claim; the lock is lost if that is another's.
func (l *Lock) look(ctx context.Context) (Claim, error) {
	c, err := l.place.Claim(ctx, l.claim.Namespace, l.claim.Name)
	switch {
	case errors.Is(err, ErrNotThere):
		c, err = l.retake(ctx)
	case err == nil && c.Holder != l.claim.Holder && l.past(c):
		want := l.mine()
		want.Version = c.Version
		c, err = l.place.UpdateClaim(ctx, want)
		l.made(err)
	}
	if err == nil && c.Holder != l.claim.Holder {
		err = fmt.Errorf("%w: lock %s is held by %s", plan.ErrAbandoned, c.Name, c.Holder)
	}
	if errors.Is(err, plan.ErrAbandoned) {
		l.lose(err)
	}
	return c, err
}

// Reborn tells the lock of an operation that the etcd in which it lives is exchanged for a snapshot of that revision: then it is gone, and one
// that comes back with the snapshot is nobody's any more. It is made anew, unless another client has gone on with the operation since.
func Reborn(ctx context.Context, revision int64) {
	if l, ok := ctx.Value(lockKey{}).(*Lock); ok && l != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.written > revision { // otherwise a lock of now cannot be told from one of the snapshot's
			l.reborn = revision
		}
	}
}

// past tells whether a claim has come back with a snapshot.
func (l *Lock) past(c Claim) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return c.Revision > 0 && c.Revision <= l.reborn
}

// Watches names the journal by which this client knows, should its lock be deleted, whether another one was at work since.
func (l *Lock) Watches(j Witness) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.journal = j
}

// retake makes a lock again that somebody has deleted. Another client could have taken it, done its work and given it back:
// then the journal says so, or is gone as well.
func (l *Lock) retake(ctx context.Context) (c Claim, err error) {
	l.mu.Lock()
	journal, silent := l.journal, time.Since(l.renewed)
	if l.reborn > 0 { // nobody could hear anything meanwhile
		silent = 0
	}
	l.mu.Unlock()
	same, exists := false, true
	if journal != nil {
		if same, exists, err = journal.Ours(ctx); err != nil {
			return c, err
		}
	}
	switch {
	case exists && !same:
		return c, fmt.Errorf("%w: lock %s was deleted, and the journal is not as this client has left it", plan.ErrAbandoned, l.claim.Name)
	case !exists && silent > LeaseFor:
		return c, fmt.Errorf("%w: lock %s was deleted, and the journal, too", plan.ErrAbandoned, l.claim.Name)
	}
	c, err = l.place.CreateClaim(ctx, l.mine())
	if errors.Is(err, ErrConflict) {
		return l.place.Claim(ctx, l.claim.Namespace, l.claim.Name)
	}
	if err != nil {
		return c, fmt.Errorf("create lock %s again: %w", l.claim.Name, err)
	}
	l.made(nil)
	return c, nil
}

// made notes that the lock is there again after its etcd was exchanged.
func (l *Lock) made(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.remade = err == nil && l.reborn > 0
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
	return l.free(ctx)
}

// refusedFor is how long a refusal may be one of an API server that has just started, and does not know yet what is allowed.
const refusedFor = 10 * time.Second

// free looks again where the lock has changed meanwhile: a renewal that was broken off can still arrive.
func (l *Lock) free(ctx context.Context) error {
	for end := time.Now().Add(refusedFor); ; {
		c, err := l.place.Claim(ctx, l.claim.Namespace, l.claim.Name)
		if errors.Is(err, ErrNotThere) || err == nil && c.Holder != l.claim.Holder {
			return nil
		}
		if err == nil {
			err = l.place.DeleteClaim(ctx, c)
		}
		switch {
		case errors.Is(err, ErrConflict) && ctx.Err() == nil:
			continue
		case errors.Is(err, ErrRefused) && ctx.Err() == nil && time.Now().Before(end):
			time.Sleep(time.Second)
			continue
		case err != nil:
			return fmt.Errorf("release lock %s: %w", l.claim.Name, err)
		}
		return nil
	}
}
