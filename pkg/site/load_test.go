package site

import (
	"errors"
	"strings"
	"testing"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/operation"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/operation/operationtest"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
)

// TestLoad: an operation is found by its name, or as the only one of its namespace; otherwise it is said what to type.
func TestLoad(t *testing.T) {
	t.Parallel()
	running := func(id string) *plan.Operation {
		return &plan.Operation{ID: id, Target: "team-a/etcd", Phase: plan.Running}
	}
	ended := func(id string) *plan.Operation {
		return &plan.Operation{ID: id, Target: "team-a/etcd", Phase: plan.Succeeded}
	}
	for name, c := range map[string]struct {
		there         []*plan.Operation
		namespace, id string
		ended         bool
		want          string // an id
		says, hint    string
	}{
		"the only one":              {there: []*plan.Operation{running("a"), ended("b")}, namespace: "team-a", want: "a"},
		"the only one that ended":   {there: []*plan.Operation{running("a"), ended("b")}, namespace: "team-a", ended: true, want: "b"},
		"by its name":               {there: []*plan.Operation{running("a"), running("b")}, namespace: "team-a", id: "b", want: "b"},
		"by its name, anywhere":     {there: []*plan.Operation{running("a"), running("b")}, id: "b", want: "b"},
		"one of several":            {there: []*plan.Operation{running("a"), running("b")}, namespace: "team-a", says: "2 are unfinished", hint: "name the operation"},
		"none":                      {there: []*plan.Operation{ended("b")}, namespace: "team-a", says: "there are none that are unfinished", hint: "to undo one that has ended, name it"},
		"none that ended":           {there: []*plan.Operation{running("a")}, namespace: "team-a", ended: true, says: "there are none that have ended", hint: "restore status -A"},
		"a name that is not known":  {there: []*plan.Operation{running("a")}, namespace: "team-a", id: "x", says: "there is no journal of it", hint: "restore status -A"},
		"neither namespace nor one": {there: []*plan.Operation{running("a")}, says: "name its namespace with -n, or the operation itself"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, core := operationtest.ServeMaps(t)
			place := operation.Cluster{Core: core}
			for _, o := range c.there {
				if err := (&operation.Journal{Place: place, Namespace: "team-a", Data: &Shared{}, Warn: t.Logf}).Save(t.Context(), o); err != nil {
					t.Fatal(err)
				}
			}
			o, err := Load(t.Context(), Deps{Place: place, Report: told{t}}, c.namespace, c.id, c.ended)
			if c.want != "" {
				if err != nil || o.ID != c.want {
					t.Errorf("%+v, %v", o, err)
				}
				return
			}
			var refusal *Refusal
			if !errors.As(err, &refusal) || !strings.Contains(refusal.Reason, c.says) || !strings.Contains(refusal.Hint(), c.hint) {
				t.Errorf("%+v, %v", o, err)
			}
		})
	}
}
