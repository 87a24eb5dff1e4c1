package site

import (
	"errors"
	"strings"
	"testing"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
)

// TestSupported: an operator that puts its StatefulSet back restores it by its own procedure, or has been stopped.
func TestSupported(t *testing.T) {
	t.Parallel()
	set := controlplane.Owner{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "main-etcd"}
	owned := func(apiVersion, kind string) controlplane.ControlPlane {
		return controlplane.ControlPlane{Namespace: "team-a", Name: "main-etcd", Owner: set, Manager: &controlplane.Owner{APIVersion: apiVersion, Kind: kind, Name: "main"}}
	}
	for name, c := range map[string]struct {
		plane   controlplane.ControlPlane
		stopped bool
		refused string // part of the reason; "": not refused
		hint    []string
	}{
		"nobody's":                     {plane: controlplane.ControlPlane{Owner: set}},
		"an unknown operator's":        {plane: owned("widgets.example.com/v1", "Widget")},
		"HyperShift's, which is found": {plane: owned("hypershift.openshift.io/v1beta1", "HostedControlPlane")},
		"etcd's own operator's": {plane: owned("operator.etcd.io/v1alpha1", "EtcdCluster"), refused: "StatefulSet main-etcd is owned by EtcdCluster main (operator.etcd.io)",
			hint: []string{"EtcdRestore", "--operator-stopped"}},
		"the same, stopped": {plane: owned("operator.etcd.io/v1alpha1", "EtcdCluster"), stopped: true},
		"aenix's":           {plane: owned("etcd.aenix.io/v1alpha1", "EtcdCluster"), refused: "EtcdCluster main (etcd.aenix.io)", hint: []string{"spec.bootstrap.restore", "--operator-stopped"}},
		"k0smotron's, which documents nothing": {plane: owned("k0smotron.io/v1beta1", "Cluster"), refused: "Cluster main (k0smotron.io)",
			hint: []string{"stop its operator, and pass --operator-stopped"}},
		"Kubermatic's": {plane: owned("kubermatic.k8c.io/v1", "Cluster"), refused: "Cluster main (kubermatic.k8c.io)", hint: []string{"EtcdRestore", "https://docs.kubermatic.com/"}},
		"one that owns pods": {plane: controlplane.ControlPlane{Namespace: "tenant", Name: "test", Owner: controlplane.Owner{APIVersion: "etcd-operator.cozystack.io/v1alpha2", Kind: "EtcdMember", Name: "test-0"}},
			refused: "run by EtcdMember test-0 (etcd-operator.cozystack.io)", hint: []string{"spec.bootstrap.restore"}},
		"one that owns pods, and is not known": {plane: controlplane.ControlPlane{Owner: controlplane.Owner{APIVersion: "widgets.example.com/v1", Kind: "Widget", Name: "x"}},
			refused: "run by Widget x (widgets.example.com)", hint: []string{"what owns it"}},
		"Kubermatic's, whose owner may not be read": {plane: controlplane.ControlPlane{Owner: set, Layout: controlplane.Kubermatic}, refused: "Kubermatic's launcher", hint: []string{"EtcdRestore"}},
		"a launcher that cannot be read": {plane: controlplane.ControlPlane{Owner: set, Members: []controlplane.Member{{Name: "s-0"}, {Name: "s-1", FoundBy: []string{"image"}}}},
			refused: "member s-1 is started in a way that cannot be read", hint: []string{"ConfigMap"}},
		"two in a pod": {plane: controlplane.ControlPlane{Owner: set, Beside: []string{"events"}}, stopped: true, refused: "another etcd too (events)"},
		"a Deployment's": {plane: controlplane.ControlPlane{Owner: controlplane.Owner{APIVersion: "apps/v1", Kind: "Deployment", Name: "d"}}, refused: "run by Deployment d, ",
			hint: []string{"etcdutl snapshot restore"}},
		"static pods": {plane: controlplane.ControlPlane{Owner: controlplane.Owner{Kind: "StaticPod", Name: "etcd"}}, refused: "run by StaticPod", hint: []string{"build its data with etcdutl snapshot restore"}},
		"Gardener's":  {plane: controlplane.ControlPlane{Owner: set, Layout: controlplane.Gardener}, stopped: true, refused: "etcd-druid", hint: []string{"Etcd object"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := Supported(c.plane, c.stopped)
			if c.refused == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var r *Refusal
			if !errors.As(err, &r) || !strings.Contains(r.Reason, c.refused) {
				t.Fatalf("%v", err)
			}
			for _, h := range c.hint {
				if !strings.Contains(r.Hint(), h) {
					t.Errorf("hint %q lacks %q", r.Hint(), h)
				}
			}
		})
	}
}
