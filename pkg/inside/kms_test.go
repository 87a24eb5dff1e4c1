//go:build unix

package inside

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"k8s.io/kms/pkg/service"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/rehearse"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify/etcdtest"
)

// plugin is a KMS plugin whose key is a byte.
type plugin struct{}

func (plugin) Status(context.Context) (*service.StatusResponse, error) {
	return &service.StatusResponse{Version: "v2", Healthz: "ok", KeyID: "one"}, nil
}

func (plugin) Encrypt(_ context.Context, _ string, data []byte) (*service.EncryptResponse, error) {
	return &service.EncryptResponse{Ciphertext: turned(data), KeyID: "one"}, nil
}

func (plugin) Decrypt(_ context.Context, _ string, r *service.DecryptRequest) ([]byte, error) {
	return turned(r.Ciphertext), nil
}

func turned(data []byte) []byte {
	out := bytes.Clone(data)
	for i := range out {
		out[i] ^= 0x5a
	}
	return out
}

// TestOpenKMS opens a snapshot whose Secrets a KMS plugin has encrypted, without the plugin and beside it.
func TestOpenKMS(t *testing.T) {
	t.Parallel()
	b := etcdtest.Find(t, "3.6")
	etcd := etcdtest.Start(t, b)
	dir, err := os.MkdirTemp("", "kms") // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket, config := filepath.Join(dir, "s"), filepath.Join(dir, "encryption.yaml")
	text := fmt.Sprintf("apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: [secrets]\n  providers:\n  - kms: {apiVersion: v2, name: vault, endpoint: 'unix://%s', timeout: 2s}\n  - identity: {}\n", socket)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	kms := service.NewGRPCService(socket, 2*time.Second, plugin{})
	ended := make(chan error, 1)
	go func() { ended <- kms.ListenAndServe() }()
	write(t, etcd.Endpoint, "/registry", config, b)
	cfg := Config{Etcd: rehearse.Config{Snapshot: filepath.Join(dir, "a.db"), Etcd: b.Etcd, Etcdutl: b.Etcdutl}, APIServer: apiServer(b)}
	etcdtest.Tool(t, b.Etcdctl, "--endpoints", etcd.Endpoint, "snapshot", "save", cfg.Etcd.Snapshot)
	etcd.Stop()

	secret := func(s *Server) ([]byte, error) {
		return s.client.Get(t.Context(), "/api/v1/namespaces/default/secrets/db")
	}
	s := open(t, cfg)
	if got, err := secret(s); err == nil {
		t.Errorf("what is encrypted, without its plugin: %s", got)
	}
	if _, err := s.client.Get(t.Context(), "/api/v1/namespaces/default/configmaps/plain"); err != nil {
		t.Errorf("what is not encrypted: %v", err)
	}
	want := "secrets: 1 are encrypted by the KMS plugin vault, which has to run here to read them"
	if got := s.Warnings(t.Context()); len(got) != 1 || got[0] != want {
		t.Errorf("warnings: %q", got)
	}
	if code := post(t, s.open.Access(), "configmaps", `{"metadata":{"name":"new"}}`); code != http.StatusForbidden {
		t.Errorf("a write is answered with %d", code)
	}

	cfg.EncryptionConfig = config
	s = open(t, cfg)
	if got, err := secret(s); err != nil || !bytes.Contains(got, []byte(base64.StdEncoding.EncodeToString([]byte("hidden")))) {
		t.Errorf("what is encrypted, with its plugin: %s, %v", got, err)
	}

	if got := s.Warnings(t.Context()); len(got) != 0 {
		t.Errorf("warnings: %q", got)
	}
	kms.Shutdown()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
