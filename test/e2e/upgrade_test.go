//go:build e2e

package e2e

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// noWebSocket is a proxy before the API server that, as some do, refuses the upgrade to WebSocket. It logs in for whoever
// uses it, so the kubeconfig holds only its address.
type noWebSocket struct {
	kubeconfig string

	mu     sync.Mutex
	asked  map[string]int // upgrades, by protocol
	passed http.Handler
}

func newNoWebSocket(t testing.TB, c *cluster) *noWebSocket {
	t.Helper()
	cfg, err := clientcmd.BuildConfigFromFlags("", c.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	cfg.NextProtos = []string{"http/1.1"} // HTTP/2 has no upgrades
	transport, err := rest.TransportFor(cfg)
	if err != nil {
		t.Fatal(err)
	}
	target, err := url.Parse(cfg.Host)
	if err != nil {
		t.Fatal(err)
	}
	p := &noWebSocket{asked: map[string]int{}, passed: &httputil.ReverseProxy{
		Transport: transport,
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ErrorLog:  log.New(io.Discard, "", 0), // connections that end are the test's own
	}}
	server := httptest.NewServer(p)
	t.Cleanup(server.CloseClientConnections) // and Close would wait for upgraded ones
	p.kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: c}}], clusters: [{name: c, cluster: {server: %q}}]}`, server.URL)
	if err := os.WriteFile(p.kubeconfig, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *noWebSocket) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	protocol := strings.ToLower(r.Header.Get("Upgrade"))
	if protocol != "" {
		p.mu.Lock()
		p.asked[protocol]++
		p.mu.Unlock()
	}
	if protocol == "websocket" {
		http.Error(w, "this proxy knows no WebSocket", http.StatusBadRequest)
		return
	}
	p.passed.ServeHTTP(w, r)
}

// upgrades says how often each protocol was asked for since the last call.
func (p *noWebSocket) upgrades() (webSocket, spdy int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer clear(p.asked)
	return p.asked["websocket"], p.asked["spdy/3.1"]
}

// testNoWebSocket: a backup goes through by SPDY where WebSocket is refused, and where the user wants none.
func testNoWebSocket(t *testing.T, h *hosted) {
	proxy := newNoWebSocket(t, h.c)
	for _, via := range []string{"agent", "forward"} {
		r := start(t, proxy.kubeconfig, "", "backup", h.target(), "--via", via, "--to", "a.db").wait().exits(0)
		if err := agree(t.Context(), filepath.Join(r.dir, "a.db"), "3.6"); err != nil {
			t.Error(err)
		}
		if webSocket, spdy := proxy.upgrades(); webSocket == 0 || spdy == 0 {
			t.Errorf("%s: WebSocket was asked for %d times, SPDY %d times", via, webSocket, spdy)
		}
	}
	p := prepared(t, proxy.kubeconfig, "", "backup", h.target(), "--via", "agent", "--to", "a.db")
	p.cmd.Env = append(p.cmd.Env, "KUBECTL_REMOTE_COMMAND_WEBSOCKETS=false")
	p.begin()
	p.wait().exits(0)
	if webSocket, spdy := proxy.upgrades(); webSocket != 0 || spdy == 0 {
		t.Errorf("WebSocket was asked for %d times, SPDY %d times", webSocket, spdy)
	}
}
