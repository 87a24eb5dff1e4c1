package operations

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/datadir"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore/exchange"
)

func TestHotRestore(t *testing.T) {
	for _, members := range []int{1, 3} {
		t.Run(fmt.Sprint(members), func(t *testing.T) {
			w := newHotWorld(t, members)
			apps := w.applications()
			c := w.client(-1)
			r := w.operateHot(c)
			if err := runnerOf(r, c).Run(t.Context(), r.Operation); err != nil {
				t.Fatal(err)
			}
			w.isHotRestored(r)
			if r.Shared.OutageBegan.IsZero() {
				t.Error("the outage is not known")
			}
			apps.goOn(t, r.Shared.OutageEnded)
			t.Logf("%s; journalled: %v", apps, r.Shared.OutageEnded.Sub(r.Shared.OutageBegan).Round(time.Millisecond))
			if err := runnerOf(r, c).Undo(t.Context(), r.Operation); err == nil {
				t.Error("undone, although the new cluster has served")
			}
		})
	}
}

func times(n int32) *atomic.Int32 {
	a := &atomic.Int32{}
	a.Store(n)
	return a
}

// TestHotFaults: what one agent does not do, decides for all.
func TestHotFaults(t *testing.T) {
	const always = 1 << 20
	m := func(name string, at datadir.Point, kind string, n int32) hotFault {
		return hotFault{name, at, times(n), kind}
	}
	for name, x := range map[string]struct {
		faults []hotFault
		ill    bool
		// ends is undone, or restored; later: restored by a resume.
		ends string
		// same says that no member was killed.
		same bool
	}{
		"one does not get ready":                {[]hotFault{m("m2", datadir.Ready, "thaws", always)}, false, "undone", true},
		"one cannot be frozen":                  {[]hotFault{m("m2", datadir.Frozen, "thaws", always)}, false, "undone", true},
		"one agent is ended while frozen":       {[]hotFault{m("m3", datadir.Frozen, "killed", always)}, false, "undone", true},
		"one order to freeze gets lost":         {[]hotFault{m("m1", datadir.Ready, "deaf", always)}, false, "undone", true},
		"one order to go gets lost once":        {[]hotFault{m("m1", datadir.Frozen, "deaf", 1)}, false, "restored", false},
		"two orders to go always get lost":      {[]hotFault{m("m1", datadir.Frozen, "deaf", exchange.Tries), m("m2", datadir.Frozen, "deaf", exchange.Tries)}, false, "undone", false},
		"one order to go always gets lost":      {[]hotFault{m("m1", datadir.Frozen, "deaf", exchange.Tries)}, false, "later", false},
		"etcd does not come up on the new data": {nil, true, "undone", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newHotWorld(t, 3)
			w.faults = x.faults
			w.ill.Store(x.ill)
			pids := w.pids()
			c := w.client(-1)
			r := w.operateHot(c)
			if x.ill {
				r.Timeout = 5 * time.Second
			}
			err := runnerOf(r, c).Run(t.Context(), r.Operation)
			switch x.ends {
			case "restored":
				if err != nil {
					t.Fatal(err)
				}
				w.isHotRestored(r)
			case "undone":
				if !errors.Is(err, plan.ErrUndone) {
					t.Fatal(err)
				}
				w.isAsBeforeHot()
			case "later":
				if !errors.Is(err, plan.ErrTooLate) || !r.Operation.Committed() || r.Operation.Phase != plan.Failed {
					t.Fatalf("%s: %v", r.Operation.Phase, err)
				}
				second, c := w.againHot()
				if err := runnerOf(second, c).Run(t.Context(), second.Operation); err != nil {
					t.Fatal(err)
				}
				w.isHotRestored(second)
			}
			if same := slices.Equal(pids, w.pids()); same != x.same {
				t.Errorf("processes were %v, are %v", pids, w.pids())
			}
		})
	}
}

