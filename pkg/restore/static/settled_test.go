package static

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	restclient "k8s.io/client-go/rest"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore/exchange"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
)

type said struct {
	plan.Reporter
	steps []string
}

func (s *said) Step(format string, args ...any) {
	s.steps = append(s.steps, fmt.Sprintf(format, args...))
}
func (s *said) Warn(string, ...any)                 {}
func (s *said) Progress(_ string, _ int64, _ int64) {}

// TestSettled: what mends itself is waited for, what does not is said, and a node that was down before is not waited for.
func TestSettled(t *testing.T) {
	t.Parallel()
	running := func(name, uid, node string) corev1.Pod {
		p := pod(name, uid, node, "")
		p.Status.Phase = corev1.PodRunning
		return p
	}
	node := func(name string, ready corev1.ConditionStatus) corev1.Node {
		return corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: ready}}}}
	}
	up, down := node("n1", corev1.ConditionTrue), node("n2", corev1.ConditionFalse)
	young := node("n3", corev1.ConditionTrue)
	var restored atomic.Bool
	var asked atomic.Int64
	answer := func(r *http.Request) any {
		switch r.URL.Path {
		case "/api/v1/nodes":
			if restored.Load() {
				return corev1.NodeList{Items: []corev1.Node{up, down}}
			}
			return corev1.NodeList{Items: []corev1.Node{up, down, young}}
		case "/api/v1/pods":
			return corev1.PodList{Items: []corev1.Pod{running("old", "1", "n1")}}
		case "/api/v1/nodes/n1/proxy/runningpods/":
			if asked.Add(1) == 1 {
				return corev1.PodList{Items: []corev1.Pod{pod("old", "1", "n1", ""), pod("younger", "2", "n1", "")}}
			}
			return corev1.PodList{Items: []corev1.Pod{pod("old", "1", "n1", "")}}
		case "/apis/storage.k8s.io/v1/volumeattachments":
			return storagev1.VolumeAttachmentList{}
		}
		return nil
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		reply := answer(r)
		if reply == nil {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_ = json.NewEncoder(w).Encode(reply)
	}))
	defer server.Close()
	k, err := kubernetes.NewForConfig(&restclient.Config{Host: server.URL, QPS: -1})
	if err != nil {
		t.Fatal(err)
	}
	report := &said{}
	op := &plan.Operation{Steps: []plan.Step{{Kind: site.KindHotSwitch, State: plan.Pending}}}
	s := &site.Site{Operation: op, Deps: site.Deps{Clients: &reach.Clients{Core: k.CoreV1(), Auth: k.AuthorizationV1()}, Report: report}}
	w := &way{Exchange: &exchange.Exchange{Run: &restore.Run{Site: s}}}
	if err := w.nodesBefore(t.Context()); err != nil { // it cannot say which rights there are, which is taken for a yes
		t.Fatal(err)
	}
	if got := w.settled(t.Context()); got != nil || asked.Load() > 0 {
		t.Errorf("nothing was exchanged, and it says %q", got)
	}
	op.Steps[0].State = plan.Done
	restored.Store(true)
	got := w.settled(t.Context())
	want := []string{"the kubelet of node n2 does not say what it runs", "the restored cluster does not know node n3; on that node: systemctl restart kubelet"}
	if !slices.EqualFunc(got, want, strings.Contains) || asked.Load() < 2 {
		t.Errorf("%q; asked %d times; steps %q", got, asked.Load(), report.steps)
	}
}
