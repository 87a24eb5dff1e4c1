package controlplane

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane/planetest"
)

func find(t *testing.T, c Client, namespace string) []ControlPlane {
	t.Helper()
	planes, err := Find(t.Context(), c, Query{Namespace: namespace})
	if err != nil {
		t.Fatal(err)
	}
	return planes
}

func one(t *testing.T, planes []ControlPlane) ControlPlane {
	t.Helper()
	if len(planes) != 1 {
		t.Fatalf("found %d control planes:\n%s", len(planes), summary(planes))
	}
	return planes[0]
}

func hasNote(list []string, part string) bool {
	return slices.ContainsFunc(list, func(s string) bool { return strings.Contains(s, part) })
}

func TestPodsForbidden(t *testing.T) {
	a, client := serve(t, "kubeadm")
	a.Forbid = func(resource, _, _ string) bool { return resource == "pods" }
	_, err := Find(t.Context(), client, Query{Namespace: "kube-system"})
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), `list pods in namespace "kube-system"`) {
		t.Errorf("error %v", err)
	}
}

func TestCancelled(t *testing.T) {
	_, client := serve(t, "kubeadm")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Find(ctx, client, Query{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// TestOnlyPodsAllowed: everything beside the pods is optional.
func TestOnlyPodsAllowed(t *testing.T) {
	for _, fixture := range []string{"kubeadm", "kubeception", "gardener", "hypershift", "kamaji", "generic-config-file", "generic-env-only", "external"} {
		t.Run(fixture, func(t *testing.T) {
			_, client := serve(t, fixture)
			all := find(t, client, "")
			a, client := serve(t, fixture)
			a.Forbid = func(resource, _, _ string) bool { return resource != "pods" }
			got := find(t, client, "")
			if len(got) != len(all) {
				t.Fatalf("found %d control planes, %d with all rights", len(got), len(all))
			}
			for i := range got {
				if got[i].ID() != all[i].ID() || got[i].Layout == "" || len(got[i].APIServers) != len(all[i].APIServers) {
					t.Errorf("got\n%swant\n%s", summary(got[i:i+1]), summary(all[i:i+1]))
				}
				if got[i].Owner.Kind == "StatefulSet" && !hasNote(got[i].Notes, "list statefulsets") {
					t.Errorf("no note that StatefulSets could not be read: %q", got[i].Notes)
				}
			}
		})
	}
}

func TestNodeReady(t *testing.T) {
	a, client := serve(t, "kubeadm")
	c := one(t, find(t, client, ""))
	for i, want := range []bool{true, true, false} {
		if got := c.Members[i].NodeReady; got == nil || *got != want {
			t.Errorf("node of %s: ready %v, want %v", c.Members[i].Name, got, want)
		}
	}
	a.Forbid = func(resource, _, _ string) bool { return resource == "nodes" }
	if got := one(t, find(t, client, "")).Members[0].NodeReady; got != nil {
		t.Errorf("ready %v of a node that may not be read", *got)
	}
}

// TestConfigUnreadable: without its ConfigMap, what Gardener always does is
// assumed, and said to be.
func TestConfigUnreadable(t *testing.T) {
	a, client := serve(t, "gardener")
	a.Forbid = func(resource, _, _ string) bool { return resource == "configmaps" }
	c, err := Resolve(find(t, client, ""), "etcd-main", "")
	if err != nil {
		t.Fatal(err)
	}
	m := c.Members[0]
	if m.Name != "etcd-main-0" || m.DataDir != "/var/etcd/data/new.etcd" || m.ClientTLS.Cert != "/var/etcd/ssl/client/tls.crt" || m.PodEndpoint != "https://10.0.1.4:2379" {
		t.Errorf("member:\n%s", summary([]ControlPlane{c}))
	}
	if !hasNote(m.Notes, "is forbidden") || !hasNote(m.Notes, "assumed") {
		t.Errorf("notes %q", m.Notes)
	}
}

// TestConfigUnreadableGeneric: nothing is made up where no layout is known.
func TestConfigUnreadableGeneric(t *testing.T) {
	a, client := serve(t, "generic-config-file")
	a.Forbid = func(resource, _, _ string) bool { return resource == "configmaps" }
	m := one(t, find(t, client, "")).Members[0]
	if m.ListenClientURLs != nil || m.Endpoint != "" || !hasNote(m.Notes, "client URLs are not known") {
		t.Errorf("client URLs %q, endpoint %q, notes %q", m.ListenClientURLs, m.Endpoint, m.Notes)
	}
}

func TestSecretsLeftAlone(t *testing.T) {
	for _, fixture := range []string{"generic-env-only", "kubeception", "gardener"} {
		a, client := serve(t, fixture)
		find(t, client, "")
		for _, asked := range a.Asked {
			if strings.HasPrefix(asked, "secrets") {
				t.Errorf("%s: asked for %s", fixture, asked)
			}
		}
	}
}

// TestOneNamespace: with a namespace given, nothing is asked of the others
// (nodes have none).
func TestOneNamespace(t *testing.T) {
	a, client := serve(t, "kubeadm", "kubeception", "hypershift", "gardener")
	if c := one(t, find(t, client, "user1")); c.ID() != "user1/kube-etcd" {
		t.Errorf("found %s", c.ID())
	}
	for _, asked := range a.Asked {
		if f := strings.Fields(asked); f[0] != "nodes" && (len(f) < 2 || f[1] != "user1") {
			t.Errorf("asked for %s", asked)
		}
	}
}

func TestFindOwn(t *testing.T) {
	for fixture, want := range map[string]string{"two-on-a-node": "kube-system/etcd", "kubeadm": "kube-system/etcd", "openshift": "openshift-etcd/etcd", "external": "kube-system/external-etcd", "rke2": "kube-system/etcd"} {
		a, client := serve(t, fixture, "kubeception")
		a.Forbid = func(_, namespace, _ string) bool { return !systemNamespace(namespace) }
		planes, err := FindOwn(t.Context(), client)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Resolve(planes, "", ""); err != nil || got.ID() != want {
			t.Errorf("%s: got %s, %v; want %s", fixture, got.ID(), err, want)
		}
	}
}

func TestFormerSizeFromClaims(t *testing.T) {
	a, client := serve(t)
	a.Add(t, `apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: apps, uid: u}
spec:
  replicas: 0
  serviceName: db
  ordinals: {start: 1}
  volumeClaimTemplates: [{metadata: {name: data}}]
  template:
    spec:
      containers:
      - {name: etcd, image: "quay.io/coreos/etcd:v3.5.9", command: [etcd, --data-dir=/data], volumeMounts: [{name: data, mountPath: /data}]}
`)
	for _, name := range []string{"data-db-1", "data-db-2", "data-db-3", "data-dbx-9", "other-db-7"} {
		a.Add(t, fmt.Sprintf("apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: %s, namespace: apps}\n", name))
	}
	c := one(t, find(t, client, ""))
	var got []string
	for _, m := range c.Members {
		got = append(got, m.PodName+" "+m.DataVolume.Source[0]+" "+m.Phase)
	}
	want := []string{"db-1 data-db-1 Missing", "db-2 data-db-2 Missing", "db-3 data-db-3 Missing"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestMountable: the volumes of a member can be put into another pod as they
// are, whatever the member's own pod has in place of a name.
func TestMountable(t *testing.T) {
	_, client := serve(t, "generic-env-only")
	v := one(t, find(t, client, "")).Members[0].DataVolume
	if v.Volume.PersistentVolumeClaim == nil || v.Volume.PersistentVolumeClaim.ClaimName != "kv-0-data" {
		t.Errorf("volume %+v", v.Volume)
	}
	if v.Mount.SubPath != "kv-0" || v.Mount.SubPathExpr != "" || !v.Shareable() {
		t.Errorf("mount %+v", v.Mount)
	}
}

func TestSecurity(t *testing.T) {
	_, client := serve(t, "kubeception")
	m := one(t, find(t, client, "")).Members[2]
	if *m.RunAsUser != 2001 || *m.RunAsGroup != 1001 || *m.FSGroup != 2000 || m.FSGroupChangePolicy != "OnRootMismatch" || m.SELinux.Level != "s0:c123,c456" {
		t.Errorf("security %+v", m.Security)
	}
	if !slices.Equal(m.ImagePullSecrets, []string{"private-registry-creds"}) || m.Hostname != "kube-etcd-2" || m.Subdomain != "kube-etcd" {
		t.Errorf("pull secrets %q, host %s.%s", m.ImagePullSecrets, m.Hostname, m.Subdomain)
	}
}

// TestAPIServerByAddress: an API server may name etcd by a Service's address.
func TestAPIServerByAddress(t *testing.T) {
	a, client := serve(t, "hypershift")
	for _, pod := range a.Objects["pods"] {
		if strings.HasPrefix(planetest.Meta(pod, "name"), "kube-apiserver") {
			c := pod["spec"].(map[string]any)["containers"].([]any)[0].(map[string]any)
			c["command"] = []any{"kube-apiserver", "--etcd-servers=https://10.96.7.7:2379"}
		}
	}
	if c := one(t, find(t, client, "")); len(c.APIServers) != 1 {
		t.Errorf("found %s", summary([]ControlPlane{c}))
	}
}

// TestTenantNamespace: seen from a namespace with the API server alone, etcd
// looks external, and the note says that it may not be.
func TestTenantNamespace(t *testing.T) {
	_, client := serve(t, "kamaji")
	c := one(t, find(t, client, "tenant-a"))
	if !c.External() || !hasNote(c.Notes, "look in all namespaces") {
		t.Errorf("found %s", summary([]ControlPlane{c}))
	}
}
