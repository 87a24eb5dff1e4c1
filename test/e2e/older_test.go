//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/apiserver"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/apiserver/apiservertest"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify/etcdtest"
)

// TestOlderKubernetes looks into a snapshot of the minor before, with an API server of the cluster's minor, and brings its objects into the
// cluster.
func TestOlderKubernetes(t *testing.T) {
	c := clusters.get(t, mainKind)
	b := etcdtest.Find(t, "3.5")
	etcd := etcdtest.Start(t, b)
	older := filepath.Join(testbed, "kube-older", "kube-apiserver")
	if _, err := os.Stat(older); err != nil {
		t.Fatalf("%v; run: hack/testbed/binaries.sh older", err)
	}
	s := apiservertest.Start(t, apiserver.Config{Program: older, Endpoint: etcd.Endpoint, Prefix: "/registry"})
	t.Cleanup(s.Stop)
	ca, kubeconfig := filepath.Join(t.TempDir(), "ca.crt"), filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(ca, s.CA, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, set := range [][]string{
		{"set-cluster", "old", "--server=" + s.URL(), "--embed-certs", "--certificate-authority=" + ca},
		{"set-credentials", "old", "--token=" + s.Token},
		{"set-context", "old", "--cluster=old", "--user=old"},
		{"use-context", "old"},
	} {
		if _, err := output(t.Context(), nil, "kubectl", append([]string{"config", "--kubeconfig", kubeconfig}, set...)...); err != nil {
			t.Fatal(err)
		}
	}
	scripts(t, c, "older", map[string]string{
		"OLD": kubeconfig, "OLD_ENDPOINT": etcd.Endpoint, "OLD_API": older, "OLD_VERSION": s.Version,
		"KUBERNETES": strings.TrimPrefix(c.kubectl(t, "get", "node", c.node(), "-o", "jsonpath={.status.nodeInfo.kubeletVersion}"), "v"), "MINOR": minor(mainKind.tag),
	})
}
