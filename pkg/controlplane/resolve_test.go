package controlplane

import (
	"errors"
	"strings"
	"testing"
)

func TestResolve(t *testing.T) {
	static := Owner{Kind: ownerStatic}
	own := ControlPlane{Namespace: "kube-system", Name: "etcd", Layout: Kubeadm, Owner: static}
	addon := ControlPlane{Namespace: "kube-system", Name: "cilium-etcd", Layout: Generic, Owner: Owner{Kind: "StatefulSet"}}
	main := ControlPlane{Namespace: "shoot-a", Name: "etcd-main", Layout: Gardener}
	events := ControlPlane{Namespace: "shoot-a", Name: "etcd-events", Layout: Gardener}
	twin := ControlPlane{Namespace: "shoot-b", Name: "etcd-main", Layout: Gardener}
	ocp := ControlPlane{Namespace: "openshift-etcd", Name: "etcd", Layout: OpenShift, Owner: static}
	ext := ControlPlane{Namespace: "kube-system", Name: "external-etcd", Layout: External}
	beside := ControlPlane{Namespace: "kube-system", Name: "etcd-events", Owner: static, APIServers: []APIServer{{For: []string{"/events"}}, {For: []string{"/events", "leases"}}}}
	all := []ControlPlane{own, addon, main, events, twin}
	for name, c := range map[string]struct {
		planes            []ControlPlane
		target, namespace string
		want              string // ID, or "none", or "any: IDs"
	}{
		"own":                    {all, "", "", "kube-system/etcd"},
		"own on OpenShift":       {[]ControlPlane{addon, ocp}, "", "", "openshift-etcd/etcd"},
		"own is outside":         {[]ControlPlane{addon, ext}, "", "", "kube-system/external-etcd"},
		"only an add-on's":       {[]ControlPlane{addon, main}, "", "", "kube-system/cilium-etcd"},
		"no own":                 {[]ControlPlane{main, events}, "", "", "none"},
		"nothing at all":         {nil, "", "", "none"},
		"two own":                {[]ControlPlane{own, ocp}, "", "", "any: kube-system/etcd, openshift-etcd/etcd"},
		"own and one for Events": {[]ControlPlane{beside, own}, "", "", "kube-system/etcd"},
		"one for Events is told": {[]ControlPlane{beside, own}, "", "kube-system", "any: kube-system/etcd-events (/events, leases only), kube-system/etcd"},
		"namespace":              {all, "", "shoot-b", "shoot-b/etcd-main"},
		"two in a namespace":     {all, "", "shoot-a", "any: shoot-a/etcd-main, shoot-a/etcd-events"},
		"name in a namespace":    {all, "etcd-main", "shoot-a", "shoot-a/etcd-main"},
		"name":                   {all, "etcd-events", "", "shoot-a/etcd-events"},
		"name in two":            {all, "etcd-main", "", "any: shoot-a/etcd-main, shoot-b/etcd-main"},
		"full name":              {all, "shoot-b/etcd-main", "", "shoot-b/etcd-main"},
		"full name wins":         {all, "shoot-b/etcd-main", "shoot-a", "shoot-b/etcd-main"},
		"unknown":                {all, "shoot-b/etcd-x", "", "none"},
		"unknown in a namespace": {all, "etcd-events", "shoot-b", "none"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Resolve(c.planes, c.target, c.namespace)
			var none *NotFoundError
			var many *AmbiguousError
			result := got.ID()
			switch {
			case errors.As(err, &none):
				result = "none"
				if len(none.Candidates) != len(c.planes) {
					t.Errorf("candidates: %d of %d", len(none.Candidates), len(c.planes))
				}
			case errors.As(err, &many):
				result = "any: " + err.Error()[strings.Index(err.Error(), "planes: ")+len("planes: "):]
			case err != nil:
				t.Fatal(err)
			}
			if result != c.want {
				t.Errorf("got %s (%v), want %s", result, err, c.want)
			}
		})
	}
}
