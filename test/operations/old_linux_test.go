package operations

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
)

// TestTakeBack: the data that a restore has set aside is copied, and restored like a snapshot.
func TestTakeBack(t *testing.T) {
	t.Parallel()
	for _, members := range []int{1, 3} {
		t.Run(fmt.Sprint(members), func(t *testing.T) {
			w, c, r := restored(t, members)
			restored := w.facts()
			old, err := site.Ended(r.Deps, c, r.Config.Target, r.Operation, "undo")
			if err != nil {
				t.Fatal(err)
			}
			file, err := restore.CopyOldData(t.Context(), old, t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			w.snapshot = file
			second := w.operateAs(c, "op2", true, restored.Revision)
			if err := runnerOf(second, c).Run(t.Context(), second.Operation); err != nil {
				t.Fatal(err)
			}
			if f := w.facts(); f.Revision <= restored.Revision || f.Cluster == restored.Cluster || f.Cluster == w.before.Cluster {
				t.Errorf("at revision %d of cluster %s, after %d of %s", f.Revision, f.Cluster, restored.Revision, restored.Cluster)
			}
			if !w.has(beforeKey) || !w.has(afterKey) {
				t.Errorf("key before the snapshot: %t, after it: %t", w.has(beforeKey), w.has(afterKey))
			}
		})
	}
}

// TestOldDataIsGone: what has been cleaned up cannot be taken back.
func TestOldDataIsGone(t *testing.T) {
	t.Parallel()
	w, _, r := restored(t, 1)
	if err := os.RemoveAll(w.plane().Members[0].DataDir + "/.kubectl-etcd"); err != nil {
		t.Fatal(err)
	}
	if file, err := restore.CopyOldData(t.Context(), r.Site, t.TempDir()); err == nil || !strings.Contains(err.Error(), "on no volume any more") {
		t.Errorf("%q, %v", file, err)
	}
}

// TestAbandon: an operation that fails after its commit is given up. The writers run again, and what was restored stays.
func TestAbandon(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	c := w.client(-1)
	r := w.operate(c)
	runner := runnerOf(r, c)
	runner.Actions[site.KindServe] = site.Action{Forth: func(context.Context, *plan.Task) error { return errOnPurpose }}
	if err := runner.Run(t.Context(), r.Operation); !errors.Is(err, errOnPurpose) || errors.Is(err, plan.ErrUndone) || r.Operation.Phase != plan.Failed {
		t.Fatal(err, r.Operation.Phase)
	}
	second, c2 := w.again()
	if err := runnerOf(second, c2).Abandon(t.Context(), second.Operation, second.Gives); err != nil {
		t.Fatal(err)
	}
	if !second.Operation.Ended() {
		t.Errorf("phase %s", second.Operation.Phase)
	}
	w.isRestored(second)
}

// TestComesBack: a controller scales a writer up while etcd is being exchanged, or etcd itself. Neither must meet the new data.
func TestComesBack(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		at string
		w  site.Workload
		n  int32
	}{{site.KindEtcdDown, apiserver, 2}, {site.KindSwitch, apiserver, 2}, {site.KindEtcdUp, apiserver, 2}, {site.KindSwitch, etcdSet, 1}} {
		t.Run(x.at+" "+x.w.Name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 1)
			c := w.client(-1)
			r := w.operate(c)
			runner := runnerOf(r, c)
			real := runner.Actions[x.at]
			runner.Actions[x.at] = site.Action{Back: real.Undo, Forth: func(ctx context.Context, task *plan.Task) error {
				if err := c.Scale(ctx, x.w, x.n); err != nil {
					return err
				}
				return real.Do(ctx, task)
			}}
			err := runner.Run(t.Context(), r.Operation)
			if !errors.Is(err, plan.ErrUndone) || !strings.Contains(err.Error(), fmt.Sprintf("it was put back to %d by manager somebody", x.n)) {
				t.Fatal(err)
			}
			w.isAsBefore()
		})
	}
}

// TestDiscardOld: where there is no room for both, the old data goes first. From there it only goes forward, whoever dies.
func TestDiscardOld(t *testing.T) {
	t.Parallel()
	for _, deaths := range []int{0, 1, 2, 3, 4, 5} {
		t.Run(fmt.Sprint(deaths), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 1)
			c := w.client(-1)
			r := w.operateWith(c, func(cfg *restore.Config) { cfg.DiscardOld = true })
			runner := runnerOf(r, c)
			drop := runner.Actions[site.KindDrop]
			runner.Actions[site.KindDrop] = site.Action{Forth: func(ctx context.Context, task *plan.Task) error {
				if c.saves = deaths - 1; deaths == 0 {
					c.saves = -1
				}
				return drop.Do(ctx, task)
			}}
			err := runner.Run(c.ctx, r.Operation)
			if deaths > 0 {
				if err == nil {
					t.Fatal("the client was not killed")
				}
				var c2 *client
				r, c2 = w.again()
				if err := runnerOf(r, c2).Undo(t.Context(), r.Operation); err == nil {
					t.Fatal("what was deleted was undone")
				}
				err = runnerOf(r, c2).Run(t.Context(), r.Operation)
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range w.etcd.Members {
				m.Wait(t)
			}
			if !w.has(beforeKey) || w.has(afterKey) {
				t.Errorf("key before the snapshot: %t, after it: %t", w.has(beforeKey), w.has(afterKey))
			}
			if kept, err := os.ReadDir(w.plane().Members[0].DataDir + "/.kubectl-etcd/op1/data"); err == nil && len(kept) > 1 {
				t.Errorf("old data is there: %v", kept)
			}
		})
	}
}
