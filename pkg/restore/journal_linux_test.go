package restore

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"path"
	"strconv"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	restclient "k8s.io/client-go/rest"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
)

// configMaps is an API server that has ConfigMaps.
type configMaps struct {
	mu     sync.Mutex
	items  map[string]*corev1.ConfigMap
	served int
	closed bool // it lets nobody write
}

func (s *configMaps) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	status := func(code int, reason metav1.StatusReason) {
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: "Failure", Reason: reason, Code: int32(code)})
	}
	var sent corev1.ConfigMap
	if r.Method == http.MethodPost || r.Method == http.MethodPut {
		if err := json.NewDecoder(r.Body).Decode(&sent); err != nil {
			status(http.StatusBadRequest, metav1.StatusReasonBadRequest)
			return
		}
	}
	name := path.Base(r.URL.Path)
	found := s.items[name]
	switch {
	case r.Method != http.MethodGet && s.closed:
		status(http.StatusForbidden, metav1.StatusReasonForbidden)
	case r.Method == http.MethodGet && name == "configmaps":
		list := corev1.ConfigMapList{TypeMeta: metav1.TypeMeta{Kind: "ConfigMapList", APIVersion: "v1"}}
		for _, cm := range s.items {
			list.Items = append(list.Items, *cm)
		}
		_ = json.NewEncoder(w).Encode(list)
	case r.Method == http.MethodPost && s.items[sent.Name] != nil:
		status(http.StatusConflict, metav1.StatusReasonAlreadyExists)
	case r.Method != http.MethodPost && found == nil:
		status(http.StatusNotFound, metav1.StatusReasonNotFound)
	case r.Method == http.MethodGet:
		_ = json.NewEncoder(w).Encode(found)
	case r.Method == http.MethodPut && sent.ResourceVersion != "" && sent.ResourceVersion != found.ResourceVersion:
		status(http.StatusConflict, metav1.StatusReasonConflict)
	default:
		_ = json.NewEncoder(w).Encode(s.put(&sent))
	}
}

func (s *configMaps) put(cm *corev1.ConfigMap) *corev1.ConfigMap {
	s.served++
	cm.ResourceVersion = strconv.Itoa(s.served)
	cm.TypeMeta = metav1.TypeMeta{Kind: "ConfigMap", APIVersion: "v1"}
	s.items[cm.Name] = cm
	return cm
}

// change does something to the ConfigMaps behind everybody's back.
func (s *configMaps) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func serveMaps(t *testing.T) (*configMaps, corev1client.CoreV1Interface) {
	t.Helper()
	api := &configMaps{items: map[string]*corev1.ConfigMap{}}
	server := httptest.NewServer(api)
	t.Cleanup(server.Close)
	core, err := corev1client.NewForConfig(&restclient.Config{Host: server.URL, ContentConfig: restclient.ContentConfig{ContentType: "application/json"}})
	if err != nil {
		t.Fatal(err)
	}
	return api, core
}

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
				api, core := serveMaps(t)
				told := &warned{}
				runner := r.runner(c)
				j := &keptJournal{Journal: &journal{core: core, namespace: testNamespace, shared: r.sh, warn: told.warn}, run: r}
				runner.Journal = j
				real := runner.Actions[at]
				var once sync.Once // there are two writers
				runner.Actions[at] = action{undo: real.Undo, do: func(ctx context.Context, task *plan.Task) error {
					once.Do(func() { api.change(func() { clear(api.items); api.closed = closed }) })
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
					if j.unsaved == nil || len(api.items) > 0 {
						t.Errorf("unsaved: %v, %d journals", j.unsaved, len(api.items))
					}
					return
				}
				if ops, err := Operations(t.Context(), core, testNamespace); err != nil || len(ops) != 1 || ops[0].Phase != plan.Succeeded || j.unsaved != nil {
					t.Errorf("journals: %+v, %v, unsaved: %v", ops, err, j.unsaved)
				}
				if len(told.said) != 1 || !strings.Contains(told.said[0], "was deleted; it is written again") {
					t.Errorf("told %q", told.said)
				}
			})
		}
	}
}

