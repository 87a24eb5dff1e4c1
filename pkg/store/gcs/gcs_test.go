package gcs

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store/storetest"
)

// TestConformance is not parallel with others: the SDK takes its server from the environment.
func TestConformance(t *testing.T) {
	var names []string
	for i := range 40 {
		names = append(names, fmt.Sprintf("bucket-%02d", i))
	}
	endpoint := storetest.GCS(t, names...)
	if err := os.Setenv("STORAGE_EMULATOR_HOST", strings.TrimPrefix(endpoint, "http://")); err != nil {
		t.Fatal(err)
	}
	var next atomic.Int32
	storetest.Run(t, func(t *testing.T) store.Store {
		s, err := Open(t.Context(), names[next.Add(1)-1], nil)
		if err != nil {
			t.Fatal(err)
		}
		return struct{ store.Store }{s} // signing needs credentials: TestSigns
	})
}

// TestSigns: with the key of a service account an address is signed here, and nobody is asked.
func TestSigns(t *testing.T) {
	t.Setenv("STORAGE_EMULATOR_HOST", "")
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	account, err := json.Marshal(map[string]string{"type": "service_account", "client_email": "backup@project.iam.gserviceaccount.com", "private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), "token_uri": "http://127.0.0.1:1/token"})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "account.json")
	if err := os.WriteFile(file, account, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", file)
	var told []string
	s, err := Open(t.Context(), "backups", func(format string, args ...any) { told = append(told, fmt.Sprintf(format, args...)) })
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"gs://backups/: credentials from a file of the type service_account"}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
	signed, err := s.Sign(t.Context(), "a b/x.db", 40*time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(signed)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	// Some of the last second can be gone.
	if u.Scheme != "https" || u.Path != "/backups/a b/x.db" || q.Get("X-Goog-Expires") != "2399" && q.Get("X-Goog-Expires") != "2400" || !strings.HasPrefix(q.Get("X-Goog-Credential"), "backup@project.iam.gserviceaccount.com/") || len(q.Get("X-Goog-Signature")) != 512 {
		t.Error(signed)
	}
}
