package operations

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
)

func TestStaticRestore(t *testing.T) {
	t.Parallel()
	for _, members := range []int{1, 3} {
		t.Run(fmt.Sprint(members), func(t *testing.T) {
			t.Parallel()
			w := newStaticWorld(t, members)
			w.alone = time.Minute // nobody is interrupted: no member may lose patience, however slow this machine is
			apps := w.applications()
			c := w.client(-1)
			r := w.operateStatic(c)
			if err := runnerIn(r).Run(t.Context(), r.Operation); err != nil {
				t.Fatal(err)
			}
			w.isHotRestored(r)
			apps.goOn(t, r.Shared.OutageEnded)
			t.Logf("%s; journalled: %v", apps, r.Shared.OutageEnded.Sub(r.Shared.OutageBegan))
		})
	}
}

// goOnStatic is what a second client does, first forward or back, and else the other way: in the end all is as in the snapshot, or as it was.
func (w *staticWorld) goOnStatic(then string) {
	w.t.Helper()
	for try := range 4 {
		second := w.againStatic()
		op, runner := second.Operation, runnerIn(second)
		back := op.Phase == plan.GoingBack || op.Phase == plan.WentBack || (then == "undo") == (try%2 == 0) && !op.Committed()
		var err error
		if back {
			err = runner.Undo(w.t.Context(), op)
		} else {
			err = runner.Run(w.t.Context(), op)
		}
		switch {
		case back && err == nil || errors.Is(err, plan.ErrUndone):
			w.isAsBeforeHot()
			return
		case err == nil:
			w.isHotRestored(second)
			return
		}
		w.t.Logf("try %d, back %t: %v", try, back, err)
	}
	w.t.Fatal("it does not come to an end")
}

// staticCell is one with so many members.
type staticCell struct {
	cell
	members int
}

// staticCells are all interruptions of a restore of static pods: forward, and back since etcd does not come up on the new data.
func staticCells(t *testing.T) (out []staticCell) {
	sizes := []int{1}
	if os.Getenv("RESTORE_CELLS") == "all" {
		sizes = []int{1, 3}
	}
	for _, members := range sizes {
		for _, broken := range []bool{false, true} {
			w := newStaticWorld(t, members)
			w.ill.Store(broken)
			c := w.client(1 << 20)
			r := w.operateStatic(c)
			if err := runnerIn(r).Run(t.Context(), r.Operation); (err == nil) == broken || broken && !errors.Is(err, plan.ErrUndone) {
				t.Fatal(err)
			}
			for s := range 1<<20 - c.saves {
				for _, then := range []string{"resume", "undo"} {
					out = append(out, staticCell{cell{s, false, broken, then}, members})
				}
			}
		}
	}
	return out
}

// TestInterruptedStatic is TestInterrupted for the plan of static pods: the agents are left alone, and decide by themselves.
func TestInterruptedStatic(t *testing.T) {
	t.Parallel() // most of it is waiting for votes
	all := staticCells(t)
	share, seed := cellShare(t, len(all))
	if share < len(all) { // these take longer than others
		share = max(1, share/4)
	}
	rng := rand.New(rand.NewPCG(uint64(seed), 1))
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for _, x := range all[:share] {
		t.Run(fmt.Sprintf("%s, %d members", x.cell, x.members), func(t *testing.T) {
			t.Parallel()
			w := newStaticWorld(t, x.members)
			w.ill.Store(x.broken)
			first := w.client(-1)
			r := w.operateStatic(first)
			if err := r.Cluster.Journal("", r.Shared).Save(t.Context(), r.Operation); err != nil {
				t.Fatal(err)
			}
			first.saves = x.saves
			err := runnerIn(r).Run(first.ctx, r.Operation)
			if err == nil || errors.Is(err, plan.ErrUndone) {
				t.Fatalf("the client was not killed: %v", err)
			}
			if x.then == "resume" {
				w.ill.Store(false) // what was wrong has been mended
			}
			w.goOnStatic(x.then)
		})
	}
}
