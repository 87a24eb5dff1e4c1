package hosting

import (
	"context"
	"slices"
	"strings"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
)

// entitled asks, before anything is made, for every right that the steps will need: half-way is no place to find out.
func (h *Found) entitled(ctx context.Context, sc *restore.Scene, c *reach.Clients, p controlplane.ControlPlane, username bool) error {
	need := append(append(reach.Rights(reach.Agent), site.Rights...),
		reach.Right{Verb: "update", Group: "apps", Resource: "statefulsets", Subresource: "scale"},
		reach.Right{Verb: "list", Resource: "persistentvolumeclaims"})
	if h.Recreate {
		need = append(need, reach.Right{Verb: "create", Group: "apps", Resource: "statefulsets"}, reach.Right{Verb: "delete", Group: "apps", Resource: "statefulsets"})
	}
	if DeletesClaims(h.Set) {
		need = append(need, reach.Right{Verb: "update", Group: "apps", Resource: "statefulsets"})
	}
	if username { // etcdctl in the member's own container would have the password in its command line
		need = append(need, reach.Rights(reach.Forward)...)
	}
	if err := c.Require(ctx, p.Namespace, distinct(need)); err != nil {
		return err
	}
	if h.Hosted != nil {
		ns, _, _ := strings.Cut(h.Hosted.Cluster, "/")
		if err := c.Require(ctx, ns, []reach.Right{{Verb: "get", Group: hyperShiftGroup, Resource: HostedClusters}, {Verb: "patch", Group: hyperShiftGroup, Resource: HostedClusters}}); err != nil {
			return err
		}
	}
	perNamespace := map[string][]reach.Right{}
	for _, w := range slices.Concat(sc.Writers, sc.Controllers) {
		resource := "statefulsets"
		if w.Kind == "Deployment" {
			resource = "deployments"
		}
		perNamespace[w.Namespace] = append(perNamespace[w.Namespace], reach.Right{Verb: "get", Group: "apps", Resource: resource, Subresource: "scale"},
			reach.Right{Verb: "update", Group: "apps", Resource: resource, Subresource: "scale"}, reach.Right{Verb: "list", Resource: "pods"}, reach.Right{Verb: "delete", Resource: "pods"})
	}
	for _, b := range h.Budgets {
		for _, verb := range []string{"get", "create", "delete"} {
			perNamespace[b.Namespace] = append(perNamespace[b.Namespace], reach.Right{Verb: verb, Group: "policy", Resource: "poddisruptionbudgets"})
		}
	}
	for ns, rs := range perNamespace {
		if err := c.Require(ctx, ns, distinct(rs)); err != nil {
			return err
		}
	}
	return nil
}

func distinct(rs []reach.Right) (out []reach.Right) {
	seen := map[reach.Right]bool{}
	for _, r := range rs {
		if !seen[r] {
			out = append(out, r)
		}
		seen[r] = true
	}
	return out
}
