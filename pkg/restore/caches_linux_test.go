package restore

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
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

// TestCount: what the API has at the restored revision is compared, and what it has not, or does not tell, is told.
func TestCount(t *testing.T) {
	defer func(d time.Duration) { countFor = d }(countFor)
	countFor = 500 * time.Millisecond
	want := map[string]int64{"pods": 3, "secrets": 2}
	const unknown = "! whether the API shows what the snapshot has is not known: "
	for name, c := range map[string]struct {
		shown map[string]int64
		at    int64 // how far the API's revision is from the restored one
		wrong string
		says  string
	}{
		"all are there":   {map[string]int64{"pods": 3, "secrets": 2}, 0, "", "the API shows what the snapshot has: 5 objects of 2 kinds"},
		"one is not":      {map[string]int64{"pods": 2, "secrets": 2}, 0, "2 pods of 3", "! the API does not show what the snapshot has: 2 pods of 3"},
		"two are others":  {map[string]int64{"pods": 0, "secrets": 4}, 0, "0 pods of 3, 4 secrets of 2", "! the API does not show what the snapshot has: 0 pods of 3, 4 secrets of 2"},
		"not to be seen":  {map[string]int64{"pods": 3}, 0, "", "! the API does not say how many it has of: secrets|the API shows what the snapshot has: 3 objects of 1 kinds"},
		"compacted":       {map[string]int64{"pods": 2}, 1, "", unknown + "etcd has been compacted since"},
		"does not answer": {nil, 0, "", unknown + "wait until an API server counts its objects: "},
	} {
		t.Run(name, func(t *testing.T) {
			w := &world{t: t, shown: c.shown, restored: 500 + c.at, pods: map[workload]int{}, replicas: map[workload]int32{apiserver: 1}}
			user := &told{}
			r := &run{d: Deps{Report: user}, c: w.client(-1), op: &plan.Operation{}, sh: &Shared{Bump: 100, Miscounted: "left by an earlier try", Snapshot: SnapshotRecord{Revision: 400, Objects: want},
				Access: &access{Servers: []server{{testNamespace + "/StatefulSet/kube-apiserver", 6443}}}}}
			if err := r.count(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := r.sh.Flaw(); r.sh.Miscounted != c.wrong || errors.Is(err, ErrMiscounted) != (c.wrong != "") {
				t.Errorf("%q, %v; want %q", r.sh.Miscounted, err, c.wrong)
			}
			if said := strings.Join(user.steps, "|"); !strings.HasPrefix(said, c.says) {
				t.Errorf("the user reads %q, not %q", said, c.says)
			}
		})
	}
}

// TestObjects: what API servers of all ages answer.
func TestObjects(t *testing.T) {
	list := func(items int, more string) string {
		return `{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/v1","metadata":{"resourceVersion":"500"` + more + `},"items":[` + strings.TrimSuffix(strings.Repeat(`{"metadata":{"name":"a"}},`, items), ",") + `]}`
	}
	answers := map[string]string{
		"/api/v1/pods":             list(1, `,"continue":"x","remainingItemCount":41`),
		"/api/v1/nodes":            list(0, ""),
		"/api/v1/services":         list(1, ""),
		"/api/v1/configmaps":       list(1, `,"continue":"x"`), // before 1.24
		"/api/v1/secrets":          "403",
		"/api/v1/serviceaccounts":  "500",
		"/apis/batch/v1/jobs":      "404",
		"/apis/apps/v1/daemonsets": list(1, `,"continue":"x","remainingItemCount":1`), // not asked for
	}
	api := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		q := req.URL.Query()
		if q.Get("resourceVersion") != "500" || q.Get("resourceVersionMatch") != "Exact" || q.Get("limit") != "1" || !strings.Contains(req.Header.Get("Accept"), "as=PartialObjectMetadataList") {
			t.Errorf("asked for %s as %s", req.URL, req.Header.Get("Accept"))
		}
		text := answers[req.URL.Path]
		if code, err := strconv.Atoi(text); err == nil {
			rw.WriteHeader(code)
			return
		}
		_, _ = rw.Write([]byte(text))
	}))
	defer api.Close()
	u := &userAPI{Client: api.Client(), host: api.URL}
	got, err := u.count(t.Context(), 500, []string{"pods", "nodes", "services", "configmaps", "secrets", "serviceaccounts", "jobs"})
	if want := map[string]int64{"pods": 42, "nodes": 0, "services": 1}; err != nil || !maps.Equal(got, want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
	answers["/api/v1/pods"] = "410"
	if _, err := u.count(t.Context(), 500, []string{"pods"}); !errors.Is(err, errCompacted) {
		t.Errorf("%v", err)
	}
	if _, err := u.count(t.Context(), 500, []string{"secrets"}); err == nil || !strings.Contains(err.Error(), "/api/v1/secrets: ") {
		t.Errorf("%v", err)
	}
}

func TestCountable(t *testing.T) {
	got := countable(map[string]int64{"minions": 3, "services/specs": 2, "services/endpoints": 9, "leases": 1, "example.com/crontabs": 4})
	if want := map[string]int64{"nodes": 3, "services": 2, "leases": 1}; !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
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
