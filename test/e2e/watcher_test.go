//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// watcher is an application of the user cluster: a real informer. Nobody restarts it.
type watcher struct {
	u        *user
	informer cache.SharedIndexInformer

	mu     sync.Mutex
	errors []error // of its watches
}

// watch starts one and waits until it has its first list. It ends with the test.
func (u *user) watch(t testing.TB) *watcher {
	t.Helper()
	return watchAt(t, u.client(t, "kube-apiserver"), u)
}

// watchAt starts one at any API server.
func watchAt(t testing.TB, cfg *rest.Config, u *user) *watcher {
	t.Helper()
	client, err := corev1client.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w := &watcher{u: u}
	source := cache.NewListWatchFromClient(client.RESTClient(), "configmaps", applications, fields.Everything())
	w.informer = cache.NewSharedIndexInformer(source, &corev1.ConfigMap{}, 0, nil)
	err = w.informer.SetWatchErrorHandlerWithContext(func(_ context.Context, _ *cache.Reflector, err error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.errors = append(w.errors, err)
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(testContext(t))
	done := make(chan struct{})
	go func() { defer close(done); w.informer.RunWithContext(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	eventually(t, time.Minute, "the informer has listed", func() error {
		if !w.informer.HasSynced() {
			return fmt.Errorf("watch errors: %w", errors.Join(w.failures()...))
		}
		return nil
	})
	return w
}

// failures are what its watches ended with, in order.
func (w *watcher) failures() []error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]error{}, w.errors...)
}

func (w *watcher) cached() versions {
	out := versions{}
	for _, o := range w.informer.GetStore().List() {
		c := o.(*corev1.ConfigMap)
		out[c.Name] = c.ResourceVersion
	}
	return out
}

// converged waits until the informer's cache is what etcd holds; a writer may be at work. It says how long that took.
func (w *watcher) converged(t testing.TB, limit time.Duration) time.Duration {
	t.Helper()
	start := time.Now()
	w.u.agrees(t, limit, "the informer's cache", func(context.Context) (versions, error) { return w.cached(), nil })
	return time.Since(start)
}
