package site

import (
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordv1client "k8s.io/client-go/kubernetes/typed/coordination/v1"
	restclient "k8s.io/client-go/rest"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/operation"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/operation/operationtest"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
)

// TestBusy: who meets another's lock is told who is at work, and what to type.
func TestBusy(t *testing.T) {
	t.Parallel()
	o := &plan.Operation{ID: "op1", Target: "a/etcd", Phase: plan.Running}
	for name, c := range map[string]struct {
		silent       time.Duration // negative: there is no lock
		reason, hint string
	}{
		"it lives":         {time.Second, "it is in the way; in progress by somebody on m (operation op1, client x), last heard of 1s ago", "wait until that client has ended, or press Ctrl-C there; how far it is says: kubectl etcd restore status -n a op1; if it is gone, finish it with: kubectl etcd restore resume -n a op1"},
		"it is silent":     {time.Hour, "it is in the way; it was in progress by somebody on m (operation op1, client x), last heard of 1h0m0s ago", "finish it with: kubectl etcd restore resume -n a op1"},
		"nobody has begun": {-1, "it is in the way; no client works on it", "finish it with: kubectl etcd restore resume -n a op1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			api, now := &operationtest.Leases{}, time.Now()
			if c.silent >= 0 {
				api.Lease = operationtest.Held("kubectl-etcd-etcd", "somebody on m (operation op1, client x)")
				at := metav1.NewMicroTime(now.Add(-c.silent))
				api.Lease.Spec.RenewTime, api.Lease.Spec.AcquireTime = &at, &at
			}
			server := httptest.NewServer(api)
			defer server.Close()
			coord, err := coordv1client.NewForConfig(&restclient.Config{Host: server.URL, ContentConfig: restclient.ContentConfig{ContentType: "application/json"}})
			if err != nil {
				t.Fatal(err)
			}
			err = InTheWay(t.Context(), Deps{Place: operation.Cluster{Coord: coord}, Report: told{t}, Now: func() time.Time { return now }}, o, "it is in the way")
			var refusal *Refusal
			if !errors.As(err, &refusal) || refusal.Reason != c.reason || !strings.HasPrefix(refusal.Hint(), c.hint) {
				t.Errorf("%v; hint: %s", err, refusal.Hint())
			}
		})
	}
}
