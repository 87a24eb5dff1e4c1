//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
)

// applications is the namespace of the user cluster in which writer and watcher are at work.
const applications = "applications"

// writer is an application of the user cluster: every 50 ms it creates an object, and it remembers which creations were
// acknowledged. It does not repeat one that failed: the next tick is its retry, with another object. So each name says
// exactly one thing, and what failed may have happened nevertheless.
type writer struct {
	u      *user // nil: it is no user cluster's
	client *corev1client.CoreV1Client
	stop   context.CancelFunc
	done   chan struct{}

	mu       sync.Mutex
	requests []request
}

// request is one creation.
type request struct {
	name       string
	begin, end time.Time
	err        error // not acknowledged
}

// write starts one. It ends with the test, if not before.
func (u *user) write(t testing.TB) *writer {
	t.Helper()
	return writeTo(t, u.client(t, "kube-apiserver"), u)
}

// writeTo starts one for any API server.
func writeTo(t testing.TB, cfg *rest.Config, u *user) *writer {
	t.Helper()
	// A connection to an API server that is gone may just be silent. With HTTP/1.1, the request that times out takes its
	// connection with it.
	cfg.Timeout, cfg.NextProtos = time.Second, []string{"http/1.1"}
	client, err := corev1client.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Minute, "namespace of the applications", func() error {
		_, err := client.Namespaces().Get(t.Context(), applications, metav1.GetOptions{})
		if err != nil {
			_, err = client.Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: applications}}, metav1.CreateOptions{})
		}
		return err
	})
	ctx, cancel := context.WithCancel(testContext(t))
	w := &writer{u: u, client: client, stop: cancel, done: make(chan struct{})}
	go w.run(ctx)
	t.Cleanup(w.end)
	return w
}

// end stops it and waits until it has.
func (w *writer) end() {
	w.stop()
	<-w.done
}

func (w *writer) run(ctx context.Context) {
	defer close(w.done)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	first := time.Now().UnixMilli() // names of another writer's are others
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		r := request{name: fmt.Sprintf("w-%d-%06d", first, i), begin: time.Now()}
		// Not cut short by the end of the writer: it would count as a failure.
		r.err = w.create(context.WithoutCancel(ctx), r.name)
		r.end = time.Now()
		w.mu.Lock()
		w.requests = append(w.requests, r)
		w.mu.Unlock()
	}
}

func (w *writer) create(ctx context.Context, name string) error {
	object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{"name": name}}
	// The client would repeat what the server asks it to; here a request is one request.
	return w.client.RESTClient().Post().Namespace(applications).Resource("configmaps").MaxRetries(0).Body(object).Do(ctx).Error()
}

// all are the requests so far, in order.
func (w *writer) all() []request {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.requests)
}

// acknowledged are the names of the creations that began and were acknowledged in this span of time.
func (w *writer) acknowledged(from, to time.Time) (out []string) {
	for _, r := range w.all() {
		if r.err == nil && !r.begin.Before(from) && r.end.Before(to) {
			out = append(out, r.name)
		}
	}
	return out
}

// writes waits until so many more creations have been acknowledged.
func (w *writer) writes(t testing.TB, n int) {
	t.Helper()
	from := time.Now()
	eventually(t, 2*time.Minute, fmt.Sprintf("%d more creations acknowledged", n), func() error {
		if got := len(w.acknowledged(from, time.Now())); got < n {
			all := w.all()
			if len(all) == 0 {
				return fmt.Errorf("no request has ended")
			}
			return fmt.Errorf("%d; the last one of %d: %v", got, len(all), all[len(all)-1].err)
		}
		return nil
	})
}

// outage is what a user of the API went through.
type outage struct {
	first  time.Duration // from the first request that failed to the first one after it that did not
	whole  time.Duration // from the first request that failed to the success after the last one that did
	failed int
	reason error // of the first failure
	over   bool  // a request has succeeded since
	// down is when the first request that failed began, up when the last one ended: in between, some may succeed.
	down, up time.Time
}

func (o outage) String() string {
	return fmt.Sprintf("%.2f s until the first success, %.2f s until the last failure was over, %d requests failed (%v)", o.first.Seconds(), o.whole.Seconds(), o.failed, o.reason)
}

// outage is computed of the requests that began since then.
func (w *writer) outage(since time.Time) outage {
	return outageOf(w.all(), since)
}

func outageOf(requests []request, since time.Time) (o outage) {
	var begin time.Time
	for _, r := range requests {
		switch {
		case r.begin.Before(since):
		case r.err != nil:
			if o.failed++; o.failed == 1 {
				begin, o.reason, o.down = r.begin, r.err, r.begin
			}
			o.up = r.end
			o.over = false
		case o.failed > 0 && !o.over:
			o.whole, o.over = r.end.Sub(begin), true
			if o.first == 0 {
				o.first = o.whole
			}
		}
	}
	return o
}

// restored checks what was acknowledged against what the API has now, after a restore with that outage: all from before the snapshot, nothing from between it and the outage, and all since the API came
// back for good.
func (w *writer) restored(t testing.TB, b backup, o outage) {
	t.Helper()
	now := time.Now()
	there := w.u.truth(t)
	check := func(what string, names []string, want bool) {
		var wrong []string
		for _, name := range names {
			if _, ok := there[name]; ok != want {
				wrong = append(wrong, name)
			}
		}
		if len(names) == 0 || len(wrong) > 0 {
			t.Errorf("objects %s: %d, there should be some, and each: %t; that is not so for %d, as %q", what, len(names), want, len(wrong), wrong[:min(3, len(wrong))])
		}
	}
	check("from before the snapshot", w.acknowledged(time.Time{}, b.begin), true)
	check("between snapshot and restore", w.acknowledged(b.end, o.down), false)
	check("from after the restore", w.acknowledged(o.up, now), true)
}

// allThere checks that every creation that was acknowledged so far has its object: nothing was restored.
func (w *writer) allThere(t testing.TB) {
	t.Helper()
	w.allSince(t, time.Time{})
}

func (w *writer) allSince(t testing.TB, from time.Time) {
	t.Helper()
	names := w.acknowledged(from, time.Now()) // first: it goes on writing
	there := w.u.truth(t)
	var missing []string
	for _, name := range names {
		if _, ok := there[name]; !ok {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		t.Errorf("%d of %d were acknowledged and are not there, as %q", len(missing), len(names), missing[:min(3, len(missing))])
	}
	if len(names) == 0 {
		t.Error("no creation was acknowledged")
	}
}
