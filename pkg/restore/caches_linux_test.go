package restore

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
)

// TestCaches: an API server that goes on serving what it knew is restarted, others are left alone.
func TestCaches(t *testing.T) {
	defer func(d time.Duration) { cachesFor = d }(cachesFor)
	cachesFor = 500 * time.Millisecond
	for name, c := range map[string]struct {
		bump  int64
		stale func(w *world, r *run) int64 // revision
		want  int                          // restarts
	}{
		"all have read anew":      {-1, func(*world, *run) int64 { return 0 }, 0},
		"one is of the past":      {-1, func(w *world, _ *run) int64 { return w.before.Revision }, 1},
		"one is of a lost future": {0, func(w *world, _ *run) int64 { return w.before.Revision + 1000 }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 1)
			cl := w.client(-1)
			r := w.operate(cl)
			if c.bump >= 0 {
				r.sh.Bump, r.sh.BumpAsked = c.bump, true
			}
			runner := r.runner(cl)
			runner.Actions[kindCaches] = action{do: func(ctx context.Context, task *plan.Task) error {
				w.restored, w.stale, w.begun = r.sh.Snapshot.Revision+r.sh.Bump, c.stale(w, r), w.pods[apiserver]
				return r.caches(ctx, task)
			}}
			if err := runner.Run(t.Context(), r.op); err != nil {
				t.Fatal(err)
			}
			if got := w.pods[apiserver] - w.begun; got != c.want {
				t.Errorf("restarted %d times, want %d", got, c.want)
			}
		})
	}
}

func TestUserOf(t *testing.T) {
	const whole = `
apiVersion: v1
kind: Config
current-context: a
clusters: [{name: a, cluster: {server: "https://kube-apiserver:6443", certificate-authority-data: Cg==}}]
contexts: [{name: a, context: {cluster: a, user: a}}]
users: [{name: a, user: {token: secret}}]
`
	for name, c := range map[string]struct {
		text string
		ok   bool
	}{
		"whole":        {whole, true},
		"a key":        {"-----BEGIN RSA PRIVATE KEY-----\n", false},
		"empty":        {"", false},
		"names a file": {whole[:len(whole)-len("users: [{name: a, user: {token: secret}}]\n")] + "users: [{name: a, user: {client-certificate: /etc/a.crt, client-key: /etc/a.key}}]\n", false},
	} {
		cfg, err := userOf(&corev1.Secret{Data: map[string][]byte{"kubeconfig": []byte(c.text)}}, "kubeconfig")
		if (err == nil) != c.ok || c.ok && cfg.Host != "https://kube-apiserver:6443" {
			t.Errorf("%s: %v, %v", name, cfg, err)
		}
	}
}
