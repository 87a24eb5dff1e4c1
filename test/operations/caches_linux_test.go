package operations

import (
	"context"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
)

// TestCaches: an API server that goes on serving what it knew is restarted, others are left alone.
func TestCaches(t *testing.T) {
	for name, c := range map[string]struct {
		bump  int64
		stale func(w *world, r *restore.Run) int64 // revision
		want  int                                  // restarts
	}{
		"all have read anew":      {-1, func(*world, *restore.Run) int64 { return 0 }, 0},
		"one is of the past":      {-1, func(w *world, _ *restore.Run) int64 { return w.before.Revision }, 1},
		"one is of a lost future": {0, func(w *world, _ *restore.Run) int64 { return w.before.Revision + 1000 }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 1)
			cl := w.client(-1)
			r := w.operate(cl)
			r.CachesFor = 500 * time.Millisecond
			if c.bump >= 0 {
				r.Shared.Bump, r.Shared.BumpAsked = c.bump, true
			}
			runner := runnerOf(r, cl)
			real := runner.Actions[site.KindCaches]
			runner.Actions[site.KindCaches] = site.Action{Forth: func(ctx context.Context, task *plan.Task) error {
				w.restored, w.stale, w.begun = r.Shared.Snapshot.Revision+r.Shared.Bump, c.stale(w, r), w.pods[apiserver]
				return real.Do(ctx, task)
			}}
			if err := runner.Run(t.Context(), r.Operation); err != nil {
				t.Fatal(err)
			}
			if got := w.pods[apiserver] - w.begun; got != c.want {
				t.Errorf("restarted %d times, want %d", got, c.want)
			}
		})
	}
}
