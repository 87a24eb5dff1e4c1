package operation

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	coordv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordv1client "k8s.io/client-go/kubernetes/typed/coordination/v1"
	restclient "k8s.io/client-go/rest"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/operation/operationtest"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
)

const us, them = "us", "them"

var ours = Claim{Namespace: "a", Name: lockName("etcd"), Holder: us, For: LeaseFor}

func held(by string) *coordv1.Lease { return operationtest.Held(lockName("etcd"), by) }

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
		"just now, and nobody asks":    {scale, LeaseFor / 3, held(them), true, 0},
		"long ago, still ours":         {scale, LeaseFor, held(us), true, 1},
		"an exec, too":                 {exec, LeaseFor, held(us), true, 1},
		"another's":                    {scale, LeaseFor, held(them), false, 0},
		"an exec when it is another's": {exec, LeaseFor, held(them), false, 0},
		"deleted":                      {exec, LeaseFor, nil, false, 0},
		"only looks":                   {read, LeaseFor, held(them), true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			api := &operationtest.Leases{Lease: c.lease}
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
			if n := strconv.Itoa(api.Others) + strconv.Itoa(api.Renewals); n != map[bool]string{true: "1", false: "0"}[c.sent]+strconv.Itoa(c.renewals) {
				t.Errorf("%d requests came through, the lock was renewed %d times", api.Others, api.Renewals)
			}
			if err := send(Unfenced(ctx)); err != nil {
				t.Errorf("what a client has made for itself: %v", err)
			}
			if !c.sent {
				api.Lease = held(us) // whoever has lost it once may not go on
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
		"slept": time.Now().Round(0).Add(-LeaseFor), // without the machine's own time
		"awake": time.Now().Add(-LeaseFor),
	} {
		_, l, _ := fenced(t, &operationtest.Leases{Lease: held(them)}, renewed)
		if err := l.Held(t.Context()); !errors.Is(err, plan.ErrAbandoned) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestBusy: who meets another's lock is told who holds it, and what to type.
func TestBusy(t *testing.T) {
	t.Parallel()
	for name, silent := range map[string]time.Duration{"it lives": time.Second, "it is silent": time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			now := time.Now()
			api := &operationtest.Leases{Lease: held("somebody on m (operation op1, client x)")}
			at := metav1.NewMicroTime(now.Add(-silent))
			api.Lease.Spec.RenewTime, api.Lease.Spec.AcquireTime = &at, &at
			_, l, _ := fenced(t, api, now)
			var busy *BusyError
			if err := l.take(t.Context()); !errors.Is(err, ErrBusy) || !errors.As(err, &busy) || !strings.Contains(busy.Hint(), "restore status -n a op1; if it is gone, try again 30s after") {
				t.Errorf("take: %v", err)
			}
		})
	}
}

// left is what a client finds of its journal.
type left struct{ same, exists bool }

func (l left) Ours(context.Context) (bool, bool, error) { return l.same, l.exists, nil }

// TestLockDeleted: a lock that somebody has deleted is made again, unless another client can have been at work since.
func TestLockDeleted(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		journal Witness
		silent  time.Duration
		kept    bool
	}{
		"the journal is as it was":           {left{true, true}, LeaseFor, true},
		"after hours":                        {left{true, true}, 5 * time.Hour, true},
		"another has written it":             {left{false, true}, LeaseFor / 2, false},
		"it was deleted, too":                {left{false, false}, LeaseFor / 2, true},
		"it was deleted, too, after a sleep": {left{false, false}, 2 * LeaseFor, false},
		"there is none":                      {nil, LeaseFor / 2, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			api := &operationtest.Leases{}
			ctx, l, _ := fenced(t, api, time.Now().Add(-c.silent))
			l.journal = c.journal
			err := l.renew(ctx, renewTimeout)
			if (err == nil) != c.kept || !c.kept && !errors.Is(err, plan.ErrAbandoned) {
				t.Fatal(err)
			}
			if c.kept && (api.Lease == nil || *api.Lease.Spec.HolderIdentity != us) || (l.lost.Err() == nil) != c.kept {
				t.Errorf("lock %+v, lost: %v", api.Lease, context.Cause(l.lost))
			}
			if err != nil && strings.Contains(err.Error(), "another client has") {
				t.Errorf("nobody has: %v", err)
			}
		})
	}
}

