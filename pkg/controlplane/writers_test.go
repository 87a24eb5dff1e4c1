package controlplane

import (
	"slices"
	"strings"
	"testing"
)

const writerDocs = `apiVersion: apps/v1
kind: StatefulSet
metadata: {name: kube-apiserver, namespace: NS}
spec:
  replicas: 3
  template:
    spec:
      containers:
      - {name: apiserver, command: [kube-apiserver, "--etcd-servers=https://kube-etcd-0.kube-etcd:2379,https://kube-etcd-1.kube-etcd:2379"]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: maintenance, namespace: NS}
spec:
  template:
    spec:
      containers:
      - name: etcdctl
        command: [/bin/sh, -c, 'while true; do etcdctl --endpoints kube-etcd-0.kube-etcd:2379 defrag; done']
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: by-variable, namespace: NS}
spec:
  replicas: 0
  template:
    spec:
      containers:
      - {name: c, image: x, env: [{name: ETCDCTL_ENDPOINTS, value: "https://kube-etcd.NS.svc:2379"}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: kube-controller-manager, namespace: NS}
spec:
  replicas: 1
  template:
    spec:
      containers:
      - {name: c, command: [kube-controller-manager, --kubeconfig=/x], env: [{name: URL, value: "https://kube-apiserver:6443"}]}
---
apiVersion: v1
kind: Service
metadata: {name: kube-etcd, namespace: NS}
spec: {clusterIP: None, selector: {app: kube-etcd}}
`

// TestWriters: names without a namespace mean something else in each namespace. A writer that is not one would be
// stopped for nothing.
func TestWriters(t *testing.T) {
	a, client := serve(t, "kubeception")
	for _, o := range a.Objects["pods"] { // the template's labels, which the Service selects
		o["metadata"].(map[string]any)["labels"] = map[string]any{"app": "kube-etcd"}
	}
	a.Objects["statefulsets"] = a.Objects["statefulsets"][:1]
	for _, ns := range []string{"user1", "user2"} {
		a.Add(t, strings.TrimSpace(strings.ReplaceAll(writerDocs, "NS", ns)))
	}
	elsewhere := strings.NewReplacer("by-variable", "tenant", "namespace: NS", "namespace: tenants", "kube-etcd.NS.svc", "kube-etcd.user1.svc").Replace(strings.Split(writerDocs, "\n---\n")[2])
	a.Add(t, elsewhere)
	p := one(t, find(t, client, "user1"))
	found, err := Writers(t.Context(), client, p)
	if err != nil || found.Note != "" || len(found.Unsure) > 0 {
		t.Fatal(err, found.Note, found.Unsure)
	}
	got := paths(found.Writers)
	want := []string{"tenants/Deployment/tenant", "user1/Deployment/by-variable", "user1/Deployment/maintenance", "user1/StatefulSet/kube-apiserver"}
	if !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
	controllers, err := Controllers(t.Context(), client, p)
	if err != nil || len(controllers) != 1 || controllers[0].Name != "kube-controller-manager" {
		t.Errorf("controllers %v, %v", controllers, err)
	}
	a.Forbid = func(resource, namespace, _ string) bool {
		return namespace == "" && resource != "pods"
	}
	found, err = Writers(t.Context(), client, p)
	if err != nil || len(found.Writers) != 3 || !strings.Contains(found.Note, "namespace user1 only") {
		t.Errorf("with rights in one namespace: %d writers, note %q, %v", len(found.Writers), found.Note, err)
	}
}

func paths(list []Writer) []string {
	out := []string{}
	for _, w := range list {
		out = append(out, w.Path())
	}
	return out
}
