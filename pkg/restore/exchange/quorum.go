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

// watchQuorum asks these members, each for itself: one that does not answer yet holds up nobody. The first that serves a linearizable read has a
// majority with it.
func (r *Exchange) watchQuorum(ctx context.Context, members []string) *quorum {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // it outlives the step in which it begins
	q := &quorum{cancel: cancel}
	for _, m := range r.Plane.Members {
		if !slices.Contains(members, m.Name) {
			continue
		}
		p := r.Plane
		p.Members = []controlplane.Member{m}
		q.asking.Go(func() {
			_ = await.Until(ctx, r.Timeout, "member "+m.Name+" serves", func(ctx context.Context) (string, bool, error) {
				s, err := r.Cluster.Survey(ctx, p, false)
				if err != nil || !r.Serves(s) {
					return "", false, err
				}
				q.note(r.Deps.Now())
				return "", true, nil
			})
		})
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

// seen is the moment; zero where it has not been seen yet.
func (q *quorum) seen() time.Time {
	q.mu.Lock()
	defer q.mu.Unlock()
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
