package site

import (
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	restclient "k8s.io/client-go/rest"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestFresh: a request that fails, in whatever way, is the last one on its connection, and on those that idle.
func TestFresh(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]http.HandlerFunc{
		"unavailable": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) },
		"silent":      func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			opened, first := 0, true
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				fails := first
				first = false
				mu.Unlock()
				if fails {
					answer(w, r)
					return
				}
				w.Header().Set("Content-Type", "application/json")
				_, _ = w.Write([]byte(`{"kind":"Namespace","apiVersion":"v1","metadata":{"name":"a"}}`))
			}))
			s.EnableHTTP2 = true
			s.Config.ConnState = func(_ net.Conn, st http.ConnState) {
				if st == http.StateNew {
					mu.Lock()
					opened++
					mu.Unlock()
				}
			}
			s.StartTLS()
			t.Cleanup(s.Close)
			cfg := fresh(&restclient.Config{Host: s.URL, Timeout: 500 * time.Millisecond,
				ContentConfig: restclient.ContentConfig{ContentType: "application/json"}, TLSClientConfig: restclient.TLSClientConfig{Insecure: true}})
			c, err := corev1client.NewForConfig(cfg)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Namespaces().Get(t.Context(), "a", metav1.GetOptions{}); err == nil {
				t.Fatal("the first request has not failed")
			}
			for range 2 {
				if _, err := c.Namespaces().Get(t.Context(), "a", metav1.GetOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			if opened != 2 {
				t.Errorf("%d connections, not 2: one that has failed, and one that serves", opened)
			}
		})
	}
}
