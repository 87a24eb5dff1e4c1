package userapi

import (
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

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
	u := &API{client: api.Client(), host: api.URL}
	got, err := u.Count(t.Context(), 500, []string{"pods", "nodes", "services", "configmaps", "secrets", "serviceaccounts", "jobs"})
	if want := map[string]int64{"pods": 42, "nodes": 0, "services": 1}; err == nil || !strings.Contains(err.Error(), "serviceaccounts: 500") || !maps.Equal(got, want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
	if got, err := u.Count(t.Context(), 500, []string{"pods", "secrets", "jobs"}); err != nil || len(got) != 1 {
		t.Errorf("what no other try counts: %v, %v", got, err)
	}
	answers["/api/v1/pods"] = "410"
	if _, err := u.Count(t.Context(), 500, []string{"pods"}); !errors.Is(err, ErrCompacted) {
		t.Errorf("%v", err)
	}
	if _, err := u.Count(t.Context(), 500, []string{"secrets"}); err == nil || !strings.Contains(err.Error(), "/api/v1/secrets: ") {
		t.Errorf("%v", err)
	}
}

func TestCountable(t *testing.T) {
	got := Countable(map[string]int64{"minions": 3, "services/specs": 2, "services/endpoints": 9, "leases": 1, "example.com/crontabs": 4})
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
