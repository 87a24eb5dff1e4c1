// Package web reads one object from an address that needs no credentials, such as a pre-signed one. The address is a secret: messages
// leave out what is behind its path.
package web

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
)

// Store is an address.
type Store struct {
	url    *url.URL
	client *http.Client
}

// Open makes ready; ca (PEM) is for a server whose CA the system does not know.
func Open(address string, ca []byte) (*Store, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("parse address: not a URL")
	}
	var pool *x509.CertPool
	if len(ca) > 0 {
		pool = x509.NewCertPool()
		if !pool.AppendCertsFromPEM(ca) {
			return nil, errors.New("--s3-ca: it holds no certificate in PEM")
		}
	}
	t, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		t = &http.Transport{}
	}
	t = t.Clone()
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}
	t.ResponseHeaderTimeout = time.Minute
	t.DisableCompression = true // the bytes as they are stored
	return &Store{url: u, client: &http.Client{Transport: t}}, nil
}

// URL is the address without what may be secret.
func (s *Store) URL(string) string {
	return (&url.URL{Scheme: s.url.Scheme, Host: s.url.Host, Path: s.url.Path}).String()
}

func (s *Store) fail(err error, way string) error {
	return &store.Error{What: "read " + s.URL(""), Err: err, Way: way}
}

// get asks for the bytes from there on; a pre-signed address is for GET, and for nothing else.
func (s *Store) get(ctx context.Context, offset, end int64, version string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url.String(), nil)
	if err != nil {
		return nil, s.fail(errors.New("not a URL"), "")
	}
	if offset > 0 || end >= 0 {
		bytes := fmt.Sprintf("bytes=%d-", offset)
		if end >= 0 {
			bytes += strconv.FormatInt(end, 10)
		}
		req.Header.Set("Range", bytes)
	}
	if version != "" && !strings.HasPrefix(version, "size ") {
		req.Header.Set("If-Match", version)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		var u *url.Error // which has the whole address
		if errors.As(err, &u) {
			err = u.Err
		}
		return nil, s.fail(err, "")
	}
	if resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusPartialContent {
		return resp, nil
	}
	said, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	_ = resp.Body.Close()
	return nil, s.refused(resp.StatusCode, string(said))
}

func (s *Store) refused(status int, said string) error {
	switch status {
	case http.StatusNotFound, http.StatusGone:
		return s.fail(store.NoObject, "")
	case http.StatusPreconditionFailed:
		return s.fail(store.ErrChanged, "")
	case http.StatusUnauthorized, http.StatusForbidden:
		way := "is the whole address there, in quotes? a shell cuts it at the first &"
		if strings.Contains(said, "xpired") {
			way = "the address has expired; make another one with: kubectl etcd backup url"
		}
		return s.fail(fmt.Errorf("%w (HTTP status %d)", fs.ErrPermission, status), way)
	}
	return s.fail(fmt.Errorf("HTTP status %d", status), "")
}

// version is the object's ETag, or where there is none its size.
func version(resp *http.Response, size int64) string {
	if tag := resp.Header.Get("ETag"); tag != "" && !strings.HasPrefix(tag, "W/") {
		return tag
	}
	return "size " + strconv.FormatInt(size, 10)
}

// size is that of the whole object; -1 where the server does not say.
func size(resp *http.Response) int64 {
	if resp.StatusCode == http.StatusOK {
		return resp.ContentLength
	}
	_, total, _ := strings.Cut(resp.Header.Get("Content-Range"), "/")
	n, err := strconv.ParseInt(total, 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// is tells whether that is the only object that there is: what is beside it has another signature.
func (s *Store) is(name string) bool { return name == strings.TrimPrefix(s.url.Path, "/") }

// Stat asks for the first byte.
func (s *Store) Stat(ctx context.Context, name string) (store.Info, error) {
	if !s.is(name) {
		return store.Info{}, s.fail(store.NoObject, "")
	}
	resp, err := s.get(ctx, 0, 0, "")
	if err != nil {
		return store.Info{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	n := size(resp)
	if n < 0 {
		return store.Info{}, s.fail(errors.New("the server does not say how large it is"), "")
	}
	changed, _ := http.ParseTime(resp.Header.Get("Last-Modified"))
	return store.Info{Name: name, Size: n, Changed: changed, Version: version(resp, n)}, nil
}

// Open reads from that byte on.
func (s *Store) Open(ctx context.Context, name string, offset int64, want string) (io.ReadCloser, error) {
	if !s.is(name) {
		return nil, s.fail(store.NoObject, "")
	}
	resp, err := s.get(ctx, offset, -1, want)
	if err != nil {
		return nil, err
	}
	if n := size(resp); want != "" && version(resp, n) != want {
		return nil, s.fail(errors.Join(store.ErrChanged, resp.Body.Close()), "")
	}
	if offset > 0 && resp.StatusCode == http.StatusOK { // a server that knows no ranges
		if _, err := io.CopyN(io.Discard, resp.Body, offset); err != nil {
			return nil, s.fail(errors.Join(err, resp.Body.Close()), "")
		}
	}
	return resp.Body, nil
}

var errReadOnly = errors.New("an address is for reading one object")

// Create is not possible.
func (s *Store) Create(context.Context, string, store.CreateOptions) (store.Writer, error) {
	return nil, &store.Error{What: "create " + s.URL(""), Err: errReadOnly, Way: "name a bucket: s3://, gs:// or oss://"}
}

// List is not possible.
func (s *Store) List(context.Context, string, func(store.Info) error) error {
	return &store.Error{What: "list " + s.URL(""), Err: errReadOnly}
}

// Delete is not possible.
func (s *Store) Delete(context.Context, string) error {
	return &store.Error{What: "delete " + s.URL(""), Err: errReadOnly}
}
