package s3

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store/storetest"
)

func isPart(r *http.Request) bool {
	return r.Method == http.MethodPut && r.URL.Query().Has("partNumber")
}
func isComplete(r *http.Request) bool {
	return r.Method == http.MethodPost && r.URL.Query().Has("uploadId")
}
func isBegin(r *http.Request) bool {
	return r.Method == http.MethodPost && r.URL.Query().Has("uploads")
}
func isAbort(r *http.Request) bool {
	return r.Method == http.MethodDelete && r.URL.Query().Has("uploadId")
}
func isPut(r *http.Request) bool { return r.Method == http.MethodPut && !isPart(r) }
func isGet(r *http.Request) bool {
	return r.Method == http.MethodGet && r.Header.Get("Range") != "bytes=0-0"
}
func every(*http.Request) bool { return true }

// TestFaults: what goes wrong on the way is overcome, or said in one line with a way out; in either case nothing is left of an upload
// that did not end well.
func TestFaults(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	server := storetest.S3(t, root)
	for name, c := range map[string]struct {
		fault storetest.Fault
		size  int    // bytes; 20 MiB are three parts
		says  string // of the error; nothing: it is overcome
		hint  string
		is    error
	}{
		"slow down at the beginning":    {fault: storetest.Times(2, isBegin, storetest.Answer(503, "SlowDown", "Please reduce your request rate.")), size: 20 << 20},
		"500 for parts":                 {fault: storetest.Times(4, isPart, storetest.Answer(500, "InternalError", "We encountered an internal error.")), size: 20 << 20},
		"a reset in each part":          {fault: storetest.Times(3, isPart, storetest.Reset), size: 20 << 20},
		"the answer to a part is lost":  {fault: storetest.Times(2, isPart, storetest.Lost), size: 20 << 20},
		"the last answer is lost":       {fault: storetest.Times(1, isComplete, storetest.Lost), size: 20 << 20},
		"the only answer is lost":       {fault: storetest.Times(1, isPut, storetest.Lost), size: 1000},
		"503 for a small object":        {fault: storetest.Times(2, isPut, storetest.Answer(503, "SlowDown", "slow")), size: 1000},
		"a bucket that wants checksums": {fault: demanding, size: 20 << 20},
		"the same, a small object":      {fault: demanding, size: 1000},
		"conditions are not known":      {fault: unconditional, size: 20 << 20},
		"the same, a small object too":  {fault: unconditional, size: 1000},
		"denied":                        {fault: storetest.Times(-1, isBegin, storetest.Answer(403, "AccessDenied", "Access Denied")), size: 20 << 20, says: "permission denied (AccessDenied: Access Denied)", hint: "docs/storage.md", is: fs.ErrPermission},
		"credentials end in the middle": {fault: storetest.Times(-1, isPart, storetest.Answer(400, "ExpiredToken", "The provided token has expired.")), size: 20 << 20, says: "of s3://", hint: "renew them", is: fs.ErrPermission},
		"the clock differs":             {fault: storetest.Times(-1, isPut, storetest.Answer(403, "RequestTimeTooSkewed", "The difference is too large.", "Date", "Fri, 02 Jan 2026 15:04:05 GMT")), size: 1000, says: "and 2026-01-02T15:04:05Z there", hint: "clock"},
		"another region":                {fault: storetest.Times(-1, every, storetest.Answer(400, "AuthorizationHeaderMalformed", "the region is wrong", "X-Amz-Bucket-Region", "eu-west-3")), size: 1000, says: "the region is wrong", hint: "--s3-region eu-west-3"},
		"moved":                         {fault: storetest.Times(-1, every, storetest.Answer(301, "PermanentRedirect", "use another endpoint", "X-Amz-Bucket-Region", "eu-west-3")), size: 1000, says: "use another endpoint", hint: "--s3-region eu-west-3"},
		"no such bucket":                {fault: storetest.Times(-1, every, storetest.Answer(404, "NoSuchBucket", "none")), size: 1000, says: "no such bucket", hint: "--s3-endpoint", is: fs.ErrNotExist},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			proxy := storetest.NewProxy(t, server)
			s := bucket(t, root, Options{Endpoint: proxy.URL})
			proxy.Break(c.fault)
			data := storetest.Bytes(c.size)
			_, err := store.Put(t.Context(), s, "x.db", data, false)
			proxy.Break(nil)
			if c.says == "" {
				if err != nil || !bytes.Equal(storetest.Get(t, s, "x.db"), data) {
					t.Error(err)
				}
			} else {
				var e *store.Error
				if !errors.As(err, &e) || !strings.Contains(err.Error(), c.says) || !strings.Contains(e.Hint(), c.hint) || c.is != nil && !errors.Is(err, c.is) || strings.Contains(err.Error(), "\n") {
					t.Errorf("%v; hint: %v", err, e)
				}
				if names := storetest.Names(t, s, ""); len(names) != 0 {
					t.Errorf("left: %v", names)
				}
			}
			if err := s.Uploads(t.Context(), "", func(u store.Upload) error { t.Errorf("left: %+v", u); return nil }); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestGivenUp: one that ends in the middle leaves nothing: not when it is begun and does not know it yet, and not when a part outlives
// the first abort.
func TestGivenUp(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	server := storetest.S3(t, root)
	for name, fault := range map[string]func(cancel func()) storetest.Fault{
		"before it knows that it is begun": func(cancel func()) storetest.Fault {
			return storetest.Times(1, isBegin, func(w http.ResponseWriter, r *http.Request, server http.Handler) bool {
				rec := httptest.NewRecorder()
				server.ServeHTTP(rec, r.Clone(context.WithoutCancel(r.Context())))
				cancel()
				select {
				case <-r.Context().Done(): // it has hung up
				case <-time.After(100 * time.Millisecond): // it waits for the answer
				}
				maps.Copy(w.Header(), rec.Header())
				w.WriteHeader(rec.Code)
				_, _ = w.Write(rec.Body.Bytes())
				return true
			})
		},
		"while a part is written": func(cancel func()) storetest.Fault {
			ignored := storetest.Times(1, isAbort, func(w http.ResponseWriter, _ *http.Request, _ http.Handler) bool {
				w.WriteHeader(http.StatusNoContent)
				return true
			})
			return func(w http.ResponseWriter, r *http.Request, server http.Handler) bool {
				if isPart(r) {
					cancel()
					_, _ = io.Copy(io.Discard, r.Body) // until it is cut
				}
				return isPart(r) || ignored(w, r, server)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			proxy := storetest.NewProxy(t, server)
			s := bucket(t, root, Options{Endpoint: proxy.URL})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			proxy.Break(fault(cancel))
			w, err := s.Create(ctx, "x.db", store.CreateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err = w.Write(storetest.Bytes(20 << 20)); err == nil {
				_, err = w.Commit(ctx)
			}
			w.Abort()
			if !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			if err := s.Uploads(t.Context(), "", func(u store.Upload) error { t.Errorf("left: %+v", u); return nil }); err != nil {
				t.Error(err)
			}
		})
	}
}

// demanding is a bucket that locks its objects.
func demanding(w http.ResponseWriter, r *http.Request, server http.Handler) bool {
	if r.Method != http.MethodPut || r.Header.Get("X-Amz-Checksum-Sha256") != "" {
		return false
	}
	return storetest.Answer(400, "InvalidRequest", "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock parameters")(w, r, server)
}

// unconditional is a service that has never heard of If-None-Match.
func unconditional(w http.ResponseWriter, r *http.Request, server http.Handler) bool {
	return r.Header.Get("If-None-Match") != "" && storetest.Answer(501, "NotImplemented", "A header you provided implies functionality that is not implemented")(w, r, server)
}

// TestReadFaults: a read goes on after a cut, with the same object or not at all.
func TestReadFaults(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	proxy := storetest.NewProxy(t, storetest.S3(t, root))
	s := bucket(t, root, Options{Endpoint: proxy.URL})
	data := storetest.Bytes(5 << 20)
	info := storetest.Put(t, s, "x.db", data)
	read := func(ctx context.Context) ([]byte, error) {
		quick := store.Timing{First: time.Millisecond, Most: time.Millisecond, Attempts: 4}
		r := quick.Read(ctx, s, info, nil)
		defer func() { _ = r.Close() }()
		return io.ReadAll(r)
	}
	proxy.Break(storetest.Times(3, isGet, storetest.Cut(1<<20)))
	if got, err := read(t.Context()); err != nil || !bytes.Equal(got, data) {
		t.Errorf("cut three times: %d bytes, %v", len(got), err)
	}
	proxy.Break(storetest.Times(-1, isGet, storetest.Cut(0)))
	if got, err := read(t.Context()); err == nil || len(got) != 0 {
		t.Errorf("nothing comes: %d bytes, %v", len(got), err)
	}
	proxy.Break(storetest.Times(1, isGet, storetest.Cut(1<<20)))
	quick := store.Timing{First: time.Millisecond, Most: time.Millisecond, Attempts: 4}
	r := quick.Read(t.Context(), s, info, func(error) { // it was cut, and goes on after this
		if _, err := store.Put(t.Context(), s, "x.db", storetest.Bytes(5<<20+1), true); err != nil {
			t.Error(err)
		}
	})
	if got, err := io.ReadAll(r); !errors.Is(err, store.ErrChanged) {
		t.Errorf("changed under a reader: %d bytes, %v", len(got), err)
	}
}

// TestNobodyThere: an address at which nothing is is said at once, since it is mostly misnamed; one that has answered is waited for.
func TestNobodyThere(t *testing.T) {
	t.Parallel()
	s, err := Open(t.Context(), "backups", Options{Endpoint: "http://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // a minute of tries is more
	defer cancel()
	var e *store.Error
	if _, err := s.Stat(ctx, "x.db"); !errors.As(err, &e) || !strings.Contains(err.Error(), "connection refused") || e.Hint() == "" {
		t.Errorf("%v", err)
	}
	refused := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	if s.unmended(refused) != aws.FalseTernary {
		t.Error("it is waited for")
	}
	s.reached.Store(true)
	if s.unmended(refused) == aws.FalseTernary {
		t.Error("one that was there is not waited for")
	}
}

// TestStall: a service that says nothing any more is asked again, on another connection.
func TestStall(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	proxy := storetest.NewProxy(t, storetest.S3(t, root))
	s := bucket(t, root, Options{Endpoint: proxy.URL, idle: time.Second})
	end := make(chan struct{})
	t.Cleanup(func() { close(end) })
	proxy.Break(storetest.Times(2, isPart, func(http.ResponseWriter, *http.Request, http.Handler) bool {
		<-end
		return true
	}))
	data := storetest.Bytes(20 << 20)
	storetest.Put(t, s, "x.db", data)
	if !bytes.Equal(storetest.Get(t, s, "x.db"), data) {
		t.Error("other bytes come out")
	}
}

// TestCertificate: a service whose CA is not known is refused, with the way out, which works.
func TestCertificate(t *testing.T) {
	t.Setenv("AWS_CA_BUNDLE", "") // of this machine
	root := t.TempDir()
	to, err := url.Parse(storetest.S3(t, root))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		storetest.Answer(404, "NoSuchKey", "reached "+to.Host)(w, nil, nil)
	}))
	defer server.Close()
	s := bucket(t, root, Options{Endpoint: server.URL})
	_, err = s.Stat(t.Context(), "x.db")
	var e *store.Error
	if !errors.As(err, &e) || !strings.Contains(e.Hint(), "--s3-ca") || !strings.Contains(err.Error(), "unknown authority") {
		t.Errorf("%v", err)
	}
	s = bucket(t, root, Options{Endpoint: server.URL, CA: pemOf(server)})
	if _, err := s.Stat(t.Context(), "x.db"); !store.Missing(err) {
		t.Errorf("%v", err)
	}
}

// TestOSS: what goes to Alibaba's is addressed and signed as that wants it.
func TestOSS(t *testing.T) {
	t.Setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", "an-id")
	t.Setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "a-secret")
	var seen []*http.Request
	s, err := Open(t.Context(), "backups", Options{OSS: true, Region: "cn-hangzhou"})
	if err != nil {
		t.Fatal(err)
	}
	s.transport(func(r *http.Request) (*http.Response, error) {
		seen = append(seen, r)
		rec := httptest.NewRecorder()
		if r.Method == http.MethodGet || r.Method == http.MethodHead && len(seen) < 3 {
			storetest.Answer(404, "NoSuchKey", "none")(rec, r, nil)
		}
		return rec.Result(), nil
	})
	_, _ = store.Put(t.Context(), s, "x.db", []byte("data"), false)
	put := 0
	for _, r := range seen {
		if r.URL.Host != "backups.s3.oss-cn-hangzhou.aliyuncs.com" {
			t.Errorf("host %s", r.URL.Host)
		}
		if a := r.Header.Get("Authorization"); !strings.HasPrefix(a, "AWS4-HMAC-SHA256 Credential=an-id/") || !strings.Contains(a, "/cn-hangzhou/s3/aws4_request") {
			t.Errorf("signed %s", a)
		}
		for h := range r.Header {
			if strings.HasPrefix(h, "X-Amz-Trailer") || strings.HasPrefix(h, "X-Amz-Checksum") || strings.HasPrefix(h, "X-Amz-Sdk-Checksum") {
				t.Errorf("%s: %s", h, r.Header.Get(h))
			}
		}
		if r.Method == http.MethodPut {
			put++
			if r.Header.Get("X-Oss-Forbid-Overwrite") != "true" || r.Header.Get("Content-Md5") == "" {
				t.Errorf("%s %s", r.Header.Get("X-Oss-Forbid-Overwrite"), r.Header.Get("Content-Md5"))
			}
		}
	}
	if put != 1 {
		t.Errorf("%d requests write", put)
	}
}