// TestHotClientDies while members are frozen, and with only some of them exchanged.
func TestHotClientDies(t *testing.T) {
	for _, at := range []datadir.Point{datadir.Ready, datadir.Frozen} {
		for _, then := range []string{"resume", "undo"} {
			t.Run(fmt.Sprintf("at the order after %s, then %s", at, then), func(t *testing.T) {
				t.Parallel()
				w := newHotWorld(t, 3)
				w.faults = []hotFault{{"m2", at, times(1), "client"}}
				c := w.client(-1)
				r := w.operateHot(c)
				if err := runnerOf(r, c).Run(c.ctx, r.Operation); err == nil {
					t.Fatal("the killed client did not fail")
				}
				w.goOnHot(then)
			})
		}
	}
}

// goOnHot is what a second client does, either way; what clients have seen can only go on.
func (w *hotWorld) goOnHot(then string) {
	w.t.Helper()
	second, c := w.againHot()
	op := second.Operation
	runner := runnerOf(second, c)
	if then == "undo" && !op.Committed() || op.Phase == plan.GoingBack || op.Phase == plan.WentBack {
		err := runner.Undo(w.t.Context(), op)
		if err == nil {
			w.isAsBeforeHot()
			return
		}
		if !errors.Is(err, plan.ErrTooLate) {
			w.t.Fatal(err)
		}
	}
	if op.Committed() && then == "undo" {
		if err := runner.Undo(w.t.Context(), op); err == nil {
			w.t.Fatal("an operation that clients have seen was undone")
		}
	}
	if err := runner.Run(w.t.Context(), op); err != nil {
		w.t.Fatal(err)
	}
	w.isHotRestored(second)
}

// hotCells are all interruptions of a hot restore: forward, and back since etcd does not come up on the new data.
func hotCells(t *testing.T) []cell {
	var out []cell
	for _, broken := range []bool{false, true} {
		w := newHotWorld(t, 1)
		w.ill.Store(broken)
		c := w.client(1 << 20)
		r := w.operateHot(c)
		if broken {
			r.Timeout = 2 * time.Second
		}
		if err := runnerOf(r, c).Run(t.Context(), r.Operation); (err == nil) == broken || broken && !errors.Is(err, plan.ErrUndone) {
			t.Fatal(err)
		}
		for s := range 1<<20 - c.saves {
			for _, then := range []string{"resume", "undo"} {
				out = append(out, cell{s, false, broken, then})
			}
		}
	}
	return out
}

// TestInterruptedHot is TestInterrupted for the hot plan.
func TestInterruptedHot(t *testing.T) {
	all := hotCells(t)
	share, seed := cellShare(t, len(all))
	rng := rand.New(rand.NewPCG(uint64(seed), 1))
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for i, x := range all[:share] {
		members := 1
		if i%4 == 3 {
			members = 3
		}
		t.Run(fmt.Sprintf("%s, %d members", x, members), func(t *testing.T) {
			t.Parallel()
			w := newHotWorld(t, members)
			w.ill.Store(x.broken)
			first := w.client(-1)
			r := w.operateHot(first)
			if x.broken {
				r.Timeout = 2 * time.Second
			}
			if err := first.Journal("", r.Shared).Save(t.Context(), r.Operation); err != nil {
				t.Fatal(err)
			}
			first.saves = x.saves
			err := runnerOf(r, first).Run(first.ctx, r.Operation)
			if members == 1 && !errors.Is(err, errDead) && !errors.Is(err, context.Canceled) {
				t.Fatalf("the killed client ended with %v", err)
			}
			o := &plan.Operation{}
			if err := json.Unmarshal(w.saved, o); err != nil {
				t.Fatal(err)
			}
			if x.then == "resume" && o.Phase != plan.GoingBack {
				w.ill.Store(false) // what was wrong has been mended
			}
			w.goOnHot(x.then)
		})
	}
}
