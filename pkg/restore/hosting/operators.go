package hosting

import (
	"fmt"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
)

// letGo refuses a hosted control plane of HyperShift's that cannot be paused, since nothing says whose it is. What is owned by
// an operator that is not known, or has to be told to let go, is noted.
func (h *Found) letGo(sc *restore.Scene, cfg restore.Config) error {
	p := cfg.Plane
	if m := p.Manager; m != nil && m.Group() == hyperShiftGroup && h.Hosted == nil && !cfg.OperatorStopped {
		return site.Refuse(fmt.Sprintf("set the annotation %s of it to NAMESPACE/NAME of its HostedCluster; or %s", clusterAnnotation, site.StopOperator),
			"restore %s: StatefulSet %s is owned by %s, which cannot be paused: it does not say of which HostedCluster it is", p.ID(), p.Owner.Name, site.OwnerName(*m))
	}
	h.noteOwner(sc, "StatefulSet "+h.Set.Name, p.Namespace, p.Manager, cfg)
	for _, w := range sc.Writers {
		if w.Replicas > 0 {
			h.noteOwner(sc, w.ID(), w.Namespace, w.Manager, cfg)
		}
	}
	return nil
}

// noteOwner says of a workload that it may be scaled back, and how that is prevented.
func (h *Found) noteOwner(sc *restore.Scene, what, namespace string, owner *controlplane.Owner, cfg restore.Config) {
	if owner == nil || cfg.Hot || owner.Group() == hyperShiftGroup && h.Hosted != nil { // nothing is scaled, or it has been told
		return
	}
	how := "pause its controller first, or stop it"
	if known := site.LetGo(owner.Group()); known != "" {
		how = "first tell it to let go: " + fmt.Sprintf(known, namespace, owner.Name)
	}
	if cfg.OperatorStopped {
		how = "keep its operator stopped until the restore has ended"
	}
	sc.Notes = append(sc.Notes, fmt.Sprintf("%s is owned by %s, which may scale it back while it is at 0, and everything would be undone: %s", what, site.OwnerName(*owner), how))
}
