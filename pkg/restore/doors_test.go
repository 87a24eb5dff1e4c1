package restore

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/operation"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/operation/operationtest"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
)

// TestDoors: an operation is opened for what its journal says can be done with it, and for nothing else; that is found out
// before anything is asked of a member.
func TestDoors(t *testing.T) {
	t.Parallel()
	snapshot := withHistory(t)
	in := func(phase plan.Phase, steps ...plan.Step) *plan.Operation {
		return &plan.Operation{ID: "one", Target: "team-a/etcd", Phase: phase, Steps: steps}
	}
	cont := func(from string) func(context.Context, site.Deps, Config, *plan.Operation) error {
		return func(ctx context.Context, d site.Deps, cfg Config, o *plan.Operation) error {
			cfg.From = from
			p, err := Continue(ctx, d, cfg, o)
			if err == nil {
				p.Close()
			}
			return err
		}
	}
	old := func(ctx context.Context, d site.Deps, cfg Config, o *plan.Operation) error {
		_, err := OldData(ctx, d, cfg, o, t.TempDir())
		return err
	}
	for name, c := range map[string]struct {
		open func(context.Context, site.Deps, Config, *plan.Operation) error
		o    *plan.Operation
		sh   site.Shared
		says string // nothing: it is opened
		hint string
	}{
		"go on":                         {open: cont(""), o: in(plan.Running)},
		"go on with that snapshot":      {open: cont(snapshot), o: in(plan.Running), sh: site.Shared{Snapshot: site.SnapshotRecord{SHA256: sumOf(t, snapshot)}}},
		"go on with another snapshot":   {open: cont(snapshot), o: in(plan.Running), sh: site.Shared{Snapshot: site.SnapshotRecord{SHA256: "other", File: "first.db"}}, says: "is another snapshot than first.db, with which it began"},
		"another one, the data is gone": {open: cont(snapshot), o: in(plan.Running, plan.Step{Kind: site.KindDrop, State: plan.Done}), sh: site.Shared{Snapshot: site.SnapshotRecord{SHA256: "other", File: "first.db"}}, says: "is another snapshot", hint: "kubectl etcd restore team-a/etcd --from"},
		"go on, but it has ended":       {open: cont(""), o: in(plan.Succeeded), says: "it has ended"},
		"old data of one in progress":   {open: old, o: in(plan.Running), says: "undo operation one: it is unfinished", hint: "kubectl etcd restore"},
		"old data of one undone":        {open: old, o: in(plan.WentBack), says: "it was undone already"},
		"old data of a replaced member": {open: old, o: in(plan.Succeeded), sh: site.Shared{Replace: &site.Replacement{}}, says: "it has replaced one member"},
		"clean up one in progress": {open: func(ctx context.Context, d site.Deps, cfg Config, o *plan.Operation) error {
			_, err := site.Leavings(ctx, d, cfg.Target, o)
			return err
		}, o: in(plan.Running), says: "clean up operation one: it is unfinished", hint: "kubectl etcd restore"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, core := operationtest.ServeMaps(t)
			d := site.Deps{Clients: &reach.Clients{Core: core}, Place: operation.Cluster{Core: core}, Report: &told{}}
			c.sh.Namespace, c.sh.Name = "team-a", "etcd"
			if err := (&operation.Journal{Place: d.Place, Namespace: "team-a", Data: &c.sh, Warn: t.Logf}).Save(t.Context(), c.o); err != nil {
				t.Fatal(err)
			}
			err := c.open(t.Context(), d, Config{Target: site.Target{Plane: controlplane.ControlPlane{Namespace: "team-a", Name: "etcd"}}}, c.o)
			if c.says == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var refusal *site.Refusal
			if !errors.As(err, &refusal) || !strings.Contains(refusal.Reason, c.says) || !strings.Contains(refusal.Hint(), c.hint) {
				t.Errorf("%v", err)
			}
		})
	}
}

// sumOf is the sha256 of a snapshot, in hex.
func sumOf(t *testing.T, file string) string {
	t.Helper()
	s, err := prove(t.Context(), Config{From: file}, false)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	return s.SHA256
}
