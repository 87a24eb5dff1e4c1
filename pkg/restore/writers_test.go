package restore

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
)

func workloadOf(namespace, name string, container corev1.Container, prefix string) controlplane.Writer {
	return controlplane.Writer{Kind: "Deployment", Namespace: namespace, Name: name, Replicas: 1, Prefix: prefix, Why: "https://main:2379",
		Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{container}}}}
}

// TestUnanswered: a restore does not begin while it is not known what it has to stop, and says what can be typed.
func TestUnanswered(t *testing.T) {
	t.Parallel()
	thing := workloadOf("shop", "thing", corev1.Container{Name: "c"}, "")
	for name, c := range map[string]struct {
		scene   Scene
		cfg     Config
		refused string // part of the reason; "": not refused
		hint    string
	}{
		"nothing to ask":             {Scene{Writers: []controlplane.Writer{thing}}, Config{}, "", ""},
		"one that may be a writer":   {Scene{unsure: []controlplane.Writer{thing}}, Config{}, "not known: shop/Deployment/thing", "--writer shop/Deployment/thing stops it, --not-writer shop/Deployment/thing lets it run"},
		"nothing is stopped":         {Scene{unsure: []controlplane.Writer{thing}}, Config{Hot: true}, "", ""},
		"a restore was there before": {Scene{unsure: []controlplane.Writer{thing}}, Config{Again: true}, "", ""},
		"none found":                 {Scene{}, Config{}, "", ""},
		"none found of a vcluster's": {Scene{}, Config{Target: site.Target{Plane: controlplane.ControlPlane{Layout: controlplane.VCluster}}}, "its API server is started by another program", "--writer KIND/NAME"},
		"none found of k0smotron's": {Scene{}, Config{Target: site.Target{Plane: controlplane.ControlPlane{Manager: &controlplane.Owner{APIVersion: "k0smotron.io/v1beta1"}}}},
			"its API server is started by another program", "--writer KIND/NAME"},
		"a vcluster's, found": {Scene{Writers: []controlplane.Writer{thing}}, Config{Target: site.Target{Plane: controlplane.ControlPlane{Layout: controlplane.VCluster}}}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := c.scene.unanswered(c.cfg)
			var r *site.Refusal
			switch {
			case c.refused == "" && err != nil:
				t.Error(err)
			case c.refused != "" && (!errors.As(err, &r) || !strings.Contains(r.Reason, c.refused) || !strings.Contains(r.Hint(), c.hint)):
				t.Errorf("%#v", err)
			}
		})
	}
}

// TestNotWriters: the user knows what is no writer, but not better than an API server's own flags.
func TestNotWriters(t *testing.T) {
	t.Parallel()
	api := workloadOf("shop", "api", corev1.Container{Name: "c", Command: []string{"kube-apiserver"}}, "/registry")
	exporter := workloadOf("shop", "exporter", corev1.Container{Name: "c"}, "")
	thing := workloadOf("elsewhere", "thing", corev1.Container{Name: "c"}, "")
	for id, want := range map[string]struct {
		left    []string // writers, then those that are asked about
		refused string
	}{
		"deploy/exporter":            {[]string{"shop/Deployment/api", "elsewhere/Deployment/thing"}, ""},
		"elsewhere/deployment/thing": {[]string{"shop/Deployment/api", "shop/Deployment/exporter"}, ""},
		"Deployment/api":             {nil, "runs an API server that uses shop/main (https://main:2379)"},
		"Deployment/thing":           {nil, "leave shop/Deployment/thing running: it does not look as if it used shop/main"},
		"DaemonSet/x":                {nil, "neither statefulset nor deployment"},
	} {
		t.Run(id, func(t *testing.T) {
			t.Parallel()
			sc := &Scene{Writers: []controlplane.Writer{api, exporter}, unsure: []controlplane.Writer{thing}}
			err := sc.exceptWriters(Config{Target: site.Target{Plane: controlplane.ControlPlane{Namespace: "shop", Name: "main"}}, NotWriters: []string{id}})
			if want.refused != "" {
				if err == nil || !strings.Contains(err.Error(), want.refused) {
					t.Error(err)
				}
				return
			}
			var left []string
			for _, w := range slices.Concat(sc.Writers, sc.unsure) {
				left = append(left, w.Path())
			}
			if err != nil || !slices.Equal(left, want.left) {
				t.Errorf("%q, %v", left, err)
			}
		})
	}
}

// TestTenants: an etcd of several clusters says by name that all of them go back; one of a single cluster says nothing,
// however many API servers it has.
func TestTenants(t *testing.T) {
	t.Parallel()
	c := corev1.Container{Name: "c", Command: []string{"kube-apiserver"}}
	sc := &Scene{Writers: []controlplane.Writer{workloadOf("tenant-a", "api", c, "/tenant-a"), workloadOf("tenant-b", "api", c, "tenant-b/"), workloadOf("tenant-b", "second", c, "/tenant-b")}}
	plane := controlplane.ControlPlane{Namespace: "shared", Name: "main", APIServers: []controlplane.APIServer{
		{Namespace: "tenant-a", Pod: "api-x", EtcdPrefix: "/tenant-a"}, {Namespace: "tenant-c", Pod: "static", EtcdPrefix: "/tenant-c"}}}
	const want = "3 clusters share this etcd, and all of them are rolled back together: /tenant-a (tenant-a/Deployment/api), /tenant-b (tenant-b/Deployment/api, tenant-b/Deployment/second), /tenant-c (tenant-c/Pod/static)"
	for _, hot := range []bool{false, true} {
		wants := []string{want}
		if !hot { // which nothing here can stop
			wants = append(wants, "API server tenant-c/static uses this etcd, and no Deployment or StatefulSet runs it: stop it yourself before, and start it afterwards")
		}
		if got := sc.doubts(Config{Target: site.Target{Plane: plane}, Hot: hot}); !slices.Equal(got, wants) {
			t.Errorf("hot %t: %q", hot, got)
		}
	}
	sc.Writers = sc.Writers[1:]
	if got := sc.doubts(Config{}); len(got) != 0 {
		t.Errorf("one cluster: %q", got)
	}
}

// TestAgain: an undo of a restore that has ended lets run what the first one let run, also where that is gone or not sure.
func TestAgain(t *testing.T) {
	t.Parallel()
	sc := &Scene{Writers: []controlplane.Writer{workloadOf("shop", "exporter", corev1.Container{Name: "c"}, "")}}
	cfg := Config{Target: site.Target{Plane: controlplane.ControlPlane{Namespace: "shop", Name: "main"}}}
	data, err := json.Marshal(site.Shared{Hosting: site.Hosting{NotWriters: []string{"deployment/exporter", "deployment/gone"}}})
	if err == nil {
		err = AsBefore(&plan.Operation{Data: data}, &cfg)
	}
	if err == nil {
		err = sc.exceptWriters(cfg)
	}
	if err != nil || len(sc.Writers) != 0 {
		t.Errorf("%v, %v", sc.Writers, err)
	}
}
