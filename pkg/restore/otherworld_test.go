package restore

import (
	"slices"
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
	w := newWorld(controlplane.ControlPlane{})
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
