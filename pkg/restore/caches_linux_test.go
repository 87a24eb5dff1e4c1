package restore

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/userapi"
)

// TestCaches: an API server that goes on serving what it knew is restarted, others are left alone.
func TestCaches(t *testing.T) {
	defer func(d time.Duration) { cachesFor = d }(cachesFor)
	cachesFor = 500 * time.Millisecond
	for name, c := range map[string]struct {
		bump  int64
		stale func(w *world, r *run) int64 // revision
		want  int                          // restarts
	}{
		"all have read anew":      {-1, func(*world, *run) int64 { return 0 }, 0},
		"one is of the past":      {-1, func(w *world, _ *run) int64 { return w.before.Revision }, 1},
		"one is of a lost future": {0, func(w *world, _ *run) int64 { return w.before.Revision + 1000 }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 1)
			cl := w.client(-1)
			r := w.operate(cl)
			if c.bump >= 0 {
				r.sh.Bump, r.sh.BumpAsked = c.bump, true
			}
			runner := r.runner(cl)
			runner.Actions[kindCaches] = action{do: func(ctx context.Context, task *plan.Task) error {
				w.restored, w.stale, w.begun = r.sh.Snapshot.Revision+r.sh.Bump, c.stale(w, r), w.pods[apiserver]
				return r.caches(ctx, task)
			}}
			if err := runner.Run(t.Context(), r.op); err != nil {
				t.Fatal(err)
			}
			if got := w.pods[apiserver] - w.begun; got != c.want {
				t.Errorf("restarted %d times, want %d", got, c.want)
			}
		})
	}
}

// TestCount: what the API has at the restored revision is compared, and what it has not, or does not tell, is told.
func TestCount(t *testing.T) {
	defer func(d time.Duration) { countFor = d }(countFor)
	countFor = 500 * time.Millisecond
	want := map[string]int64{"pods": 3, "secrets": 2}
	const unknown = "! whether the API shows what the snapshot has is not known: "
	for name, c := range map[string]struct {
		shown map[string]int64
		at    int64 // how far the API's revision is from the restored one
		wrong string
		says  string
	}{
		"all are there":   {map[string]int64{"pods": 3, "secrets": 2}, 0, "", "the API shows what the snapshot has: 5 objects of 2 kinds"},
		"one is not":      {map[string]int64{"pods": 2, "secrets": 2}, 0, "2 pods of 3", "! the API does not show what the snapshot has: 2 pods of 3"},
		"two are others":  {map[string]int64{"pods": 0, "secrets": 4}, 0, "0 pods of 3, 4 secrets of 2", "! the API does not show what the snapshot has: 0 pods of 3, 4 secrets of 2"},
		"not to be seen":  {map[string]int64{"pods": 3}, 0, "", "! the API does not say how many it has of: secrets|the API shows what the snapshot has: 3 objects of 1 kinds"},
		"compacted":       {map[string]int64{"pods": 2}, 1, "", unknown + "etcd has been compacted since"},
		"does not answer": {nil, 0, "", unknown + "wait until an API server counts its objects: "},
	} {
		t.Run(name, func(t *testing.T) {
			w := &world{t: t, shown: c.shown, restored: 500 + c.at, pods: map[workload]int{}, replicas: map[workload]int32{apiserver: 1}}
			user := &told{}
			r := &run{d: Deps{Report: user}, c: w.client(-1), op: &plan.Operation{}, sh: &Shared{Bump: 100, Miscounted: "left by an earlier try", Snapshot: SnapshotRecord{Revision: 400, Objects: want},
				Access: &userapi.Access{Servers: []userapi.Server{{Object: testNamespace + "/StatefulSet/kube-apiserver", Port: 6443}}}}}
			if err := r.count(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := r.sh.Flaw(); r.sh.Miscounted != c.wrong || errors.Is(err, ErrMiscounted) != (c.wrong != "") {
				t.Errorf("%q, %v; want %q", r.sh.Miscounted, err, c.wrong)
			}
			if said := strings.Join(user.steps, "|"); !strings.HasPrefix(said, c.says) {
				t.Errorf("the user reads %q, not %q", said, c.says)
			}
		})
	}
}
