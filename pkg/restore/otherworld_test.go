package restore

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane/planetest"
)

// storedPod is a pod as an API server keeps it.
func storedPod(t *testing.T, uid string) []byte {
	t.Helper()
	return storedAs(t, "Pod", &corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: types.UID(uid)}})
}

// storedAs is an object as an API server keeps it.
func storedAs(t *testing.T, kind string, object interface{ Marshal() ([]byte, error) }) []byte {
	t.Helper()
	raw, err := object.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	b, err := (&runtime.Unknown{TypeMeta: runtime.TypeMeta{APIVersion: "v1", Kind: kind}, Raw: raw}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return append([]byte("k8s\x00"), b...)
}

// TestSince: what is younger than the snapshot, and what was only then.
func TestSince(t *testing.T) {
	t.Parallel()
	w := newWorld()
	for key, uid := range map[string]string{"a/same": "1", "a/gone": "2", "a/replaced": "3", "kube-system/etcd-n1": "old mirror"} {
		w.tells([]byte("/registry/pods/"+key), storedPod(t, uid))
	}
	w.tells([]byte("/registry/pods/a/encrypted"), []byte("k8s:enc:aescbc:v1:key:..."))
	for _, n := range []string{"n1", "n-gone"} {
		w.tells([]byte("/registry/minions/"+n), nil)
	}
	api, cfg := planetest.Serve(t)
	for name, meta := range map[string]string{
		"same": "uid: '1'", "replaced": "uid: '4'", "younger": "uid: '5'", "ours": "uid: '6', labels: {app.kubernetes.io/managed-by: kubectl-etcd}",
	} {
		api.Add(t, "apiVersion: v1\nkind: Pod\nmetadata: {namespace: a, name: "+name+", "+meta+"}")
	}
	api.Add(t, "apiVersion: v1\nkind: Pod\nmetadata: {namespace: kube-system, name: etcd-n1, uid: '7', annotations: {kubernetes.io/config.mirror: x}}")
	for _, n := range []string{"n1", "n-new"} {
		api.Add(t, "apiVersion: v1\nkind: Node\nmetadata: {name: "+n+"}")
	}
	core, err := corev1client.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	got := w.since(t.Context(), controlplane.Client{Core: core})
	want := []string{"younger than the snapshot: 2 (a 2)", "no more: 2 (a 2)", "joined since the snapshot are not known to the restored cluster, until their kubelets are started again (systemctl restart kubelet): n-new", "(n-gone)"}
	if !slices.EqualFunc(got, want, strings.Contains) {
		t.Errorf("%q", got)
	}
}

// TestMoved: a control plane that had another address, or another certificate authority, when the snapshot was taken.
func TestMoved(t *testing.T) {
	t.Parallel()
	const one, other = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "-----BEGIN CERTIFICATE-----\nBBBB\n-----END CERTIFICATE-----\n"
	node := func(addresses ...string) *corev1.Node {
		n := &corev1.Node{}
		for _, a := range addresses {
			n.Status.Addresses = append(n.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: a})
		}
		return n
	}
	api, cfg := planetest.Serve(t)
	for name, addresses := range map[string]string{"n1": "[{type: InternalIP, address: 10.0.0.1}, {type: InternalIP, address: 'fd00::1'}]", "n2": "[{type: InternalIP, address: 10.0.0.9}, {type: Hostname, address: n2}]"} {
		api.Add(t, "apiVersion: v1\nkind: Node\nmetadata: {name: "+name+"}\nstatus: {addresses: "+addresses+"}")
	}
	api.Add(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {namespace: kube-system, name: kube-root-ca.crt}\ndata: {ca.crt: "+strconv.Quote(one)+"}")
	core, err := corev1client.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	p := controlplane.ControlPlane{Members: []controlplane.Member{{Node: "n1"}, {Node: "n2"}, {Node: "n3"}}}
	for name, c := range map[string]struct {
		n1, n2 *corev1.Node
		ca     string
		want   []string
	}{
		"as it was":             {node("10.0.0.1"), node("10.0.0.9"), one, nil},
		"another address":       {node("10.0.0.1"), node("10.0.0.2", "fd00::2"), one, []string{"node n2 had the address 10.0.0.2, fd00::2, and has 10.0.0.9"}},
		"another authority":     {node("fd00::1"), node("10.0.0.9"), other, []string{"certificate authority of the API servers was SHA-256 "}},
		"nothing that tells it": {node(), node(), "", nil},
	} {
		w := newWorld()
		for key, value := range map[string][]byte{
			"minions/n1": storedAs(t, "Node", c.n1), "minions/n2": storedAs(t, "Node", c.n2), "minions/n3": storedAs(t, "Node", node("10.0.0.3")),
			"configmaps/kube-system/kube-root-ca.crt": storedAs(t, "ConfigMap", &corev1.ConfigMap{Data: map[string]string{"ca.crt": c.ca}}),
			"configmaps/other/kube-root-ca.crt":       storedAs(t, "ConfigMap", &corev1.ConfigMap{Data: map[string]string{"ca.crt": "x"}}),
		} {
			w.tells([]byte("/registry/"+key), value)
		}
		if got := w.moved(t.Context(), controlplane.Client{Core: core}, p); !slices.EqualFunc(got, c.want, strings.Contains) {
			t.Errorf("%s: %q", name, got)
		}
	}
}
