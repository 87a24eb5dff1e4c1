package static

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
)

// TestTwins: of two manifests of one pod, nobody can say which one runs next; whatever else lies there is no reason to refuse.
func TestTwins(t *testing.T) {
	t.Parallel()
	const folder = "/etc/kubernetes/manifests/"
	pod := func(namespace, name string) string {
		return fmt.Sprintf("apiVersion: v1\nkind: Pod\nmetadata: {name: %s, namespace: %s}\nspec: {containers: [{name: a, image: b}]}\n", name, namespace)
	}
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"as kubeadm makes it": {files: map[string]string{"etcd.yaml": pod("kube-system", "etcd"), "kube-apiserver.yaml": pod("kube-system", "kube-apiserver")}},
		"a copy of etcd's": {map[string]string{"etcd.yaml": pod("kube-system", "etcd"), "etcd.yaml.bak": pod("kube-system", "etcd")},
			"node n1 has 2 manifests of pod kube-system/etcd (/etc/kubernetes/manifests/etcd.yaml, /etc/kubernetes/manifests/etcd.yaml.bak), and its kubelet runs one of them"},
		"in JSON": {map[string]string{"a": `{"kind":"Pod","metadata":{"name":"etcd","namespace":"kube-system"}}`, "etcd.yaml": pod("kube-system", "etcd")},
			"2 manifests of pod kube-system/etcd"},
		"two of somebody else's": {files: map[string]string{"a.yaml": pod("kube-system", "proxy"), "b.yaml": pod("kube-system", "proxy")}},
		"of that name elsewhere": {files: map[string]string{"etcd.yaml": pod("kube-system", "etcd"), "mine.yaml": pod("\"\"", "etcd")}},
		"what is no pod":         {files: map[string]string{"etcd.yaml": pod("kube-system", "etcd"), "config": "kind: Other\nmetadata: {name: etcd, namespace: kube-system}", "note": "{{"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := &node{name: "n1", manifests: map[string][]string{}, ours: []*corev1.Pod{{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "etcd-n1"}}}}
			for _, file := range []string{"a", "a.yaml", "b.yaml", "config", "etcd.yaml", "etcd.yaml.bak", "kube-apiserver.yaml", "mine.yaml", "note"} {
				if text, ok := c.files[file]; ok {
					n.manifest(folder+file, []byte(text))
				}
			}
			err := n.twins(controlplane.ControlPlane{Namespace: "kube-system", Name: "etcd"})
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestHostFile: what an API server's flag names, as its node has it.
func TestHostFile(t *testing.T) {
	t.Parallel()
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "kube-apiserver-n1"}, Spec: corev1.PodSpec{
		Containers: []corev1.Container{{Name: "kube-apiserver", VolumeMounts: []corev1.VolumeMount{
			{Name: "enc", MountPath: "/etc/kubernetes/enc"}, {Name: "one", MountPath: "/config.yaml"}, {Name: "secret", MountPath: "/secret"}}}},
		Volumes: []corev1.Volume{
			{Name: "enc", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/srv/keys/"}}},
			{Name: "one", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/srv/one.yaml"}}},
			{Name: "secret", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "s"}}}}}}
	n := &node{name: "n1", ours: []*corev1.Pod{p}}
	for file, want := range map[string]string{
		"/etc/kubernetes/enc/a/enc.yaml": "/srv/keys/a/enc.yaml", "/config.yaml": "/srv/one.yaml", "/secret/enc.yaml": "", "/elsewhere": "",
	} {
		a := controlplane.APIServer{Pod: "kube-apiserver-n1", Container: "kube-apiserver", Encryption: file}
		if got := n.hostFile(a); got != want {
			t.Errorf("%s: %q", file, got)
		}
	}
}
