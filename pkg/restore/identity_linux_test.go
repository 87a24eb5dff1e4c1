package restore

import (
	"errors"
	"os"
	"strings"
	"testing"

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
	same := func() error {
		r := w.operateWith(w.client(-1), func(c *Config) { c.FromOtherCluster = false })
		defer r.src.close()
		r.src.sidecar = &snapshot.Sidecar{Source: snapshot.Source{Namespace: r.sh.Namespace, Name: r.sh.Name}}
		return r.sameCluster(t.Context())
	}
	if err := same(); err != nil {
		t.Error(err)
	}
	w.etcd.Put(t, "/tenant/b/namespaces/kube-system", string(etcdtest.Namespace("kube-system", "of-another")))
	err := same()
	var refusal *Refusal
	if !errors.As(err, &refusal) || !strings.Contains(err.Error(), "the snapshot is of another cluster (beneath /tenant/b its kube-system has UID of-b, this one's of-another)") {
		t.Errorf("got %v", err)
	}
	w.etcd.Members[0].Stop()
	if err := same(); err != nil {
		t.Errorf("nobody answers, and the sidecar names it: %v", err)
	}
}
