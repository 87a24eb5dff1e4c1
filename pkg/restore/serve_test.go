package restore

import (
	"strings"
	"testing"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
)

// TestStoppedBefore: writers that are at 0 replicas already are told of, with what starts them.
func TestStoppedBefore(t *testing.T) {
	t.Parallel()
	sc := &Scene{Writers: []controlplane.Writer{{Kind: "StatefulSet", Namespace: "team-a", Name: "kube-apiserver"}, {Kind: "Deployment", Namespace: "team-a", Name: "x", Replicas: 1}}}
	if before := sc.stopped(); len(before) != 1 || !strings.Contains(before[0], "StatefulSet team-a/kube-apiserver, which uses this etcd, is at 0 replicas") {
		t.Errorf("told before: %q", before)
	}
}
