package restore

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/rand"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify"
)

// sameCluster refuses another cluster's snapshot. The ids of etcd's change with
// every restore; the UID of the kube-system namespace does not. Of several
// control planes in one etcd, each has one.
func (r *Run) sameCluster(ctx context.Context) error {
	if r.Source == nil || r.Shared.FromOtherCluster {
		return nil
	}
	const insist = "pass --from-other-cluster to restore it all the same"
	if ours := identities(r.Source.report); len(ours) > 0 {
		for _, m := range r.Shared.Members {
			st, err := r.Asker(ctx, m.Name)
			if err != nil && r.Shared.StageLate && ctx.Err() == nil {
				continue // without a volume it has to know where etcd's pod is
			}
			if err != nil {
				return err
			}
			live, err := st.KubeSystemUIDs(ctx, slices.Sorted(maps.Keys(ours)))
			if err != nil || len(live) == 0 {
				continue // down, or encrypted: another may tell
			}
			if why := otherCluster(ours, live); why != "" {
				return site.Refuse(insist, "restore %s: the snapshot is of another cluster (%s)", r.Operation.Target, why)
			}
			return nil
		}
	}
	if side := r.Source.sidecar; side != nil && side.Source.Namespace == r.Shared.Namespace && side.Source.Name == r.Shared.Name {
		return nil
	}
	return site.Refuse(insist, "restore %s: nothing tells that the snapshot is of this cluster: no member answers, and no sidecar names it", r.Operation.Target)
}

// LiveUID is the UID of the kube-system namespace that a control plane's etcd holds; "" where no member tells. It makes a utility
// pod beside one member after the other, and removes it; warn is told where that fails.
func LiveUID(ctx context.Context, c *reach.Clients, p controlplane.ControlPlane, o reach.Options, warn func(string, ...any)) string {
	o.OperationID = "identity-" + rand.String(5)
	for _, m := range p.Members {
		st, err := reach.OpenAsker(ctx, c, m, o)
		if err != nil {
			continue
		}
		live, err := st.KubeSystemUIDs(ctx, []string{"/registry"})
		if cerr := reach.Release(ctx, st); cerr != nil {
			warn("%v; remove what is left with: kubectl etcd cleanup -n %s --running", cerr, m.Namespace)
		}
		if err == nil && len(live) == 1 {
			return slices.Collect(maps.Values(live))[0]
		}
	}
	return ""
}

// identities are the UIDs that a snapshot tells, by prefix.
func identities(r *verify.Report) map[string]string {
	out := map[string]string{}
	for _, k := range r.Kubernetes {
		if k.KubeSystemUID != "" {
			out[k.Prefix] = k.KubeSystemUID
		}
	}
	return out
}

// otherCluster compares what a snapshot and an etcd hold, prefix by prefix, and says how they differ; "" where they do not. A
// control plane that only one of the two has was made or removed between them. One at least must be in both.
func otherCluster(ours, live map[string]string) string {
	common := 0
	for _, prefix := range slices.Sorted(maps.Keys(ours)) {
		uid, there := live[prefix]
		if !there {
			continue
		}
		if common++; uid == ours[prefix] {
			continue
		}
		why := fmt.Sprintf("its kube-system has UID %s, this one's %s", ours[prefix], uid)
		if len(ours) > 1 || len(live) > 1 {
			why = "beneath " + prefix + " " + why
		}
		return why
	}
	if common == 0 {
		return fmt.Sprintf("its keys are beneath %s, this one's beneath %s", prefixes(ours), prefixes(live))
	}
	return ""
}

// prefixes are some of them, for people.
func prefixes(m map[string]string) string {
	const most = 3
	all := slices.Sorted(maps.Keys(m))
	if n := len(all); n > most {
		all = append(all[:most], fmt.Sprintf("and %d more", n-most))
	}
	return strings.Join(all, ", ")
}
