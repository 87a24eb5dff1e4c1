package web

import (
	"bytes"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store/storetest"
)

const secret = "X-Amz-Signature=0123456789abcdef"

// signed serves data to whoever has the signature.
func signed(t *testing.T, data func() []byte, ranges bool) (*Store, *httptest.Server) {
	t.Helper()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method != http.MethodGet || r.URL.RawQuery != secret:
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>")
		case !ranges:
			w.Header().Set("Content-Length", strconv.Itoa(len(data())))
			_, _ = w.Write(data())
		default:
			w.Header().Set("ETag", `"`+string(data()[:4])+`"`)
			http.ServeContent(w, r, "x.db", time.Unix(1_700_000_000, 0), bytes.NewReader(data()))
		}
	}))
	t.Cleanup(server.Close)
	s, err := Open(server.URL+"/bucket/x.db?"+secret, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	if err != nil {
		t.Fatal(err)
	}
	return s, server
}

func TestReads(t *testing.T) {
	t.Parallel()
	data := append([]byte("one1"), storetest.Bytes(3<<20)...)
	for name, ranges := range map[string]bool{"with ranges": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := signed(t, func() []byte { return data }, ranges)
			info, err := s.Stat(t.Context(), "bucket/x.db")
			if err != nil || info.Size != int64(len(data)) || info.Version == "" {
				t.Fatalf("%+v, %v", info, err)
			}
			for _, offset := range []int64{0, 1 << 20} {
				r, err := s.Open(t.Context(), "bucket/x.db", offset, info.Version)
				if err != nil {
					t.Fatal(err)
				}
				if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, data[offset:]) {
					t.Errorf("from %d: %d bytes, %v", offset, len(got), err)
				}
			}
			if _, err := s.Stat(t.Context(), "bucket/x.db.json"); !store.Missing(err) {
				t.Errorf("a sidecar has another signature: %v", err)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	data := []byte("one1and the same")
	s, server := signed(t, func() []byte { return data }, true)
	info, err := s.Stat(t.Context(), "bucket/x.db")
	if err != nil {
		t.Fatal(err)
	}
	data = []byte("two2and another!")
	if _, err := s.Open(t.Context(), "bucket/x.db", 0, info.Version); !errors.Is(err, store.ErrChanged) {
		t.Errorf("changed: %v", err)
	}
	s.url.RawQuery = "X-Amz-Signature=old"
	_, err = s.Stat(t.Context(), "bucket/x.db")
	var e *store.Error
	if !errors.As(err, &e) || !errors.Is(err, fs.ErrPermission) || !strings.Contains(e.Hint(), "backup url") {
		t.Errorf("expired: %v", err)
	}
	s.url.RawQuery = secret
	server.Close()
	if _, err := s.Stat(t.Context(), "bucket/x.db"); err == nil || strings.Contains(err.Error(), "0123456789abcdef") || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("away: %v", err)
	}
	unknown, err := Open(server.URL+"/x.db", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := unknown.Create(t.Context(), "x.db", store.CreateOptions{}); err == nil {
		t.Error("an address is written to")
	}
}
