//go:build unix

package inside

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/apiserver"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/apiserver/apiservertest"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/rehearse"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify/etcdtest"
)

// TestOpenEncrypted writes with a real API server that encrypts, and reads the snapshot of its etcd: what is encrypted cannot be read
// without its keys, all else can, and nothing can be written.
func TestOpenEncrypted(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		minor, provider string
		users           bool // etcd has users
	}{{"3.5", "aescbc", false}, {"3.6", "secretbox", true}, {"3.7", "aescbc", false}} {
		t.Run(c.minor+" "+c.provider, func(t *testing.T) {
			t.Parallel()
			b := etcdtest.Find(t, c.minor)
			etcd := etcdtest.Start(t, b)
			first, second := key("key1", 'a'), key("key2", 'b')
			write(t, etcd.Endpoint, "/registry", encryption(t, c.provider, first), b)
			path := filepath.Join(t.TempDir(), "a.db")
			user := []string{}
			if c.users {
				etcd.EnableAuth(t)
				user = []string{"--user", "root:" + etcdtest.Password}
			}
			etcdtest.Tool(t, b.Etcdctl, append(user, "--endpoints", etcd.Endpoint, "snapshot", "save", path)...)
			cfg := Config{Etcd: rehearse.Config{Snapshot: path, Etcd: b.Etcd, Etcdutl: b.Etcdutl}, APIServer: apiServer(b)}

			s := open(t, cfg)
			if _, err := s.client.Get(t.Context(), "/api/v1/namespaces/default/configmaps/plain"); err != nil {
				t.Errorf("what is not encrypted: %v", err)
			}
			if got, err := s.client.Get(t.Context(), "/api/v1/namespaces/default/secrets/db"); err == nil {
				t.Errorf("what is encrypted, without its key: %s", got)
			}
			want := fmt.Sprintf("secrets: 1 are encrypted with %s, key key1, and cannot be read without --encryption-config", c.provider)
			if got := s.Warnings(t.Context()); len(got) != 1 || got[0] != want {
				t.Errorf("warnings: %q", got)
			}
			if code := post(t, s.open.Access(), "configmaps", `{"metadata":{"name":"new"}}`); code != http.StatusForbidden {
				t.Errorf("a write is answered with %d", code)
			}

			cfg.EncryptionConfig = encryption(t, c.provider, second, first) // as after a rotation
			s = open(t, cfg)
			got, err := s.client.Get(t.Context(), "/api/v1/namespaces/default/secrets/db")
			if err != nil || !bytes.Contains(got, []byte(base64.StdEncoding.EncodeToString([]byte("hidden")))) {
				t.Errorf("what is encrypted: %s, %v", got, err)
			}
			if got := s.Warnings(t.Context()); len(got) != 0 {
				t.Errorf("warnings: %q", got)
			}
		})
	}
}

// TestOpenPrefix opens one of two control planes that have one etcd, and a prefix each.
func TestOpenPrefix(t *testing.T) {
	t.Parallel()
	b := etcdtest.Find(t, "3.6")
	etcd := etcdtest.Start(t, b)
	write(t, etcd.Endpoint, "/tenants/a", "", b)
	cfg := Config{Etcd: rehearse.Config{Snapshot: filepath.Join(t.TempDir(), "a.db"), Etcd: b.Etcd, Etcdutl: b.Etcdutl}, APIServer: apiServer(b)}
	etcdtest.Tool(t, b.Etcdctl, "--endpoints", etcd.Endpoint, "snapshot", "save", cfg.Etcd.Snapshot)
	s := open(t, cfg) // there is one only
	isUnder(t, s, "/tenants/a")

	write(t, etcd.Endpoint, "/tenants/b", "", b)
	cfg.Etcd.Snapshot += "2"
	etcdtest.Tool(t, b.Etcdctl, "--endpoints", etcd.Endpoint, "snapshot", "save", cfg.Etcd.Snapshot)
	if s, err := Open(t.Context(), cfg); err == nil {
		_ = s.Close()
		t.Error("it has two control planes, and none was named")
	} else if !strings.Contains(err.Error(), "holds 2 control planes") {
		t.Error(err)
	}
	for _, cfg.Prefix = range []string{"/tenants/b", "/tenants/a"} {
		isUnder(t, open(t, cfg), cfg.Prefix)
	}
}

