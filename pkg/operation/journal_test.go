package operation

import (
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/operation/operationtest"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
)

// TestJournalOfAnother: an object of that name with another content is another client's, also after a deletion.
func TestJournalOfAnother(t *testing.T) {
	t.Parallel()
	name := JournalName("op1")
	for what, c := range map[string]struct {
		change func(api *operationtest.Maps)
		lost   bool
	}{
		"untouched":           {func(*operationtest.Maps) {}, false},
		"only labels":         {func(api *operationtest.Maps) { cm := api.Items[name].DeepCopy(); cm.Labels["a"] = "b"; api.Put(cm) }, false},
		"deleted":             {func(api *operationtest.Maps) { delete(api.Items, name) }, false},
		"made anew as it was": {func(api *operationtest.Maps) { cm := api.Items[name].DeepCopy(); delete(api.Items, name); api.Put(cm) }, false},
		"written": {func(api *operationtest.Maps) {
			cm := api.Items[name].DeepCopy()
			cm.Data[JournalKey] = "{}"
			api.Put(cm)
		}, true},
		"deleted, another written": {func(api *operationtest.Maps) {
			delete(api.Items, name)
			api.Put(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}})
		}, true},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			api, core := operationtest.ServeMaps(t)
			o := &plan.Operation{ID: "op1", Phase: plan.Running}
			j := &Journal{Place: Cluster{Core: core}, Namespace: "team-a", Data: struct{}{}, Warn: t.Logf}
			if err := j.Save(t.Context(), o); err != nil {
				t.Fatal(err)
			}
			api.Change(func() { c.change(api) })
			if same, exists, err := j.Ours(t.Context()); err != nil || exists != (what != "deleted") || exists && same == c.lost {
				t.Errorf("ours: %t, %t, %v", same, exists, err)
			}
			o.Phase = plan.GoingBack
			if err := j.Save(t.Context(), o); errors.Is(err, plan.ErrAbandoned) != c.lost || (err != nil) != c.lost {
				t.Error(err)
			}
		})
	}
}

// TestAnswerLost: a save that has happened, though its client did not hear of it, is that client's own.
func TestAnswerLost(t *testing.T) {
	t.Parallel()
	api, core := operationtest.ServeMaps(t)
	o := &plan.Operation{ID: "op1", Phase: plan.Running}
	j := &Journal{Place: Cluster{Core: core}, Namespace: "team-a", Data: struct{}{}, Warn: t.Logf}
	if err := j.Save(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	before := *api.Items[JournalName("op1")]
	o.Phase = plan.Failed
	api.Closed = true
	if err := j.Save(t.Context(), o); err == nil {
		t.Fatal("saved")
	}
	lost := before
	lost.Data = map[string]string{JournalKey: j.unsure[0]}
	api.Change(func() { api.Closed = false; api.Put(&lost) })
	o.Phase = plan.GoingBack
	if err := j.Save(t.Context(), o); err != nil {
		t.Error(err)
	}
}
