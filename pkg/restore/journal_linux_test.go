package restore

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/operation"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/operation/operationtest"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
)

// warned collects warnings.
type warned struct {
	mu   sync.Mutex
	said []string
}

func (w *warned) warn(format string, _ ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said = append(w.said, format)
}

// TestJournalDeleted: in the middle of a restore somebody deletes its journal, or a clean-up of the namespace does. The client
// has all of it in memory: it writes the journal again, or, where it may not, takes back what nobody has seen and goes on with
// what clients have seen. Neither API servers nor budgets are ever left away.
func TestJournalDeleted(t *testing.T) {
	t.Parallel()
	for _, at := range []string{kindBuild, kindWriterDown, kindQuiet, kindSwitch, kindEtcdUp, kindWriterUp, kindServe, kindBudgetBack} {
		for _, closed := range []bool{false, true} {
			t.Run(at+map[bool]string{true: ", and no other may be made"}[closed], func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, 1)
				c := w.client(-1)
				r := w.operate(c)
				api, core := operationtest.ServeMaps(t)
				told := &warned{}
				runner := r.runner(c)
				j := &keptJournal{Journal: &operation.Journal{Place: operation.Cluster{Core: core}, Namespace: testNamespace, Data: r.sh, Warn: told.warn}, run: r}
				runner.Journal = j
				real := runner.Actions[at]
				var once sync.Once // there are two writers
				runner.Actions[at] = action{undo: real.Undo, do: func(ctx context.Context, task *plan.Task) error {
					once.Do(func() { api.Change(func() { clear(api.Items); api.Closed = closed }) })
					return real.Do(ctx, task)
				}}
				committed := at == kindWriterUp || at == kindServe || at == kindBudgetBack
				err := runner.Run(t.Context(), r.op)
				switch {
				case closed && !committed:
					if !errors.Is(err, plan.ErrUndone) || j.unsaved == nil {
						t.Fatal(err, j.unsaved)
					}
					w.isAsBefore()
					return
				case err != nil:
					t.Fatal(err)
				}
				w.isRestored(r)
				if closed {
					if j.unsaved == nil || len(api.Items) > 0 {
						t.Errorf("unsaved: %v, %d journals", j.unsaved, len(api.Items))
					}
					return
				}
				if ops, err := Operations(t.Context(), operation.Cluster{Core: core}, testNamespace); err != nil || len(ops) != 1 || ops[0].Phase != plan.Succeeded || j.unsaved != nil {
					t.Errorf("journals: %+v, %v, unsaved: %v", ops, err, j.unsaved)
				}
				if len(told.said) != 1 || !strings.Contains(told.said[0], "was deleted; it is written again") {
					t.Errorf("told %q", told.said)
				}
			})
		}
	}
}

// TestUnreadableJournal is told by its name, and stands in nobody's way but that of its own control plane.
func TestUnreadableJournal(t *testing.T) {
	t.Parallel()
	api, core := operationtest.ServeMaps(t)
	place := operation.Cluster{Core: core}
	save := func(id, target string, phase plan.Phase) *corev1.ConfigMap {
		j := &operation.Journal{Place: operation.Cluster{Core: core}, Namespace: testNamespace, Data: &Shared{Highest: 7}, Warn: (&warned{}).warn}
		if err := j.Save(t.Context(), &plan.Operation{ID: id, Target: target, Phase: phase}); err != nil {
			t.Fatal(err)
		}
		return api.Items[operation.JournalName(id)]
	}
	save("good", "team-a/etcd", plan.Succeeded)
	save("torn", "team-a/other", plan.Running).Data[operation.JournalKey] = `{"id": "torn"`
	save("bare", "team-a/other", plan.Succeeded).Data[operation.JournalKey] = `{"id": "bare", "phase": "succeeded"}`
	ops, bad, err := Journals(t.Context(), place, "")
	if err != nil || len(ops) != 1 || ops[0].ID != "good" || len(bad) != 2 {
		t.Fatalf("%+v, %+v, %v", ops, bad, err)
	}
	if o, err := find(t.Context(), place, "", "good"); err != nil || o.ID != "good" {
		t.Errorf("another one is not found: %v", err)
	}
	var u *operation.Unreadable
	if _, err := find(t.Context(), place, "", "torn"); !errors.As(err, &u) || !strings.Contains(err.Error(), "read journal team-a/"+operation.JournalName("torn")) || !strings.Contains(u.Hint(), "get configmap "+operation.JournalName("torn")) {
		t.Errorf("not told by its name: %v", err)
	}
	d := Deps{Place: place, Report: silent{t}}
	if k, err := unfinished(t.Context(), d, controlplane.ControlPlane{Namespace: testNamespace, Name: "etcd"}); err != nil || k.seen != 7 || len(k.notes) > 0 {
		t.Errorf("in the way of another control plane: %+v, %v", k, err)
	}
	if _, err := unfinished(t.Context(), d, controlplane.ControlPlane{Namespace: testNamespace, Name: "other"}); !errors.As(err, &u) || u.ID != "torn" {
		t.Errorf("not in the way of its own: %v", err)
	}
	api.Change(func() { delete(api.Items, operation.JournalName("torn")) })
	if k, err := unfinished(t.Context(), d, controlplane.ControlPlane{Namespace: testNamespace, Name: "other"}); err != nil || len(k.notes) != 1 || !strings.Contains(k.notes[0], operation.JournalName("bare")) {
		t.Errorf("one that has ended: %+v, %v", k, err)
	}
}
