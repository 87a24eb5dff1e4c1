package site

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
	StopOperator   = "stop its operator, and pass --operator-stopped"
)

// LetGo is how the operator of an API group is told to leave an object alone, with the object's namespace and name to be put in;
// "" where it has nothing of that kind, or is not known.
func LetGo(group string) string { return operators[group].letGo }

// OwnerName names an object as people do: its kind, its name and whose kind that is.
func OwnerName(o controlplane.Owner) string {
	return fmt.Sprintf("%s %s (%s)", o.Kind, o.Name, o.Group())
}

// SupportedStatic refuses the control planes that kubelets run from files and that cannot be restored all the same.
func SupportedStatic(p controlplane.ControlPlane) error {
	switch {
	case p.Layout == controlplane.OpenShift:
		return openShift(p)
	case !p.Static():
		return Refuse("", "restore %s: its members are run by %s, not by kubelets from files", p.ID(), p.Owner.Kind)
	case len(p.Holds()) > 0:
		return Refuse("", "restore %s: the API servers keep only %s in it, and the rest elsewhere; that cannot be done yet", p.ID(), strings.Join(p.Holds(), ", "))
	case len(p.Beside) > 0:
		return Refuse("", "restore %s: its pods run another etcd too (%s), which would be taken for it; that cannot be done yet", p.ID(), strings.Join(p.Beside, ", "))
	}
	return whereData(p)
}

func openShift(p controlplane.ControlPlane) error {
	return Refuse("use cluster-restore.sh on a control plane node", "restore %s: its operator owns the static pods and their data", p.ID())
}

// whereData refuses members of which it is not known where their data lies.
func whereData(p controlplane.ControlPlane) error {
	for _, m := range p.Members {
		if len(m.FoundBy) > 0 {
			return Refuse("let its pod's command, or a script in a ConfigMap that you may read, start etcd with its settings",
				"restore %s: member %s is started in a way that cannot be read, so where its data lies is not known", p.ID(), m.Name)
		}
	}
	return nil
}

// Supported refuses the control planes whose own operator has to restore them.
func Supported(p controlplane.ControlPlane, operatorStopped bool) error {
	own := operators[p.Owner.Group()].own
	switch {
	case p.Layout == controlplane.Gardener:
		return Refuse(gardenersOwn, "restore %s: etcd-druid's sidecar owns its data directory", p.ID())
	case p.Layout == controlplane.OpenShift:
		return openShift(p)
	case p.Layout == controlplane.Kubermatic:
		return Refuse(kubermaticsOwn, "restore %s: Kubermatic's launcher decides when its etcd starts, and on which data", p.ID())
	case p.Owner.Custom():
		return Refuse(cmp.Or(own, "restore it by the procedure of what owns it"),
			"restore %s: its members are run by %s, and only those of a StatefulSet can be restored yet", p.ID(), OwnerName(p.Owner))
	case p.Owner.Kind != "StatefulSet" && p.Owner.APIVersion != "":
		return Refuse("stop what uses it, build its data with etcdutl snapshot restore, and start it again",
			"restore %s: its members are run by %s %s, and only those of a StatefulSet can be restored yet", p.ID(), p.Owner.Kind, p.Owner.Name)
	case p.Owner.Kind != "StatefulSet":
		return Refuse("stop it where it runs, build its data with etcdutl snapshot restore, and start it again", "restore %s: its members are run by %s, and only those of a StatefulSet, or static pods, can be restored yet", p.ID(), p.Owner.Kind)
	case len(p.Beside) > 0:
		return Refuse("", "restore %s: its pods run another etcd too (%s), which would stop with it; that cannot be done yet", p.ID(), strings.Join(p.Beside, ", "))
	}
	if err := whereData(p); err != nil {
		return err
	}
	if p.Manager == nil || operatorStopped {
		return nil
	}
	if known, ok := operators[p.Manager.Group()]; ok && known.letGo == "" {
		hint := StopOperator
		if known.own != "" {
			hint = known.own + "; or " + StopOperator
		}
		return Refuse(hint, "restore %s: StatefulSet %s is owned by %s, whose operator puts back what is changed", p.ID(), p.Owner.Name, OwnerName(*p.Manager))
	}
	return nil
}
