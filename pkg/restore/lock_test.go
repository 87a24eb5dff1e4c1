package restore

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	coordv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordv1client "k8s.io/client-go/kubernetes/typed/coordination/v1"
	restclient "k8s.io/client-go/rest"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
)

// leases is an API server that has one Lease, and counts what else is asked of it.
type leases struct {
	mu       sync.Mutex
	lease    *coordv1.Lease // nil: there is none
	renewals int
	others   int
}

func (s *leases) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	status := func(code int, reason metav1.StatusReason) {
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: "Failure", Reason: reason, Code: int32(code)})
	}
	switch {
	case !strings.Contains(r.URL.Path, "/leases/"):
		s.others++
	case s.lease == nil:
		status(http.StatusNotFound, metav1.StatusReasonNotFound)
		return
	case r.Method == http.MethodPut:
		var lease coordv1.Lease
		if err := json.NewDecoder(r.Body).Decode(&lease); err != nil || lease.ResourceVersion != s.lease.ResourceVersion {
			status(http.StatusConflict, metav1.StatusReasonConflict)
			return
		}
		s.renewals++
		lease.ResourceVersion += "1"
		s.lease = &lease
	}
	_ = json.NewEncoder(w).Encode(s.lease)
}

const us, them = "us", "them"

func held(by string) *coordv1.Lease {
	return &coordv1.Lease{TypeMeta: metav1.TypeMeta{Kind: "Lease", APIVersion: "coordination.k8s.io/v1"},
		ObjectMeta: metav1.ObjectMeta{Name: lockName("etcd"), Namespace: "a", ResourceVersion: "1"}, Spec: coordv1.LeaseSpec{HolderIdentity: &by}}
}

// TestFence: a client that has heard nothing of its lock for long makes sure of it before it changes anything, and changes
// nothing any more once it has lost it.
func TestFence(t *testing.T) {
	t.Parallel()
	const scale, exec = "PUT /apis/apps/v1/namespaces/a/statefulsets/etcd/scale", "GET /api/v1/namespaces/a/pods/x/exec"
	const read = "GET /api/v1/namespaces/a/pods/x"
	for name, c := range map[string]struct {
		request  string
		silent   time.Duration // since the lock was renewed
		lease    *coordv1.Lease
		sent     bool
		renewals int
	}{
		"renewed just now":             {scale, 0, held(us), true, 0},
		"just now, and nobody asks":    {scale, leaseFor / 3, held(them), true, 0},
		"long ago, still ours":         {scale, leaseFor, held(us), true, 1},
		"an exec, too":                 {exec, leaseFor, held(us), true, 1},
		"another's":                    {scale, leaseFor, held(them), false, 0},
		"an exec when it is another's": {exec, leaseFor, held(them), false, 0},
		"deleted":                      {exec, leaseFor, nil, false, 0},
		"only looks":                   {read, leaseFor, held(them), true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			api := &leases{lease: c.lease}
			ctx, l, client := fenced(t, api, time.Now().Add(-c.silent))
			method, path, _ := strings.Cut(c.request, " ")
			send := func(ctx context.Context) error {
				req, err := http.NewRequestWithContext(ctx, method, l.url+path, nil)
				if err != nil {
					t.Fatal(err)
				}
				resp, err := client.Do(req)
				if err == nil {
					resp.Body.Close()
				}
				return err
			}
			if err := send(ctx); (err == nil) != c.sent || err != nil && !errors.Is(err, plan.ErrAbandoned) {
				t.Errorf("sent: %v", err)
			}
			if n := strconv.Itoa(api.others) + strconv.Itoa(api.renewals); n != map[bool]string{true: "1", false: "0"}[c.sent]+strconv.Itoa(c.renewals) {
				t.Errorf("%d requests came through, the lock was renewed %d times", api.others, api.renewals)
			}
			if err := send(unfenced(ctx)); err != nil {
				t.Errorf("what a client has made for itself: %v", err)
			}
			if !c.sent {
				api.lease = held(us) // whoever has lost it once may not go on
				if err := send(ctx); !errors.Is(err, plan.ErrAbandoned) {
					t.Errorf("sent later: %v", err)
				}
			}
		})
	}
}

// TestFenceWallClock: a machine's own time stands still while it sleeps, the wall clock does not.
func TestFenceWallClock(t *testing.T) {
	t.Parallel()
	for name, renewed := range map[string]time.Time{
		"slept": time.Now().Round(0).Add(-leaseFor), // without the machine's own time
		"awake": time.Now().Add(-leaseFor),
	} {
		_, l, _ := fenced(t, &leases{lease: held(them)}, renewed)
		if err := l.held(t.Context()); !errors.Is(err, plan.ErrAbandoned) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

type fencedLock struct {
	*lock
	url string
}

func fenced(t *testing.T, api *leases, renewed time.Time) (context.Context, fencedLock, *http.Client) {
	t.Helper()
	server := httptest.NewServer(api)
	t.Cleanup(server.Close)
	cfg := &restclient.Config{Host: server.URL, ContentConfig: restclient.ContentConfig{ContentType: "application/json"}}
	cfg.Wrap(Fence)
	coord, err := coordv1client.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	client, err := restclient.HTTPClientFor(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l := &lock{leases: coord.Leases("a"), name: lockName("etcd"), holder: us, now: time.Now, renewed: renewed}
	l.lost, l.lose = context.WithCancelCause(context.Background())
	t.Cleanup(func() { l.lose(nil) })
	return context.WithValue(t.Context(), lockKey{}, l), fencedLock{l, server.URL}, client
}
