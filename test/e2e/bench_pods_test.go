//go:build e2e && bench

package e2e

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

// podTimes says when the control plane's pods became ready, by this machine's clock: pods say it in whole seconds.
type podTimes struct {
	mu    sync.Mutex
	ready []readyPod
}

type readyPod struct {
	name string
	at   time.Time
}

// watchPods begins to look. It ends with the test.
func (u *user) watchPods(t testing.TB) *podTimes {
	t.Helper()
	cfg, err := clientcmd.BuildConfigFromFlags("", u.c.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	client, err := corev1client.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	p := &podTimes{}
	source := cache.NewListWatchFromClient(client.RESTClient(), "pods", u.Namespace, fields.Everything())
	informer := cache.NewSharedIndexInformer(source, &corev1.Pod{}, 0, nil)
	_, err = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { p.seen(nil, o.(*corev1.Pod)) },
		UpdateFunc: func(old, now any) { p.seen(old.(*corev1.Pod), now.(*corev1.Pod)) },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(testContext(t))
	done := make(chan struct{})
	go func() { defer close(done); informer.RunWithContext(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	if !cache.WaitForCacheSync(t.Context().Done(), informer.HasSynced) {
		t.Fatal("the pods of the control plane were not listed")
	}
	return p
}

func (p *podTimes) seen(old, now *corev1.Pod) {
	if !isReady(now) || old != nil && old.UID == now.UID && isReady(old) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ready = append(p.ready, readyPod{now.Name, time.Now()})
}

func isReady(p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// startUp is how long the first API server that became ready within the gap took from when the first member was. A member
// is ready when it has a quorum. It is 0 where the API servers went on.
func (p *podTimes) startUp(g gap) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	// An API server is seen to be ready when its Service knows it, which is when the writer gets through: about the gap's end.
	first := func(prefix string) (at time.Time) {
		for _, r := range p.ready {
			if strings.HasPrefix(r.name, prefix) && r.at.After(g.begin) && r.at.Before(g.end.Add(2*time.Second)) {
				return r.at
			}
		}
		return at
	}
	etcd, server := first("kube-etcd-"), first("kube-apiserver-")
	if etcd.IsZero() || !server.After(etcd) {
		return 0
	}
	return server.Sub(etcd)
}
