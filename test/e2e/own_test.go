//go:build e2e

package e2e

import (
	"maps"
	"strings"
	"testing"
)

// otherKinds are the clusters of TestKubeadmVersions.
func otherKinds(t testing.TB) []kind { return share(t, 1, []kind{oldKind, newKind, shellKind}) }

// TestKubeadmVersions backs up clusters whose own etcd is another than the main cluster's.
func TestKubeadmVersions(t *testing.T) {
	turn(t)
	kinds := otherKinds(t)
	for i, k := range kinds {
		t.Run(k.tag, func(t *testing.T) {
			c := clusters.get(t, k)
			if i+1 < len(kinds) {
				clusters.begin(t, kinds[i+1])
			}
			env := c.env(t)
			dir := "kubeadm"
			if env["HAS_SHELL"] == "yes" {
				dir = "shell"
			}
			scripts(t, c, dir, maps.Clone(env))
			t.Run("restore", func(t *testing.T) { restoreStaticKilled(t, c) })
			clusters.drop(t.Context(), c)
		})
	}
}

// TestOffline is what needs no cluster.
func TestOffline(t *testing.T) {
	scripts(t, &cluster{}, "offline", nil)
}

// TestOwn backs up the cluster's own etcd. Its scripts run side by side, so that only at the end nothing may be left.
func TestOwn(t *testing.T) {
	c := clusters.get(t, mainKind)
	t.Cleanup(func() {
		c.nothingLeft(t, "kube-system")
		c.etcd(t, "cleanup").exits(0).says("nothing was left behind")
	})
	clusters.begin(t, userKind)
	sideBySide(t, c, "own", c.env(t))
	for _, where := range share(t, 1, []string{"here", "pod"}) {
		sideBySide(t, c, "inside/"+where, c.env(t))
	}
}

func (c *cluster) env(t testing.TB) map[string]string {
	version, _, _ := strings.Cut(c.tag, "-")
	shell := "no"
	if strings.HasSuffix(c.tag, "-sh") {
		shell = "yes"
	}
	return map[string]string{
		"VERSION": version, "MINOR": minor(c.tag), "HAS_SHELL": shell, "NODE_IP": c.nodeIP(t),
		"NS": "kube-system", "TARGET": "kube-system/etcd", "POD": "etcd-" + c.node(),
	}
}

func (c *cluster) nodeIP(t testing.TB) string {
	t.Helper()
	return c.kubectl(t, "get", "node", c.node(), "-o", `jsonpath={.status.addresses[?(@.type=="InternalIP")].address}`)
}
