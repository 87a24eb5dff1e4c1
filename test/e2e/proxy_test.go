//go:build e2e

package e2e

import (
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// link is a TCP proxy between the plugin and the API server. It lets tests act in the middle of a transfer: a connection
// that has brought the client `after` bytes is held, and held says so, until release or cut. Connections with less
// traffic, such as those of plain API calls, pass.
type link struct {
	kubeconfig string
	held       chan struct{} // closed when the first connection is held

	target string
	after  int64

	mu       sync.Mutex
	conns    map[net.Conn]bool
	tripped  bool
	down     bool
	released chan struct{}
	opened   int
}

// newLink starts a proxy and writes a kubeconfig that goes through it. after 0 holds nothing.
func newLink(t testing.TB, c *cluster, after int64) *link {
	t.Helper()
	server := strings.TrimSpace(c.kubectl(t, "config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}"))
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(c.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	l := &link{target: u.Host, after: after, held: make(chan struct{}), released: make(chan struct{}), conns: map[net.Conn]bool{}}
	l.kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	// The certificate of the API server is good for 127.0.0.1, where kind's port is, too.
	changed := strings.ReplaceAll(string(text), server, "https://"+listener.Addr().String())
	if err := os.WriteFile(l.kubeconfig, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = listener.Close()
		l.release()
		l.cut()
	})
	go l.serve(listener)
	return l
}

func (l *link) serve(listener net.Listener) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		go l.carry(client)
	}
}

func (l *link) carry(client net.Conn) {
	server, err := net.Dial("tcp", l.target)
	if err != nil {
		_ = client.Close()
		return
	}
	l.mu.Lock()
	refuse := l.down
	l.opened++
	l.conns[client], l.conns[server] = true, true
	l.mu.Unlock()
	if refuse {
		_ = client.Close()
	}
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = io.Copy(server, client); _ = server.Close() })
	wg.Go(func() { l.download(client, server); _ = client.Close() })
	wg.Wait()
	l.mu.Lock()
	delete(l.conns, client)
	delete(l.conns, server)
	l.mu.Unlock()
}

func (l *link) download(client io.Writer, server io.Reader) {
	if l.after > 0 {
		if _, err := io.CopyN(client, server, l.after); err != nil {
			return
		}
		l.mu.Lock()
		if !l.tripped {
			l.tripped = true
			close(l.held)
		}
		l.mu.Unlock()
		<-l.released
	}
	_, _ = io.Copy(client, server)
}

// release lets everything through from now on.
func (l *link) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.released:
	default:
		close(l.released)
	}
}

// cut breaks all connections that there are, as a lost link does once it is noticed.
func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		_ = c.Close()
	}
}

// setDown refuses connections, or takes them again.
func (l *link) setDown(down bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = down
}
