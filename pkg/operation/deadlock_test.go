package operation

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordv1client "k8s.io/client-go/kubernetes/typed/coordination/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	restclient "k8s.io/client-go/rest"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/operation/operationtest"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
)

// TestSaveAsksForTheLock: a save whose lock is gone asks, by way of its own request, whether the journal is this client's. It must not
// wait for itself.
func TestSaveAsksForTheLock(t *testing.T) {
	state := &operationtest.Leases{}
	var kept []byte // what was written, for who reads it
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.URL.Path, "/configmaps") {
			state.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		b, _ := io.ReadAll(r.Body)
		if r.Method == http.MethodPut && !strings.Contains(string(b), `"resourceVersion"`) {
			w.WriteHeader(404)
			_ = json.NewEncoder(w).Encode(metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: "Failure", Reason: metav1.StatusReasonNotFound, Code: 404})
			return
		}
		if len(b) > 0 {
			kept = b
		}
		_, _ = w.Write([]byte(strings.Replace(string(kept), `"metadata":{`, `"metadata":{"resourceVersion":"1",`, 1)))
	})
	srv := httptest.NewServer(h)
	defer srv.Close()
	cfg := &restclient.Config{Host: srv.URL, ContentConfig: restclient.ContentConfig{ContentType: "application/json"}}
	cfg = Fenced(cfg)
	core, err := corev1client.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	coord, err := coordv1client.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l := &Lock{place: Cluster{Coord: coord}, claim: ours, now: time.Now, renewed: time.Now()}
	l.lost, l.lose = context.WithCancelCause(context.Background())
	j := &Journal{Place: Cluster{Core: core}, Namespace: "a", Data: struct{}{}, Warn: t.Logf}
	l.Watches(j)
	ctx := context.WithValue(t.Context(), lockKey{}, l)
	o := &plan.Operation{ID: "x", Target: "a/etcd"}
	if err := j.Save(ctx, o); err != nil {
		t.Fatal("first", err)
	}
	l.mu.Lock()
	l.renewed = time.Now().Add(-20 * time.Second) // a machine that slept; the lease is gone
	l.mu.Unlock()
	done := make(chan error, 1)
	sctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	go func() { done <- j.Save(sctx, o) }()
	select {
	case err := <-done:
		t.Log("ended:", err)
	case <-time.After(30 * time.Second):
		t.Fatal("it hangs, though its context has ended long ago")
	}
}
