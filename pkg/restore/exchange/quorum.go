package exchange

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/await"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
)

// quorum looks, beside all else that is done, for when the restored cluster serves.
type quorum struct {
	cancel context.CancelFunc
	asking sync.WaitGroup

	mu sync.Mutex
	at time.Time
}

// apiWithin is what an API server has for an answer while it may have no etcd.
const apiWithin = 2 * time.Second

// watchQuorum asks the control plane itself, where that can be asked, and else these members, each for itself: one that does not answer yet holds up
// nobody. The first that serves a linearizable read has a majority with it.
func (r *Exchange) watchQuorum(ctx context.Context, members []string) *quorum {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // it outlives the step in which it begins
	q := &quorum{cancel: cancel}
	watch := func(what string, serves func(context.Context) (bool, error)) {
		q.asking.Go(func() {
			_ = await.Until(ctx, r.Timeout, what, func(ctx context.Context) (string, bool, error) {
				ok, err := serves(ctx)
				if ok {
					q.note(r.Deps.Now())
				}
				return "", ok, err
			})
		})
	}
	if r.APIServes != nil {
		watch("the API serves", func(ctx context.Context) (bool, error) {
			ctx, cancel := context.WithTimeout(ctx, apiWithin)
			defer cancel()
			err := r.APIServes(ctx)
			return err == nil, err
		})
		return q
	}
	for _, m := range r.Plane.Members {
		p := r.Plane
		p.Members = []controlplane.Member{m}
		if slices.Contains(members, m.Name) {
			watch("member "+m.Name+" serves", func(ctx context.Context) (bool, error) {
				s, err := r.Cluster.Survey(ctx, p, false)
				return err == nil && r.Serves(s), err
			})
		}
	}
	return q
}

// note keeps the first moment, and ends what asks on.
func (q *quorum) note(at time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.at.IsZero() {
		q.at = at
	}
	q.cancel()
}

// seen is the moment, or now where it has been missed.
func (q *quorum) seen(now time.Time) time.Time {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.at.IsZero() {
		return now
	}
	return q.at
}

func (q *quorum) end() {
	q.cancel()
	q.asking.Wait()
}

// endQuorum gives the watch up, if there is one.
func (r *Exchange) endQuorum() {
	if r.quorum != nil {
		r.quorum.end()
		r.quorum = nil
	}
}
