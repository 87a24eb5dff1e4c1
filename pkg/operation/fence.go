package operation

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"

	"k8s.io/client-go/rest"
)

type lockKey struct{}

// Fenced is a configuration whose clients send what changes something only while the operation that sends it has its lock.
// A client that was stopped, or whose machine slept, does not know yet that another has gone on in its place.
func Fenced(cfg *rest.Config) *rest.Config {
	cfg = rest.CopyConfig(cfg)
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper { return fence{next} })
	return cfg
}

// probe notices that a request came by a fence: an operation whose clients have none is not opened.
type probe struct{}

type fence struct{ next http.RoundTripper }

func (f fence) RoundTrip(req *http.Request) (*http.Response, error) {
	if seen, ok := req.Context().Value(probe{}).(*atomic.Bool); ok {
		seen.Store(true)
	}
	if l, ok := req.Context().Value(lockKey{}).(*Lock); ok && l != nil && changes(req) {
		if err := l.Held(req.Context()); err != nil {
			return nil, err
		}
	}
	return f.next.RoundTrip(req)
}

// changes knows that an exec is a GET where it is a WebSocket: all that is done on a volume is one.
func changes(req *http.Request) bool {
	return req.Method != http.MethodGet || strings.HasSuffix(req.URL.Path, "/exec")
}

// Unfenced is for what a client makes for itself, and has to remove whoever has the lock by then: its utility pods.
func Unfenced(ctx context.Context) context.Context {
	return context.WithValue(ctx, lockKey{}, (*Lock)(nil))
}

// WrappedRoundTripper lets client-go find the transport below.
func (f fence) WrappedRoundTripper() http.RoundTripper { return f.next }
