package storetest

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"
)

// Fault decides what happens to a request, before it goes on to the server. It returns true when it has answered itself.
type Fault func(w http.ResponseWriter, r *http.Request, server http.Handler) bool

// Proxy stands between a client and a server, and does to requests what a fault says.
type Proxy struct {
	URL   string
	fault atomic.Pointer[Fault]
}

// Break begins a fault; nil ends it.
func (p *Proxy) Break(f Fault) { p.fault.Store(&f) }

// NewProxy begins one without a fault.
func NewProxy(t testing.TB, server string) *Proxy {
	t.Helper()
	to, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = to.Scheme, to.Host, r.In.Host // which is signed
	}, ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }}
	p := &Proxy{}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f := p.fault.Load(); f != nil && *f != nil && (*f)(w, r, forward) {
			return
		}
		forward.ServeHTTP(w, r)
	}))
	s.Config.BaseContext = func(net.Listener) context.Context { return context.WithoutCancel(t.Context()) }
	s.Start()
	t.Cleanup(s.Close)
	p.URL = s.URL
	return p
}

// Times lets a fault happen to the first n requests that fit; to all with n below 0.
func Times(n int, fits func(*http.Request) bool, f Fault) Fault {
	var left atomic.Int64
	left.Store(int64(n))
	return func(w http.ResponseWriter, r *http.Request, server http.Handler) bool {
		if !fits(r) || n >= 0 && left.Add(-1) < 0 {
			return false
		}
		return f(w, r, server)
	}
}

// Answer refuses with a status and a body, as S3 does in XML.
func Answer(status int, code, message string, headers ...string) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) bool {
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(`<?xml version="1.0"?><Error><Code>` + code + `</Code><Message>` + message + `</Message></Error>`))
		return true
	}
}

// Reset cuts the connection before anything is answered.
func Reset(w http.ResponseWriter, _ *http.Request, _ http.Handler) bool {
	panic(http.ErrAbortHandler)
}

// Lost lets the server do it, and cuts the connection instead of its answer.
func Lost(_ http.ResponseWriter, r *http.Request, server http.Handler) bool {
	server.ServeHTTP(httptest.NewRecorder(), r)
	panic(http.ErrAbortHandler)
}

// Cut ends a body after so many bytes.
func Cut(after int) Fault {
	return func(w http.ResponseWriter, r *http.Request, server http.Handler) bool {
		rec := httptest.NewRecorder()
		server.ServeHTTP(rec, r)
		for k, v := range rec.Header() {
			w.Header()[k] = v
		}
		w.WriteHeader(rec.Code)
		_, _ = w.Write(rec.Body.Bytes()[:min(after, rec.Body.Len())])
		_ = http.NewResponseController(w).Flush() // the answer has begun
		panic(http.ErrAbortHandler)
	}
}
