package keys

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1client "k8s.io/client-go/kubernetes/typed/apps/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane/planetest"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
)

// TestLayouts: where the keys of each product's control planes are, as its objects say.
func TestLayouts(t *testing.T) {
	for _, name := range []string{"kubeadm", "rke2", "openshift", "hypershift", "kamaji", "vcluster", "gardener", "kubeception", "scaled-to-zero"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, config := planetest.Serve(t, filepath.Join("..", "controlplane", "testdata", name+".yaml"))
			clients, err := reach.NewClients(config)
			if err != nil {
				t.Fatal(err)
			}
			apps, err := appsv1client.NewForConfig(config)
			if err != nil {
				t.Fatal(err)
			}
			planes, err := controlplane.Find(t.Context(), controlplane.Client{Core: clients.Core, Apps: apps}, controlplane.Query{})
			if err != nil {
				t.Fatal(err)
			}
			var got strings.Builder
			for _, p := range planes {
				fmt.Fprintf(&got, "%s\n%s", p.ID(), found(t, clients, p))
			}
			golden := filepath.Join("testdata", name+".txt")
			if os.Getenv("UPDATE_GOLDEN") != "" {
				if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if want, err := os.ReadFile(golden); err != nil || string(want) != got.String() {
				t.Errorf("%v; it is now (UPDATE_GOLDEN=1 accepts it):\n%s", err, got.String())
			}
		})
	}
}

func found(t *testing.T, c *reach.Clients, p controlplane.ControlPlane) string {
	t.Helper()
	var out []string
	s, err := Find(t.Context(), c, p, func(format string, args ...any) { out = append(out, "  warning: "+fmt.Sprintf(format, args...)) })
	slices.Sort(out)
	if err != nil {
		return strings.Join(append(out, "  error: "+err.Error()), "\n") + "\n"
	}
	for _, n := range s.Nodes {
		for _, at := range n.Paths {
			out = append(out, fmt.Sprintf("  node %s: %s %s", n.Name, at.Path, at.Type))
		}
	}
	for _, o := range s.Objects {
		out = append(out, "  "+o.String())
	}
	for want, pod := range s.wanted {
		out = append(out, fmt.Sprintf("  EncryptionConfiguration of %s: %s %s", pod, want.of, want.path))
	}
	return strings.Join(out, "\n") + "\n"
}
