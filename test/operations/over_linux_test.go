package operations

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
)

// TestEmpty: the old data is deleted, and the restore fails before etcd is up on the new. It is not given up: that would start
// API servers on nothing. It goes on with another snapshot, and gives back all that the first had taken.
func TestEmpty(t *testing.T) {
	t.Parallel()
	for _, at := range []string{site.KindDrop, site.KindBuild, site.KindSwitch, site.KindEtcdUp} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 1)
			first := w.snapshot
			w.snapshot = filepath.Join(w.dir, "other.db") // holds the key that the first has not
			w.save()
			other := w.snapshot
			w.snapshot = first
			c := w.client(-1)
			r := w.operateWith(c, func(cfg *restore.Config) { cfg.DiscardOld = true })
			runner := runnerOf(r, c)
			real := runner.Actions[at]
			runner.Actions[at] = site.Action{Forth: func(ctx context.Context, task *plan.Task) error { return errors.Join(real.Do(ctx, task), errOnPurpose) }}
			err := stoppedOf(r, runner.Run(t.Context(), r.Operation), nil)
			if !errors.Is(err, errOnPurpose) || errors.Is(err, plan.ErrUndone) {
				t.Fatal(err)
			}
			tells(t, err, "etcd (StatefulSet kube-etcd)", "writer team-a/StatefulSet/kube-apiserver (had 3 replicas)", "disruption budget team-a/kube-apiserver-pdb",
				"kubectl etcd restore resume -n team-a op1", "kubectl etcd restore team-a/kube-etcd --from SNAPSHOT", "!abandon", "!undo")

			second, c2 := w.again()
			var refusal *site.Refusal
			if err := second.Abandonable(t.Context()); !errors.As(err, &refusal) || !strings.Contains(refusal.Hint(), "--from SNAPSHOT") {
				t.Fatalf("given up: %v", err)
			}
			second.Config.From = other
			if err := second.Prove(t.Context()); err != nil {
				t.Fatal(err)
			}
			second.Renew()
			if !site.Empty(second.Operation) || !second.Operation.Committed() {
				t.Fatal("it could be undone, or given up")
			}
			if err := runnerOf(second, c2).Run(t.Context(), second.Operation); err != nil {
				t.Fatal(err)
			}
			for _, m := range w.etcd.Members {
				m.Wait(t)
			}
			f := w.facts()
			if !w.has(beforeKey) || !w.has(afterKey) || f.Revision <= w.before.Revision || f.Cluster != second.Shared.ClusterID {
				t.Errorf("at revision %d of cluster %s; key before the first snapshot: %t, after it: %t", f.Revision, f.Cluster, w.has(beforeKey), w.has(afterKey))
			}
			if asJSON(f.Replicas) != asJSON(w.before.Replicas) || f.Budgets != w.before.Budgets || f.Policy != w.before.Policy || f.Pods != w.before.Pods {
				t.Errorf("left %+v, was %+v", f, w.before)
			}
			if err := second.Abandonable(t.Context()); err != nil {
				t.Errorf("an etcd that runs: %v", err)
			}
		})
	}
}

// tells checks the last words of an operation that has stopped; what begins with ! is not to be in them.
func tells(t *testing.T, err error, words ...string) {
	t.Helper()
	var s *site.Stopped
	if !errors.As(err, &s) {
		t.Fatalf("no last words: %v", err)
	}
	for _, w := range words {
		if w, not := strings.CutPrefix(w, "!"); strings.Contains(s.Hint(), w) == not {
			t.Errorf("%q: %s", w, s.Hint())
		}
	}
}

// TestAbandonAtZero: somebody has scaled etcd to 0 after the commit. Its data is there, so it can be started, and then given up.
func TestAbandonAtZero(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	c := w.client(-1)
	r := w.operate(c)
	runner := runnerOf(r, c)
	runner.Actions[site.KindServe] = site.Action{Forth: func(ctx context.Context, _ *plan.Task) error {
		return errors.Join(c.Scale(ctx, etcdSet, 0), errOnPurpose)
	}}
	err := stoppedOf(r, runner.Run(t.Context(), r.Operation), nil)
	tells(t, err, "disruption budget", "abandon -n team-a op1", "!writer", "!SNAPSHOT")
	second, c2 := w.again()
	var refusal *site.Refusal
	if err := second.Abandonable(t.Context()); !errors.As(err, &refusal) || !strings.Contains(refusal.Hint(), "scale statefulset/kube-etcd --replicas=1") {
		t.Fatalf("given up: %v", err)
	}
	if err := c2.Scale(t.Context(), etcdSet, 1); err != nil {
		t.Fatal(err)
	}
	w.etcd.Members[0].Wait(t)
	if err := second.Abandonable(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := runnerOf(second, c2).Abandon(t.Context(), second.Operation, second.Gives); err != nil {
		t.Fatal(err)
	}
	held, err := second.Kept(t.Context())
	if err != nil || len(held) != 1 || held[0].Size == 0 || held[0].Member != "m1" {
		t.Errorf("old data: %+v, %v", held, err)
	}
}

// TestLastWords: wherever an operation stops, its last words say what is down and what to type.
func TestLastWords(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	c := w.client(-1)
	r := w.operate(c)
	runner := runnerOf(r, c)
	runner.Actions[site.KindSwitch] = site.Action{Forth: func(context.Context, *plan.Task) error { return site.Refuse("pause it", "somebody is in the way") },
		Back: func(context.Context, *plan.Task) error { return site.Refuse("pause it", "and still is") }}
	err := stoppedOf(r, runner.Run(t.Context(), r.Operation), errOnPurpose)
	tells(t, err, "pause it; operation op1 is unfinished, and this is down or missing: ", "etcd (StatefulSet kube-etcd)", "kube-apiserver (had 3 replicas)", "maintenance (had 1 replicas)", "undo -n team-a op1", "the journal could not be saved")
	tells(t, stoppedOf(r, plan.ErrAbandoned, nil), "etcd (StatefulSet kube-etcd)", "kubectl etcd restore status -n team-a op1", "if nobody is: kubectl etcd restore resume -n team-a op1")
}

// TestWritersAtZero: a restore that finds API servers at 0, whoever has left them so, says so before and after.
func TestWritersAtZero(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.replicas[apiserver], w.replicas[chores] = 0, 0
	w.before = w.facts()
	c := w.client(-1)
	r := w.operate(c)
	if err := runnerOf(r, c).Run(t.Context(), r.Operation); err != nil {
		t.Fatal(err)
	}
	w.isRestored(r)
	want := []string{testNamespace + "/StatefulSet/kube-apiserver", testNamespace + "/Deployment/maintenance"}
	if !slices.Equal(r.Shared.Stopped, want) || !r.Shared.OutageEnded.IsZero() {
		t.Errorf("stopped: %q, the outage ended %s", r.Shared.Stopped, r.Shared.OutageEnded)
	}
	notes := r.Shared.StoppedWriters()
	if len(notes) != 2 || !strings.Contains(notes[0], "kubectl -n team-a scale statefulset/kube-apiserver --replicas=") {
		t.Errorf("told %q", notes)
	}
}
