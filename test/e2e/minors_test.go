//go:build e2e

package e2e

import (
	"maps"
	"testing"
)

// otherKinds are the clusters of TestKubeadmVersions.
func otherKinds(t testing.TB) []kind { return share(t, 1, []kind{oldKind, newKind, shellKind}) }

// TestKubeadmVersions backs up clusters whose own etcd is another than the main cluster's.
func TestKubeadmVersions(t *testing.T) {
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
		})
	}
}