// isUnder reads what a control plane was given of its own.
func isUnder(t *testing.T, s *Server, prefix string) {
	t.Helper()
	got, err := s.client.Get(t.Context(), "/api/v1/namespaces/default/configmaps/plain")
	if want := fmt.Sprintf(`"prefix":%q`, prefix); err != nil || !bytes.Contains(got, []byte(want)) || s.Prefix != prefix {
		t.Errorf("prefix %s has %s: %v", s.Prefix, got, err)
	}
}

func open(t *testing.T, c Config) *Server {
	t.Helper()
	s, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		dir := s.open.Dir()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left: %v", dir, err)
		}
	})
	return s
}

func apiServer(b etcdtest.Binaries) string {
	return filepath.Join(filepath.Dir(b.Etcd), "..", "kube-apiserver")
}

func key(name string, fill byte) string {
	return fmt.Sprintf("{name: %s, secret: %s}", name, base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{fill}, 32)))
}

// encryption is an EncryptionConfiguration of Secrets, with the first key for what is written.
func encryption(t *testing.T, provider string, keys ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "encryption.yaml")
	text := fmt.Sprintf("apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: [secrets]\n  providers:\n  - %s: {keys: [%s]}\n  - identity: {}\n", provider, strings.Join(keys, ", "))
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// write makes a ConfigMap and a Secret with an API server that encrypts, and may be written to.
func write(t *testing.T, endpoint, prefix, encryption string, b etcdtest.Binaries) {
	t.Helper()
	s := apiservertest.Start(t, apiserver.Config{Program: apiServer(b), Endpoint: endpoint, Prefix: prefix, EncryptionConfig: encryption})
	defer s.Stop()
	for kind, text := range map[string]string{"configmaps": fmt.Sprintf(`{"metadata":{"name":"plain"},"data":{"prefix":%q}}`, prefix), "secrets": `{"metadata":{"name":"db"},"stringData":{"p":"hidden"}}`} {
		if code := post(t, s.Access, kind, text); code != http.StatusCreated {
			t.Fatalf("make %s: %d", kind, code)
		}
	}
}

// post makes an object in the namespace default, and returns the code of the answer.
func post(t *testing.T, a apiserver.Access, kind, text string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, a.URL()+"/api/v1/namespaces/default/"+kind, strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(a.CA)
	c := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}}
	defer c.CloseIdleConnections()
	req.Header.Set("Authorization", "Bearer "+a.Token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// TestRefused: what no API server serves is refused before anything is started.
func TestRefused(t *testing.T) {
	t.Parallel()
	one, two := verify.Kubernetes{Prefix: "/registry"}, verify.Kubernetes{Prefix: "/other"}
	for name, c := range map[string]struct {
		report         verify.Report
		named, refused string
		decrypts       bool
	}{
		"one":                          {report: verify.Report{Kubernetes: []verify.Kubernetes{one}}},
		"none":                         {report: verify.Report{}, refused: "holds no Kubernetes: "},
		"two":                          {report: verify.Report{Kubernetes: []verify.Kubernetes{one, two}}, refused: "holds 2 control planes"},
		"one of two":                   {report: verify.Report{Kubernetes: []verify.Kubernetes{one, two}}, named: "/other"},
		"another":                      {report: verify.Report{Kubernetes: []verify.Kubernetes{one}}, named: "/x", refused: "no Kubernetes under /x"},
		"encrypted roles":              {report: verify.Report{Kubernetes: []verify.Kubernetes{one}, Encrypted: []verify.Encryption{{Prefix: "/registry", Kind: "clusterroles"}}}, refused: "no API server starts without them"},
		"encrypted roles and keys":     {report: verify.Report{Kubernetes: []verify.Kubernetes{one}, Encrypted: []verify.Encryption{{Prefix: "/registry", Kind: "clusterroles"}}}, decrypts: true},
		"encrypted roles of the other": {report: verify.Report{Kubernetes: []verify.Kubernetes{one, two}, Encrypted: []verify.Encryption{{Prefix: "/registry", Kind: "clusterroles"}}}, named: "/other"},
	} {
		got, err := Prefix(&c.report, c.named)
		if err == nil {
			err = (&Server{Prefix: got, Report: &c.report, decrypts: c.decrypts}).readable()
		}
		if (err == nil) != (c.refused == "") || err != nil && !strings.Contains(err.Error(), c.refused) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}