// TestReborn: where the etcd that has the lock was exchanged for a snapshot, a lock that has come back with it is nobody's, and one that is
// gone is made anew however long nobody could ask; what another client has taken since stays its own.
func TestReborn(t *testing.T) {
	t.Parallel()
	old := func(revision string) *coordv1.Lease {
		l := held(them)
		l.ResourceVersion = revision
		return l
	}
	for name, c := range map[string]struct {
		lease   *coordv1.Lease
		journal left
		reborn  int64
		written int64
		kept    bool
	}{
		"of before the snapshot":                        {old("90"), left{}, 100, 101, true},
		"taken since":                                   {old("101"), left{}, 100, 101, false},
		"of before, but nothing was exchanged":          {old("90"), left{}, 0, 101, false},
		"gone, with the journal":                        {nil, left{}, 100, 101, true},
		"gone, and another has written the journal":     {nil, left{false, true}, 100, 101, false},
		"gone, with the journal, nothing was exchanged": {nil, left{}, 0, 101, false},
		"of before, but so was ours":                    {old("90"), left{}, 100, 80, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			api := &operationtest.Leases{Lease: c.lease}
			ctx, l, _ := fenced(t, api, time.Now().Add(-2*LeaseFor))
			l.journal, l.written = c.journal, c.written
			Reborn(ctx, c.reborn)
			err := l.renew(ctx, renewTimeout)
			if (err == nil) != c.kept || !c.kept && !errors.Is(err, plan.ErrAbandoned) {
				t.Fatal(err)
			}
			if c.kept && (api.Lease == nil || *api.Lease.Spec.HolderIdentity != us) {
				t.Errorf("lock %+v", api.Lease)
			}
		})
	}
}

// TestReleaseLate: renewals that were broken off, and arrive while the lock is given back, do not keep it; another client's lock stays.
func TestReleaseLate(t *testing.T) {
	t.Parallel()
	for holder, kept := range map[string]bool{us: false, them: true} {
		api := &operationtest.Leases{Lease: held(holder), Late: 2}
		ctx, l, _ := fenced(t, api, time.Now())
		if err := l.free(ctx); err != nil || (api.Lease != nil) != kept {
			t.Errorf("lock of %s: left %+v, %v", holder, api.Lease, err)
		}
	}
}

type fencedLock struct {
	*Lock
	url string
}

func fenced(t *testing.T, api *operationtest.Leases, renewed time.Time) (context.Context, fencedLock, *http.Client) {
	t.Helper()
	server := httptest.NewServer(api)
	t.Cleanup(server.Close)
	cfg := &restclient.Config{Host: server.URL, ContentConfig: restclient.ContentConfig{ContentType: "application/json"}}
	cfg = Fenced(cfg)
	coord, err := coordv1client.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	client, err := restclient.HTTPClientFor(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l := &Lock{place: Cluster{Coord: coord}, claim: ours, now: time.Now, renewed: renewed}
	l.lost, l.lose = context.WithCancelCause(context.Background())
	t.Cleanup(func() { l.lose(nil) })
	return context.WithValue(t.Context(), lockKey{}, l), fencedLock{l, server.URL}, client
}

// TestNoFence: an operation whose clients send whatever they are asked to is not opened, and leaves no lock.
func TestNoFence(t *testing.T) {
	t.Parallel()
	api := &operationtest.Leases{}
	server := httptest.NewServer(api)
	defer server.Close()
	cfg := &restclient.Config{Host: server.URL, ContentConfig: restclient.ContentConfig{ContentType: "application/json"}}
	for _, c := range []struct {
		cfg    *restclient.Config
		opened bool
	}{{cfg, false}, {Fenced(cfg), true}} {
		coord, err := coordv1client.NewForConfig(c.cfg)
		if err != nil {
			t.Fatal(err)
		}
		_, l, err := Locker{Place: Cluster{Coord: coord}, Holder: us, Now: time.Now}.Acquire(t.Context(), "a", "etcd", "op1", false)
		if c.opened != (err == nil) || !c.opened && !strings.Contains(err.Error(), "not fenced") {
			t.Fatal(err)
		}
		if c.opened {
			err = l.Release(t.Context())
		}
		if c.opened && err != nil || api.Lease != nil {
			t.Errorf("left: %+v, %v", api.Lease, err)
		}
	}
}
