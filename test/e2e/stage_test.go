//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	appsv1client "k8s.io/client-go/kubernetes/typed/apps/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/agentapi"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/datadir"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
)

// TestStage goes the way of a restore on a real volume: staged while etcd runs, exchanged when it is gone, and its pod
// starts on the new data. The member is found as the plugin finds it.
func TestStage(t *testing.T) {
	c := clusters.get(t, mainKind)
	t.Parallel()
	h := host(t, c, hosted{})
	h.put(t, "/registry/before", "1")
	file := filepath.Join(t.TempDir(), "s.db")
	start(t, c.kubeconfig, "", "backup", h.target(), "--to", file, "-q").wait().exits(0)
	h.put(t, "/registry/after", "2")
	snapshot, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	clients, find := stageClients(t, c.kubeconfig, h.Namespace)
	m := find(ctx)

	s := openStage(ctx, t, clients, m)
	state, err := s.Inspect(ctx)
	if err != nil || !state.Locked || !state.Writable || state.RevisionKnown {
		t.Fatalf("%+v, %v", state, err)
	}
	if err := s.Upload(ctx, packed(t, snapshot), nil); err != nil {
		t.Fatal(err)
	}
	b, err := s.Build(ctx, datadir.BuildRequest{Name: m.Name, InitialCluster: m.InitialCluster, Token: "kubectl-etcd-op-1", PeerURLs: m.AdvertisePeerURLs, Bump: 1e6}, func(string) {})
	if err != nil || b.ClusterID == state.ClusterID || b.Revision <= 1e6 {
		t.Fatalf("%+v, %v", b, err)
	}
	to := datadir.ExchangeRequest{Inode: b.Inode, Exists: true}
	if _, err := s.Exchange(ctx, to); reach.Refused(err) != agentapi.CodeLocked {
		t.Errorf("exchanged while etcd runs: %v", err)
	}
	closeStage(ctx, t, s)

	// Now the member has neither a pod nor a node.
	h.scale(t, 0)
	if m = find(ctx); !m.Missing() || m.Node != "" {
		t.Errorf("the member is on %q", m.Node)
	}
	s = openStage(ctx, t, clients, m)
	to.Wait = 30
	if e, err := s.Exchange(ctx, to); err != nil || !e.Exchanged || e.Other != state.Inode {
		t.Fatalf("%+v, %v", e, err)
	}
	closeStage(ctx, t, s)
	h.scale(t, 1)
	h.ready(t)
	if out, err := h.etcdctl(t, 0, "get", "--prefix", "/registry/", "--keys-only"); err != nil || strings.TrimSpace(out) != "/registry/before" {
		t.Errorf("keys %q, %v", out, err)
	}
	if out := h.kubectl(t, "get", "pods,configmaps", "-l", "app.kubernetes.io/managed-by=kubectl-etcd", "-o", "name"); strings.TrimSpace(out) != "" {
		t.Errorf("left behind: %s", out)
	}
}

func openStage(ctx context.Context, t *testing.T, c *reach.Clients, m controlplane.Member) *reach.Stage {
	t.Helper()
	s, err := reach.OpenStage(ctx, c, m, reach.Options{OperationID: "op-1", Log: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func closeStage(ctx context.Context, t *testing.T, s *reach.Stage) {
	t.Helper()
	if err := s.Close(ctx); err != nil {
		t.Error(err)
	}
}

// stageClients are a cluster's clients and how its first hosted member is found.
func stageClients(t *testing.T, kubeconfig, namespace string) (*reach.Clients, func(context.Context) controlplane.Member) {
	t.Helper()
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	clients, err := reach.NewClients(cfg)
	if err != nil {
		t.Fatal(err)
	}
	core, err := corev1client.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	apps, err := appsv1client.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return clients, func(ctx context.Context) controlplane.Member {
		t.Helper()
		found, err := controlplane.Find(ctx, controlplane.Client{Core: core, Apps: apps}, controlplane.Query{Namespace: namespace})
		if err != nil || len(found) != 1 || len(found[0].Members) != 1 {
			t.Fatalf("find: %v, %v", found, err)
		}
		return found[0].Members[0]
	}
}

// packed is a snapshot as a restore sends it.
func packed(t *testing.T, plain []byte) reach.Content {
	t.Helper()
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	b, sum := enc.EncodeAll(plain, nil), sha256.Sum256(plain)
	return reach.Content{Plain: bytes.NewReader(plain), Size: int64(len(plain)), SHA256: hex.EncodeToString(sum[:]), Packed: bytes.NewReader(b), PackedSize: int64(len(b))}
}
