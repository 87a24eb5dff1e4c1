package hosting

import (
	"errors"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
)

// TestLetGo: who may scale back what is at 0 is told by name, and what is known to prevent it.
func TestLetGo(t *testing.T) {
	t.Parallel()
	owner := func(apiVersion, kind, name string) *controlplane.Owner {
		return &controlplane.Owner{APIVersion: apiVersion, Kind: kind, Name: name}
	}
	kamaji, widget, hcp := owner("kamaji.clastix.io/v1alpha1", "TenantControlPlane", "blue"), owner("widgets.example.com/v1", "Widget", "x"), owner("hypershift.openshift.io/v1beta1", "HostedControlPlane", "y")
	for name, c := range map[string]struct {
		set, writer *controlplane.Owner
		hosted      *site.HostedCluster
		cfg         restore.Config
		notes       []string // a part of each
		refused     bool
	}{
		"nobody's": {},
		"an unknown operator's": {set: widget, notes: []string{
			"StatefulSet main-etcd is owned by Widget x (widgets.example.com), which may scale it back while it is at 0, and everything would be undone: pause its controller first"}},
		"a writer of Kamaji's": {writer: kamaji, notes: []string{
			"Deployment/blue is owned by TenantControlPlane blue (kamaji.clastix.io), which may scale it back while it is at 0, and everything would be undone: first tell it to let go: kubectl annotate -n tenants tenantcontrolplane blue kamaji.clastix.io/paused=true"}},
		"both":                              {set: widget, writer: kamaji, notes: []string{"Widget x", "TenantControlPlane blue"}},
		"stopped":                           {set: widget, cfg: restore.Config{OperatorStopped: true}, notes: []string{"keep its operator stopped until the restore has ended"}},
		"hot: nothing is scaled":            {set: widget, writer: kamaji, cfg: restore.Config{Hot: true}},
		"HyperShift's, which is paused":     {set: hcp, writer: hcp, hosted: &site.HostedCluster{}},
		"HyperShift's, and nobody knows of": {set: hcp, refused: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := &Found{Set: &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Name: "main-etcd"}}, Hosted: c.hosted}
			sc := &restore.Scene{Writers: []controlplane.Writer{{Kind: "Deployment", Namespace: "tenants", Name: "blue", Replicas: 2, Manager: c.writer}, {Kind: "Deployment", Name: "down", Manager: widget}}}
			c.cfg.Plane = controlplane.ControlPlane{Namespace: "team-a", Name: "main-etcd", Manager: c.set}
			err := h.letGo(sc, c.cfg)
			var r *site.Refusal
			if c.refused != errors.As(err, &r) || c.refused && !strings.Contains(r.Hint(), clusterAnnotation) {
				t.Errorf("%v", err)
			}
			if !slices.EqualFunc(sc.Notes, c.notes, strings.Contains) {
				t.Errorf("notes: %q", sc.Notes)
			}
		})
	}
}
