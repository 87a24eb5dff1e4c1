package streaming

import (
	"io"
	"net"
	"sync"
	"testing"
)

// link is a TCP connection that can be cut and stalled.
type link struct {
	t        testing.TB
	listener net.Listener
	to       string

	mu       sync.Mutex
	moved    sync.Cond
	conns    map[net.Conn]bool
	stalled  bool
	closed   bool
	allowed  int64 // bytes towards the client (or, with upstream, from it) before the next cut; negative: no end
	upstream bool
}

func newLink(t testing.TB, to string) *link {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &link{t: t, listener: listener, to: to, conns: map[net.Conn]bool{}, allowed: -1}
	l.moved.L = &l.mu
	go l.accept()
	return l
}

func (l *link) addr() string { return l.listener.Addr().String() }

func (l *link) accept() {
	for {
		near, err := l.listener.Accept()
		if err != nil {
			return
		}
		go l.join(near)
	}
}

func (l *link) join(near net.Conn) {
	far, err := net.Dial("tcp", l.to)
	if err != nil {
		near.Close()
		return
	}
	l.mu.Lock()
	if l.closed {
		near.Close()
		far.Close()
	}
	l.conns[near], l.conns[far] = true, true
	l.mu.Unlock()
	go l.pass(far, near, true)
	go l.pass(near, far, false)
}

// pass copies one direction and then ends both.
func (l *link) pass(to, from net.Conn, up bool) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		n, cut := l.admit(n, up)
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				break
			}
		}
		if cut {
			l.cut()
			return
		}
		if err == io.EOF {
			if half, ok := to.(*net.TCPConn); ok {
				_ = half.CloseWrite()
			}
			return
		}
		if err != nil {
			break
		}
	}
	to.Close()
	from.Close()
	l.mu.Lock()
	delete(l.conns, to)
	delete(l.conns, from)
	l.mu.Unlock()
}

// admit waits while the link is stalled and says how many of n bytes may still pass before it is cut.
func (l *link) admit(n int, up bool) (int, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.stalled && !l.closed {
		l.moved.Wait()
	}
	if l.allowed < 0 || up != l.upstream {
		return n, false
	}
	if int64(n) < l.allowed {
		l.allowed -= int64(n)
		return n, false
	}
	n = int(l.allowed)
	l.allowed = -1
	return n, true
}

// cutAfter cuts all connections once n more bytes have passed towards the client; with up, from it.
func (l *link) cutAfter(n int64, up bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.allowed, l.upstream = n, up
}

// cut ends all connections; new ones can be made.
func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		c.Close()
	}
	clear(l.conns)
}

func (l *link) stall(on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stalled = on
	l.moved.Broadcast()
}

func (l *link) close() {
	l.listener.Close()
	l.mu.Lock()
	l.closed = true
	l.moved.Broadcast()
	l.mu.Unlock()
	l.cut()
}
