package site

import (
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/operation"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/operation/operationtest"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
)

// TestUnreadableJournal is told by its name, and stands in nobody's way but that of its own control plane.
func TestUnreadableJournal(t *testing.T) {
	t.Parallel()
	api, core := operationtest.ServeMaps(t)
	place := operation.Cluster{Core: core}
	save := func(id, target string, phase plan.Phase) *corev1.ConfigMap {
		j := &operation.Journal{Place: operation.Cluster{Core: core}, Namespace: "team-a", Data: &Shared{Highest: 7}, Warn: t.Logf}
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
	if o, err := Find(t.Context(), place, "", "good"); err != nil || o.ID != "good" {
		t.Errorf("another one is not found: %v", err)
	}
	var u *operation.Unreadable
	if _, err := Find(t.Context(), place, "", "torn"); !errors.As(err, &u) || !strings.Contains(err.Error(), "read journal team-a/"+operation.JournalName("torn")) || !strings.Contains(u.Hint(), "get configmap "+operation.JournalName("torn")) {
		t.Errorf("not told by its name: %v", err)
	}
	d := Deps{Place: place, Report: told{t}}
	if k, err := Unfinished(t.Context(), d, controlplane.ControlPlane{Namespace: "team-a", Name: "etcd"}); err != nil || k.Seen != 7 || len(k.Notes) > 0 {
		t.Errorf("in the way of another control plane: %+v, %v", k, err)
	}
	if _, err := Unfinished(t.Context(), d, controlplane.ControlPlane{Namespace: "team-a", Name: "other"}); !errors.As(err, &u) || u.ID != "torn" {
		t.Errorf("not in the way of its own: %v", err)
	}
	api.Change(func() { delete(api.Items, operation.JournalName("torn")) })
	if k, err := Unfinished(t.Context(), d, controlplane.ControlPlane{Namespace: "team-a", Name: "other"}); err != nil || len(k.Notes) != 1 || !strings.Contains(k.Notes[0], operation.JournalName("bare")) {
		t.Errorf("one that has ended: %+v, %v", k, err)
	}
}
