package restore

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
)

// operator is what is known of a controller that puts back what others change in the objects that it owns.
type operator struct {
	// own is how it restores an etcd by itself; "" where it documents nothing. letGo is how it is told to leave an object
	// alone, with the object's namespace and name to be put in; "" where it has nothing of that kind.
	own, letGo string
}

// operators are known by the group of their API. All but those that can be told to let go have been seen to put a
// StatefulSet of etcd back.
var operators = map[string]operator{
	"operator.etcd.io":           {own: "restore the snapshot into a new EtcdCluster, through an EtcdRestore object"},
	"etcd.database.coreos.com":   {own: "restore the snapshot through an EtcdRestore object"},
	"etcd.aenix.io":              {own: "create its EtcdCluster anew with spec.bootstrap.restore"},
	"etcd-operator.cozystack.io": {own: "create its EtcdCluster anew with spec.bootstrap.restore"},
	"druid.gardener.cloud":       {own: gardenersOwn},
	"kubermatic.k8c.io":          {own: kubermaticsOwn},
	"kubermatic.k8s.io":          {own: kubermaticsOwn},
	"k0smotron.io":               {},
	"kamaji.clastix.io":          {letGo: "kubectl annotate -n %s tenantcontrolplane %s kamaji.clastix.io/paused=true"},
}

const (
	gardenersOwn   = "restore it through its Etcd object: https://github.com/gardener/etcd-backup-restore"
	kubermaticsOwn = "restore it through an EtcdRestore object: https://docs.kubermatic.com/kubermatic/main/tutorials-howtos/etcd-backups/"
	stopIt         = "stop its operator, and pass --operator-stopped"
)

// ownerName names an object as people do: its kind, its name and whose kind that is.
func ownerName(o controlplane.Owner) string {
	return fmt.Sprintf("%s %s (%s)", o.Kind, o.Name, o.Group())
}

// supported refuses the control planes whose own operator has to restore them.
func supported(cfg Config) error {
	p := cfg.Plane
	own := operators[p.Owner.Group()].own
	switch {
	case p.Layout == controlplane.Gardener:
		return refuse(gardenersOwn, "restore %s: etcd-druid's sidecar owns its data directory", p.ID())
	case p.Layout == controlplane.OpenShift:
		return refuse("use cluster-restore.sh on a control plane node", "restore %s: its operator owns the static pods and their data", p.ID())
	case p.Layout == controlplane.Kubermatic:
		return refuse(kubermaticsOwn, "restore %s: Kubermatic's launcher decides when its etcd starts, and on which data", p.ID())
	case p.Owner.Custom():
		return refuse(cmp.Or(own, "restore it by the procedure of what owns it"),
			"restore %s: its members are run by %s, and only those of a StatefulSet can be restored yet", p.ID(), ownerName(p.Owner))
	case p.Owner.Kind != "StatefulSet" && p.Owner.APIVersion != "":
		return refuse("stop what uses it, build its data with etcdutl snapshot restore, and start it again",
			"restore %s: its members are run by %s %s, and only those of a StatefulSet can be restored yet", p.ID(), p.Owner.Kind, p.Owner.Name)
	case p.Owner.Kind != "StatefulSet":
		return refuse("for static pods: stop the API server and etcd on each node, etcdutl snapshot restore, start them again", "restore %s: its members are run by %s, and only those of a StatefulSet can be restored yet", p.ID(), p.Owner.Kind)
	case len(p.Beside) > 0:
		return refuse("", "restore %s: its pods run another etcd too (%s), which would stop with it; that cannot be done yet", p.ID(), strings.Join(p.Beside, ", "))
	}
	for _, m := range p.Members {
		if len(m.FoundBy) > 0 {
			return refuse("let its pod's command, or a script in a ConfigMap that you may read, start etcd with its settings",
				"restore %s: member %s is started in a way that cannot be read, so where its data lies is not known", p.ID(), m.Name)
		}
	}
	if p.Manager == nil || cfg.OperatorStopped {
		return nil
	}
	if known, ok := operators[p.Manager.Group()]; ok && known.letGo == "" {
		hint := stopIt
		if known.own != "" {
			hint = known.own + "; or " + stopIt
		}
		return refuse(hint, "restore %s: StatefulSet %s is owned by %s, whose operator puts back what is changed", p.ID(), p.Owner.Name, ownerName(*p.Manager))
	}
	return nil
}

// letGo refuses a hosted control plane of HyperShift's that cannot be paused, since nothing says whose it is. What is owned by
// an operator that is not known, or has to be told to let go, is noted.
func (sc *scene) letGo(cfg Config) error {
	p := cfg.Plane
	if m := p.Manager; m != nil && m.Group() == hyperShiftGroup && sc.hosted == nil && !cfg.OperatorStopped {
		return refuse(fmt.Sprintf("set the annotation %s of it to NAMESPACE/NAME of its HostedCluster; or %s", clusterAnnotation, stopIt),
			"restore %s: StatefulSet %s is owned by %s, which cannot be paused: it does not say of which HostedCluster it is", p.ID(), p.Owner.Name, ownerName(*m))
	}
	sc.noteOwner("StatefulSet "+sc.set.Name, p.Namespace, p.Manager, cfg)
	for _, w := range sc.writers {
		if w.Replicas > 0 {
			sc.noteOwner(w.ID(), w.Namespace, w.Manager, cfg)
		}
	}
	return nil
}

// noteOwner says of a workload that it may be scaled back, and how that is prevented.
func (sc *scene) noteOwner(what, namespace string, owner *controlplane.Owner, cfg Config) {
	if owner == nil || cfg.Hot || owner.Group() == hyperShiftGroup && sc.hosted != nil { // nothing is scaled, or it has been told
		return
	}
	how := "pause its controller first, or stop it"
	if known := operators[owner.Group()].letGo; known != "" {
		how = "first tell it to let go: " + fmt.Sprintf(known, namespace, owner.Name)
	}
	if cfg.OperatorStopped {
		how = "keep its operator stopped until the restore has ended"
	}
	sc.notes = append(sc.notes, fmt.Sprintf("%s is owned by %s, which may scale it back while it is at 0, and everything would be undone: %s", what, ownerName(*owner), how))
}
