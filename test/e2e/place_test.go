//go:build e2e

package e2e

import (
	"fmt"
	"math/rand/v2"
	"testing"

	coordv1client "k8s.io/client-go/kubernetes/typed/coordination/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/clientcmd"

	places "github.com/kubectl-etcd/kubectl-etcd/pkg/operation"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/operation/placetest"
)

// TestPlace: a cluster keeps journals and locks as operations need it.
func TestPlace(t *testing.T) {
	c := clusters.get(t, mainKind)
	t.Parallel()
	ns := fmt.Sprintf("e2e-%06x", rand.Uint32()&0xffffff)
	c.kubectl(t, "create", "namespace", ns)
	t.Cleanup(func() { c.kubectl(t, "delete", "namespace", ns, "--wait=false", "--ignore-not-found") })
	cfg, err := clientcmd.BuildConfigFromFlags("", c.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	core, err := corev1client.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	coord, err := coordv1client.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	placetest.Run(t, places.Cluster{Core: core, Coord: coord}, ns)
}
