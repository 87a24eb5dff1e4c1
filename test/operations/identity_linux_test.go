package operations

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/snapshot"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify/etcdtest"
)

// TestSharedEtcd: members that answer are asked also where several control planes share an etcd; a sidecar that has the right
// name is believed only where none does.
func TestSharedEtcd(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.etcd.Put(t, "/tenant-a/namespaces/kube-system", string(etcdtest.Namespace("kube-system", "of-a")))
	w.etcd.Put(t, "/tenant/b/namespaces/kube-system", string(etcdtest.Namespace("kube-system", "of-b")))
	if err := os.Remove(w.snapshot); err != nil {
		t.Fatal(err)
	}
	w.save()
	b, err := os.ReadFile(w.snapshot)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(b)
	plain := snapshot.Plain{Size: int64(len(b)), SHA256: hex.EncodeToString(sum[:])}
	side := snapshot.Sidecar{File: filepath.Base(w.snapshot), Size: plain.Size, SHA256: plain.SHA256, Proof: snapshot.ProofStream, Plain: plain, Source: snapshot.Source{Namespace: testNamespace, Name: testSet}}
	if err := snapshot.WriteSidecar(w.snapshot, side); err != nil {
		t.Fatal(err)
	}
	same := func() error {
		c := w.client(-1)
		r := w.operateWith(c, func(c *restore.Config) { c.FromOtherCluster = false })
		defer r.Close()
		return runnerOf(r, c).Actions[site.KindAsk].Do(t.Context(), &plan.Task{Step: &plan.Step{}})
	}
	if err := same(); err != nil {
		t.Error(err)
	}
	w.etcd.Put(t, "/tenant/b/namespaces/kube-system", string(etcdtest.Namespace("kube-system", "of-another")))
	err = same()
	var refusal *site.Refusal
	if !errors.As(err, &refusal) || !strings.Contains(err.Error(), "the snapshot is of another cluster (beneath /tenant/b its kube-system has UID of-b, this one's of-another)") {
		t.Errorf("got %v", err)
	}
	w.etcd.Members[0].Stop()
	if err := same(); err != nil {
		t.Errorf("nobody answers, and the sidecar names it: %v", err)
	}
}