// TestJournalOfAnother: an object of that name with another content is another client's, also after a deletion.
func TestJournalOfAnother(t *testing.T) {
	t.Parallel()
	name := journalName("op1")
	for what, c := range map[string]struct {
		change func(api *configMaps)
		lost   bool
	}{
		"untouched":           {func(*configMaps) {}, false},
		"only labels":         {func(api *configMaps) { cm := api.items[name].DeepCopy(); cm.Labels["a"] = "b"; api.put(cm) }, false},
		"deleted":             {func(api *configMaps) { delete(api.items, name) }, false},
		"made anew as it was": {func(api *configMaps) { cm := api.items[name].DeepCopy(); delete(api.items, name); api.put(cm) }, false},
		"written":             {func(api *configMaps) { cm := api.items[name].DeepCopy(); cm.Data[journalKey] = "{}"; api.put(cm) }, true},
		"deleted, another written": {func(api *configMaps) {
			delete(api.items, name)
			api.put(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}})
		}, true},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			api, core := serveMaps(t)
			o := &plan.Operation{ID: "op1", Phase: plan.Running}
			j := &journal{core: core, namespace: testNamespace, shared: &Shared{}, warn: (&warned{}).warn}
			if err := j.Save(t.Context(), o); err != nil {
				t.Fatal(err)
			}
			api.change(func() { c.change(api) })
			if same, exists, err := j.ours(t.Context()); err != nil || exists != (what != "deleted") || exists && same == c.lost {
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
	api, core := serveMaps(t)
	o := &plan.Operation{ID: "op1", Phase: plan.Running}
	j := &journal{core: core, namespace: testNamespace, shared: &Shared{}, warn: (&warned{}).warn}
	if err := j.Save(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	before := *api.items[journalName("op1")]
	o.Phase = plan.Failed
	api.closed = true
	if err := j.Save(t.Context(), o); err == nil {
		t.Fatal("saved")
	}
	lost := before
	lost.Data = map[string]string{journalKey: j.unsure[0]}
	api.change(func() { api.closed = false; api.put(&lost) })
	o.Phase = plan.GoingBack
	if err := j.Save(t.Context(), o); err != nil {
		t.Error(err)
	}
}

// TestUnreadableJournal is told by its name, and stands in nobody's way but that of its own control plane.
func TestUnreadableJournal(t *testing.T) {
	t.Parallel()
	api, core := serveMaps(t)
	save := func(id, target string, phase plan.Phase) *corev1.ConfigMap {
		j := &journal{core: core, namespace: testNamespace, shared: &Shared{Highest: 7}, warn: (&warned{}).warn}
		if err := j.Save(t.Context(), &plan.Operation{ID: id, Target: target, Phase: phase}); err != nil {
			t.Fatal(err)
		}
		return api.items[journalName(id)]
	}
	save("good", "team-a/etcd", plan.Succeeded)
	save("torn", "team-a/other", plan.Running).Data[journalKey] = `{"id": "torn"`
	save("bare", "team-a/other", plan.Succeeded).Data[journalKey] = `{"id": "bare", "phase": "succeeded"}`
	ops, bad, err := Journals(t.Context(), core, "")
	if err != nil || len(ops) != 1 || ops[0].ID != "good" || len(bad) != 2 {
		t.Fatalf("%+v, %+v, %v", ops, bad, err)
	}
	if o, err := find(t.Context(), core, "", "good"); err != nil || o.ID != "good" {
		t.Errorf("another one is not found: %v", err)
	}
	var u *Unreadable
	if _, err := find(t.Context(), core, "", "torn"); !errors.As(err, &u) || !strings.Contains(err.Error(), "read journal team-a/"+journalName("torn")) || !strings.Contains(u.Hint(), "get configmap "+journalName("torn")) {
		t.Errorf("not told by its name: %v", err)
	}
	d := Deps{Clients: &reach.Clients{Core: core}, Report: silent{t}}
	if k, err := unfinished(t.Context(), d, controlplane.ControlPlane{Namespace: testNamespace, Name: "etcd"}); err != nil || k.seen != 7 || len(k.notes) > 0 {
		t.Errorf("in the way of another control plane: %+v, %v", k, err)
	}
	if _, err := unfinished(t.Context(), d, controlplane.ControlPlane{Namespace: testNamespace, Name: "other"}); !errors.As(err, &u) || u.ID != "torn" {
		t.Errorf("not in the way of its own: %v", err)
	}
	api.change(func() { delete(api.items, journalName("torn")) })
	if k, err := unfinished(t.Context(), d, controlplane.ControlPlane{Namespace: testNamespace, Name: "other"}); err != nil || len(k.notes) != 1 || !strings.Contains(k.notes[0], journalName("bare")) {
		t.Errorf("one that has ended: %+v, %v", k, err)
	}
}
