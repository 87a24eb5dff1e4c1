package hosted

import (
	"context"
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore/hosting"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
)

// TestDown: what an operation that stops in the middle leaves is named, also where it is no pod.
func TestDown(t *testing.T) {
	t.Parallel()
	o := &plan.Operation{Steps: []plan.Step{
		{ID: "pause/clusters/a", Kind: site.KindPause, Object: "clusters/a", State: plan.Done},
		{ID: "parallel/etcd", Kind: site.KindParallel, Object: "etcd", State: plan.Done},
		{ID: "ordered/etcd", Kind: site.KindOrdered, Object: "etcd", State: plan.Doing},
		{ID: "unpause/clusters/a", Kind: site.KindUnpause, Object: "clusters/a", State: plan.Pending},
	}}
	r := restore.NewRun(site.Deps{}, nil, restore.Config{Ways: restore.Ways{restore.Cold: New}}, o, nil)
	want := []string{"HyperShift for hosted cluster clusters/a (paused)", "StatefulSet etcd (may be deleted, and not made again)"}
	if got := site.NewPrepared(r.Site, r).Down(); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	for i := range o.Steps {
		o.Steps[i].State = plan.Done
	}
	if got := site.NewPrepared(r.Site, r).Down(); len(got) != 0 {
		t.Errorf("all is done: %q", got)
	}
	if got := site.NewPrepared(r.Site, r).Afterwards(t.Context()); len(got) != 0 {
		t.Errorf("nothing is left to others: %q", got)
	}
}

// TestPlanNames: writers of one name in two namespaces are two lines that differ.
func TestPlanNames(t *testing.T) {
	t.Parallel()
	api := func(namespace string) controlplane.Writer {
		return controlplane.Writer{Namespace: namespace, Kind: "Deployment", Name: "api", Replicas: 1, Why: "https://main:2379"}
	}
	sc := &restore.Scene{Writers: []controlplane.Writer{api("a"), api("b")}}
	found := func(context.Context, *restore.Run) (*restore.Scene, *hosting.Found, error) {
		return sc, &hosting.Found{Set: &appsv1.StatefulSet{}}, nil
	}
	cfg := restore.Config{Ways: restore.Ways{restore.Cold: func(r *restore.Run) restore.Way { return NewIn(r, nil, found) }}}
	r := restore.NewRun(site.Deps{}, nil, cfg, nil, &site.Shared{Namespace: "a", Hosting: site.Hosting{StatefulSet: "etcd", Replicas: 1}})
	if _, err := r.Way.Look(t.Context()); err != nil {
		t.Fatal(err)
	}
	var got []string
	planned, err := r.Plan(sc)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range planned {
		if s.Kind == site.KindWriterDown || s.Kind == site.KindWriterUp {
			got = append(got, s.What)
		}
	}
	want := []string{"scale writer a/Deployment/api from 1 to 0 (https://main:2379)", "scale writer b/Deployment/api from 1 to 0 (https://main:2379)",
		"scale writer a/Deployment/api back to 1", "scale writer b/Deployment/api back to 1"}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}
