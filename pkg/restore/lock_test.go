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
	case !strings.Contains(r.URL.Path, "/leases"):
		s.others++
	case r.Method == http.MethodPost && s.lease == nil:
		lease := held("")
		if err := json.NewDecoder(r.Body).Decode(lease); err != nil {
			status(http.StatusBadRequest, metav1.StatusReasonBadRequest)
			return
		}
		s.lease = lease
	case r.Method == http.MethodPost:
		status(http.StatusConflict, metav1.StatusReasonAlreadyExists)
		return
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

// TestBusy: who meets another's lock is told who is at work, and what to type.
func TestBusy(t *testing.T) {
	t.Parallel()
	o := &plan.Operation{ID: "op1", Target: "a/etcd", Phase: plan.Running}
	for name, c := range map[string]struct {
		silent       time.Duration // negative: there is no lock
		reason, hint string
	}{
		"it lives":         {time.Second, "it is in the way; at it is somebody on m (operation op1, client x), last heard of 1s ago", "wait until that client has ended, or press Ctrl-C there; how far it is says: kubectl etcd restore status -n a op1; if it is gone, finish it with: kubectl etcd restore resume -n a op1"},
		"it is silent":     {time.Hour, "it is in the way; at it was somebody on m (operation op1, client x), last heard of 1h0m0s ago", "finish it with: kubectl etcd restore resume -n a op1"},
		"nobody has begun": {-1, "it is in the way; nobody is at it", "finish it with: kubectl etcd restore resume -n a op1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			api, now := &leases{}, time.Now()
			if c.silent >= 0 {
				api.lease = held("somebody on m (operation op1, client x)")
				at := metav1.NewMicroTime(now.Add(-c.silent))
				api.lease.Spec.RenewTime, api.lease.Spec.AcquireTime = &at, &at
			}
			_, l, _ := fenced(t, api, now)
			err := inTheWay(t.Context(), Deps{Coord: l.coord, Now: func() time.Time { return now }}, o, "it is in the way")
			var refusal *Refusal
			if !errors.As(err, &refusal) || refusal.Reason != c.reason || !strings.HasPrefix(refusal.Hint, c.hint) {
				t.Errorf("%v; hint: %s", err, refusal.Hint)
			}
			if c.silent < 0 {
				return
			}
			var busy *busyError
			if err := l.take(t.Context()); !errors.Is(err, ErrBusy) || !errors.As(err, &busy) || !strings.Contains(busy.Hint(), "restore status -n a op1; if it is gone, try again 30s after") {
				t.Errorf("take: %v", err)
			}
		})
	}
}

// left is what a client finds of its journal.
type left struct{ same, exists bool }

func (l left) ours(context.Context) (bool, bool, error) { return l.same, l.exists, nil }

// TestLockDeleted: a lock that somebody has deleted is made again, unless another client can have been at work since.
func TestLockDeleted(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		journal witness
		silent  time.Duration
		kept    bool
	}{
		"the journal is as it was":           {left{true, true}, leaseFor, true},
		"after hours":                        {left{true, true}, 5 * time.Hour, true},
		"another has written it":             {left{false, true}, leaseFor / 2, false},
		"it was deleted, too":                {left{false, false}, leaseFor / 2, true},
		"it was deleted, too, after a sleep": {left{false, false}, 2 * leaseFor, false},
		"there is none":                      {nil, leaseFor / 2, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			api := &leases{}
			ctx, l, _ := fenced(t, api, time.Now().Add(-c.silent))
			l.journal = c.journal
			err := l.renew(ctx, renewTimeout)
			if (err == nil) != c.kept || !c.kept && !errors.Is(err, plan.ErrAbandoned) {
				t.Fatal(err)
			}
			if c.kept && (api.lease == nil || value(api.lease.Spec.HolderIdentity) != us) || (l.lost.Err() == nil) != c.kept {
				t.Errorf("lock %+v, lost: %v", api.lease, context.Cause(l.lost))
			}
			if err != nil && strings.Contains(err.Error(), "another client has") {
				t.Errorf("nobody has: %v", err)
			}
		})
	}
}

type fencedLock struct {
	*lock
	url   string
	coord coordv1client.CoordinationV1Interface
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
	return context.WithValue(t.Context(), lockKey{}, l), fencedLock{l, server.URL, coord}, client
}
