package restore

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/await"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
)

// caches proves that every API server has read everything anew, and restarts one that has not: it would serve for ever
// what is no longer there. What cannot be asked is told, and stops nothing. The objects are counted before that, since somebody
// may compact etcd soon; but with a revision that the user chose only after it: a cache may know that one of another history.
func (r *Run) caches(ctx context.Context, _ *plan.Task) error {
	if !r.Shared.BumpAsked {
		if err := r.count(ctx); err != nil {
			return err
		}
	}
	if err := r.freshen(ctx); err != nil || !r.Shared.BumpAsked {
		return err
	}
	return r.count(ctx)
}

func (r *Run) freshen(ctx context.Context) error {
	for _, s := range r.Shared.Access.Servers {
		w, err := site.ParseWorkload(s.Object)
		if err != nil {
			return err
		}
		pods, err := r.Cluster.Pods(ctx, w)
		if err != nil {
			return err
		}
		for _, p := range pods {
			err := r.fresh(ctx, w, p.Name, s.Port)
			if err == nil {
				continue
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			var stale *staleError
			if !errors.As(err, &stale) {
				r.Deps.Report.Warn("%v", err)
				continue
			}
			r.Deps.Report.Warn("pod %s of %s has not read its %s anew: it is restarted", p.Name, w, stale.kind)
			if err := r.Restart(ctx, w, p); err != nil {
				return err
			}
			if err := r.Ready(ctx, w); err != nil {
				return err
			}
		}
	}
	return nil
}

// staleError is a cache from before the restore.
type staleError struct {
	kind     string
	revision int64
}

func (e *staleError) Error() string {
	return fmt.Sprintf("its %s are of revision %d", e.kind, e.revision)
}

// fresh waits until a pod's caches are of the restored history. Theirs is, by the computed bump, above all that was
// seen before; with a bump that the user chose, a cache can also be of a future that is no longer.
func (r *Run) fresh(ctx context.Context, w site.Workload, pod string, port int) error {
	low, high := r.Shared.Snapshot.Revision+r.Shared.Bump, int64(math.MaxInt64)
	var stale error // what a whole answer has last said, whatever came after it
	err := await.Until(ctx, r.CachesFor, "pod "+pod+" of "+w.String()+" has read everything anew", func(ctx context.Context) (string, bool, error) {
		revisions, err := r.API.Cached(ctx, *r.Shared.Access, w.Namespace, pod, port)
		if err != nil {
			return "", false, err
		}
		if r.Shared.BumpAsked {
			if high, err = r.live(ctx); err != nil {
				return "", false, err
			}
		}
		stale = nil
		for kind, rev := range revisions {
			if rev < low || rev > high {
				stale = &staleError{kind, rev}
			}
		}
		return "", stale == nil, stale
	})
	if err != nil && stale != nil {
		return stale
	}
	return err
}

// live is the members' revision now.
func (r *Run) live(ctx context.Context) (int64, error) {
	s, err := r.Survey(ctx)
	if err != nil {
		return 0, err
	}
	live := int64(0)
	for _, m := range s.Members {
		if m.Status != nil {
			live = max(live, m.Status.Revision)
		}
	}
	if live == 0 {
		return 0, errors.New("ask members: none answers")
	}
	return live, nil
}
