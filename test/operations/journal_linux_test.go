package operations

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/operation"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/operation/operationtest"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
)

// warned collects warnings.
type warned struct {
	mu   sync.Mutex
	said []string
}

func (w *warned) Warn(format string, _ ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said = append(w.said, format)
}

// TestJournalDeleted: in the middle of a restore somebody deletes its journal, or a clean-up of the namespace does. The client
// has all of it in memory: it writes the journal again, or, where it may not, takes back what nobody has seen and goes on with
// what clients have seen. Neither API servers nor budgets are ever left away.
func TestJournalDeleted(t *testing.T) {
	t.Parallel()
	for _, at := range []string{site.KindBuild, site.KindWriterDown, site.KindQuiet, site.KindSwitch, site.KindEtcdUp, site.KindWriterUp, site.KindServe, site.KindBudgetBack} {
		for _, closed := range []bool{false, true} {
			t.Run(at+map[bool]string{true: ", and no other may be made"}[closed], func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, 1)
				c := w.client(-1)
				r := w.operate(c)
				api, core := operationtest.ServeMaps(t)
				told := &warned{}
				runner := runnerOf(r, c)
				j := &site.KeptJournal{Journal: &operation.Journal{Place: operation.Cluster{Core: core}, Namespace: testNamespace, Data: r.Shared, Warn: told.Warn}, Warn: r.Deps.Report.Warn}
				runner.Journal = j
				real := runner.Actions[at]
				var once sync.Once // there are two writers
				runner.Actions[at] = site.Action{Back: real.Undo, Forth: func(ctx context.Context, task *plan.Task) error {
					once.Do(func() { api.Change(func() { clear(api.Items); api.Closed = closed }) })
					return real.Do(ctx, task)
				}}
				committed := at == site.KindWriterUp || at == site.KindServe || at == site.KindBudgetBack
				err := runner.Run(t.Context(), r.Operation)
				switch {
				case closed && !committed:
					if !errors.Is(err, plan.ErrUndone) || j.Unsaved == nil {
						t.Fatal(err, j.Unsaved)
					}
					w.isAsBefore()
					return
				case err != nil:
					t.Fatal(err)
				}
				w.isRestored(r)
				if closed {
					if j.Unsaved == nil || len(api.Items) > 0 {
						t.Errorf("unsaved: %v, %d journals", j.Unsaved, len(api.Items))
					}
					return
				}
				if ops, err := site.Operations(t.Context(), operation.Cluster{Core: core}, testNamespace); err != nil || len(ops) != 1 || ops[0].Phase != plan.Succeeded || j.Unsaved != nil {
					t.Errorf("journals: %+v, %v, unsaved: %v", ops, err, j.Unsaved)
				}
				if len(told.said) != 1 || !strings.Contains(told.said[0], "was deleted; it is written again") {
					t.Errorf("told %q", told.said)
				}
			})
		}
	}
}
