package etcdtest

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// Proxy is a TCP link to an endpoint that tests can cut.
type Proxy struct {
	// Endpoint is the proxy's, for clients.
	Endpoint string

	network, addr string
	mu            sync.Mutex
	conns         map[net.Conn]bool
	cutAfter      int64 // bytes of answers; 0: not
	cuts          int
}

// NewProxy forwards to an http or unix endpoint until the end of the test.
func NewProxy(t testing.TB, endpoint string) *Proxy {
	t.Helper()
	p := &Proxy{network: "tcp", conns: map[net.Conn]bool{}}
	if after, ok := strings.CutPrefix(endpoint, "unix://"); ok {
		p.network, p.addr = "unix", after
	} else {
		_, p.addr, _ = strings.Cut(endpoint, "://")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close(); p.Cut() })
	p.Endpoint = "http://" + l.Addr().String()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(c)
		}
	}()
	return p
}

// CutAfter cuts every connection at its first n bytes of answers, so many times.
func (p *Proxy) CutAfter(n int64, times int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cutAfter, p.cuts = n, times
}

// Cut closes all connections now.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
	}
}

// Left is how many cuts have not happened yet.
func (p *Proxy) Left() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cuts
}

func (p *Proxy) serve(client net.Conn) {
	server, err := net.Dial(p.network, p.addr)
	if err != nil {
		client.Close()
		return
	}
	p.mu.Lock()
	p.conns[client], p.conns[server] = true, true
	p.mu.Unlock()
	go func() {
		_, _ = io.Copy(server, client)
		server.Close()
	}()
	buf := make([]byte, 64<<10)
	var total int64
	for {
		n, err := server.Read(buf)
		total += int64(n)
		if p.isDue(total) {
			break
		}
		if _, werr := client.Write(buf[:n]); werr != nil || err != nil {
			break
		}
	}
	client.Close()
	server.Close()
}

func (p *Proxy) isDue(total int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cuts == 0 || p.cutAfter == 0 || total < p.cutAfter {
		return false
	}
	p.cuts--
	return true
}
