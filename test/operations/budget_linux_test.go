package operations

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/await"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
)

const guard = "example.com/guard"

// deleteSoon puts a budget of that name in the way, which is being deleted and held by a finalizer.
func (w *world) deleteSoon(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.budgets[name] = &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: testNamespace, UID: "guarded",
		DeletionTimestamp: new(metav1.Now()), Finalizers: []string{guard}}}
}

// TestBudgetThatLeaves: where one of its name is still being deleted, a budget is not restored yet.
func TestBudgetThatLeaves(t *testing.T) {
	t.Parallel()
	const name = "kube-apiserver-pdb"
	w := newWorld(t, 1)
	c := w.client(-1)
	r := w.operate(c)
	run := runnerOf(r, c)
	serve := run.Actions[site.KindServe]
	run.Actions[site.KindServe] = site.Action{Forth: func(ctx context.Context, task *plan.Task) error {
		w.deleteSoon(name)
		return serve.Do(ctx, task)
	}}
	r.Timeout = 15 * time.Second
	err := run.Run(t.Context(), r.Operation)
	var refused *site.Refusal
	if !errors.As(err, &refused) || !strings.Contains(refused.Reason, guard) || !strings.Contains(refused.Hint(), "kubectl patch poddisruptionbudget -n "+testNamespace+" "+name) {
		t.Fatalf("counts as restored: %v", err)
	}
	go func() {
		time.Sleep(2 * await.Poll)
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.budgets, name)
	}()
	second, c := w.again()
	if err := runnerOf(second, c).Run(t.Context(), second.Operation); err != nil {
		t.Fatal(err)
	}
	w.isRestored(second)
	if b := w.budgets[name]; b == nil || b.DeletionTimestamp != nil {
		t.Errorf("the budget is %+v", b)
	}
}

// TestBudgetStays: one that got a finalizer since the plan was made could not be brought back by an undo.
func TestBudgetStays(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.budgets["kube-apiserver-pdb"].Finalizers = []string{guard}
	c := w.client(-1)
	r := w.operate(c)
	if err := runnerOf(r, c).Run(t.Context(), r.Operation); err != nil {
		t.Fatal(err)
	}
	w.isRestored(r)
	if b := w.budgets["kube-apiserver-pdb"]; b == nil || b.UID != "1" || !slices.Equal(b.Finalizers, []string{guard}) {
		t.Errorf("the budget is %+v", b)
	}
}

// TestInterruptedLate: who presses Ctrl-C when the API servers have started takes nothing back, and leaves nothing away.
func TestInterruptedLate(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	c := w.client(-1)
	r := w.operate(c)
	run := runnerOf(r, c)
	ctx, interrupt := context.WithCancel(t.Context())
	real := run.Actions[site.KindWriterUp]
	run.Actions[site.KindWriterUp] = site.Action{Forth: func(ctx context.Context, task *plan.Task) error {
		interrupt()
		return errors.Join(ctx.Err(), real.Do(ctx, task))
	}}
	if err := run.Run(ctx, r.Operation); !errors.Is(err, context.Canceled) || errors.Is(err, plan.ErrUndone) || r.Operation.Phase != plan.Failed {
		t.Fatalf("phase %s: %v", r.Operation.Phase, err)
	}
	f := w.facts()
	if asJSON(f.Replicas) != asJSON(w.before.Replicas) || f.Budgets != w.before.Budgets || f.Policy != w.before.Policy || f.Pods != w.before.Pods || f.Until != w.before.Until {
		t.Errorf("left %+v, was %+v", f, w.before)
	}
	second, c := w.again()
	if err := runnerOf(second, c).Run(t.Context(), second.Operation); err != nil {
		t.Fatal(err)
	}
	w.isRestored(second)
}
