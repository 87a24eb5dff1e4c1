package keys

import (
	"maps"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/program"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
)

func hostPath(name, path string) corev1.Volume {
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: path}}}
}

// TestFiles: which folders and objects a pod's flags lead to.
func TestFiles(t *testing.T) {
	for name, tc := range map[string]struct {
		args    []string
		volumes []corev1.Volume
		mounts  []corev1.VolumeMount
		paths   []string
		objects []Object
		wanted  []place
		unknown bool
		fails   bool
	}{
		"kubeadm": {
			args:    []string{"--client-ca-file=/etc/kubernetes/pki/ca.crt", "--encryption-provider-config", "/etc/kubernetes/enc/enc.yaml", "--audit-log-path=/var/log/a", "--log-file=/var/log/b"},
			volumes: []corev1.Volume{hostPath("pki", "/etc/kubernetes/pki"), hostPath("enc", "/etc/kubernetes/enc/enc.yaml"), hostPath("log", "/var/log")},
			mounts:  []corev1.VolumeMount{{Name: "pki", MountPath: "/etc/kubernetes/pki"}, {Name: "enc", MountPath: "/etc/kubernetes/enc/enc.yaml"}, {Name: "log", MountPath: "/var/log"}},
			paths:   []string{"/etc/kubernetes/enc/enc.yaml", "/etc/kubernetes/pki"},
			wanted:  []place{{"node-1", "/etc/kubernetes/enc/enc.yaml"}},
		},
		"another name on the host": {
			args:    []string{"--tls-private-key-file=/certs/a/tls.key", "--encryption-provider-config=/certs/e.yaml"},
			volumes: []corev1.Volume{hostPath("c", "/opt/pki/")},
			mounts:  []corev1.VolumeMount{{Name: "c", MountPath: "/certs/", SubPath: "one"}},
			paths:   []string{"/opt/pki/one"},
			wanted:  []place{{"node-1", "/opt/pki/one/e.yaml"}},
		},
		"all of etc": {
			args:    []string{"--client-ca-file=/host/kubernetes/pki/ca.crt", "--etcd-cafile=/host/etcd/ca.crt"},
			volumes: []corev1.Volume{hostPath("c", "/etc")},
			mounts:  []corev1.VolumeMount{{Name: "c", MountPath: "/host"}},
			paths:   []string{"/etc/etcd", "/etc/kubernetes/pki"},
		},
		"the data directory is none": {
			args:    []string{"--config-file=/var/lib/etcd/config"},
			volumes: []corev1.Volume{hostPath("d", "/var/lib/etcd")},
			mounts:  []corev1.VolumeMount{{Name: "d", MountPath: "/var/lib/etcd"}},
			paths:   []string{"/var/lib/etcd/config"},
		},
		"nor what holds it": {
			args:    []string{"--client-ca-file=/all/tls/ca.crt"},
			volumes: []corev1.Volume{hostPath("d", "/var/lib")},
			mounts:  []corev1.VolumeMount{{Name: "d", MountPath: "/all"}},
			paths:   []string{"/var/lib/tls"},
		},
		"one mount for each": {
			args:    []string{"--kubelet-client-key=/tls/kubelet.key", "--kubelet-client-certificate=/tls/kubelet.crt", "--authentication-config=/conf/auth.yaml", "--feature-gates=/none"},
			volumes: []corev1.Volume{hostPath("key", "/opt/kubelet.key"), hostPath("crt", "/opt/kubelet.crt"), hostPath("conf", "/opt/conf")},
			mounts:  []corev1.VolumeMount{{Name: "key", MountPath: "/tls/kubelet.key"}, {Name: "crt", MountPath: "/tls/kubelet.crt"}, {Name: "conf", MountPath: "/conf"}},
			paths:   []string{"/opt/conf", "/opt/kubelet.crt", "/opt/kubelet.key"},
		},
		"on a driver's volume": {
			args:    []string{"--service-account-signing-key-file=/csi/sa.key"},
			volumes: []corev1.Volume{{Name: "csi", VolumeSource: corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{Driver: "secrets-store"}}}},
			mounts:  []corev1.VolumeMount{{Name: "csi", MountPath: "/csi"}},
			unknown: true,
		},
		"a path that is not known": {args: []string{"--encryption-provider-config=enc.yaml"}, fails: true},
		"hosted": {
			args: []string{"--encryption-provider-config=/enc/config.yaml", "--client-ca-file=/ca/ca.crt"},
			volumes: []corev1.Volume{
				{Name: "enc", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "enc", Items: []corev1.KeyToPath{{Key: "current", Path: "config.yaml"}}}}},
				{Name: "ca", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "ca"}}}},
			},
			mounts:  []corev1.VolumeMount{{Name: "enc", MountPath: "/enc"}, {Name: "ca", MountPath: "/ca"}},
			objects: []Object{{"ConfigMap", "kube-system", "ca", false}, {"Secret", "kube-system", "enc", false}},
			wanted:  []place{{"Secret kube-system/enc", "current"}},
		},
		"nobody knows where": {
			args:    []string{"--encryption-provider-config=/enc/config.yaml"},
			volumes: []corev1.Volume{{Name: "enc", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}},
			mounts:  []corev1.VolumeMount{{Name: "enc", MountPath: "/enc"}},
			fails:   true,
		},
		"in the image": {args: []string{"--encryption-provider-config=/enc/config.yaml"}, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "api"}, Spec: corev1.PodSpec{NodeName: "node-1", Volumes: tc.volumes,
				Containers: []corev1.Container{{Name: "api", Command: append([]string{"kube-apiserver"}, tc.args...), VolumeMounts: tc.mounts}}}}
			s := &Sources{wanted: map[place]string{}, data: []string{"/var/lib/etcd"}, warn: t.Logf}
			err := s.files(program.NewReader(t.Context(), nil), pod, nil)
			if (err != nil) != tc.fails {
				t.Fatalf("error %v", err)
			}
			var paths []string
			for _, n := range s.Nodes {
				for _, p := range outermost(n.Paths) {
					paths = append(paths, p.Path)
				}
			}
			if !slices.Equal(paths, tc.paths) {
				t.Errorf("paths %q, want %q", paths, tc.paths)
			}
			slices.SortFunc(s.Objects, func(a, b Object) int { return strings.Compare(a.String(), b.String()) })
			if (len(s.Unknown) > 0) != tc.unknown {
				t.Errorf("unknown: %q", s.Unknown)
			}
			if !slices.Equal(s.Objects, tc.objects) {
				t.Errorf("objects %q, want %q", s.Objects, tc.objects)
			}
			if got := slices.Collect(maps.Keys(s.wanted)); !slices.Equal(got, tc.wanted) {
				t.Errorf("wanted %q, want %q", got, tc.wanted)
			}
		})
	}
}

func TestOutermost(t *testing.T) {
	var paths []reach.HostPath
	for _, p := range []string{"/etc/kubernetes/pki/etcd", "/etc/kubernetes/pki", "/etc/kubernetes/pki-old", "/etc/kubernetes/manifests", "/etc/kubernetes/manifests", "/etc/kubernetes/pki"} {
		paths = append(paths, reach.HostPath{Path: p})
	}
	if got, want := outermost(paths), []reach.HostPath{{Path: "/etc/kubernetes/manifests"}, {Path: "/etc/kubernetes/pki-old"}, {Path: "/etc/kubernetes/pki"}}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestObjects: one that must be there for one volume must be there.
func TestObjects(t *testing.T) {
	s := &Sources{}
	for _, o := range []Object{{"Secret", "n", "a", true}, {"Secret", "n", "b", true}, {"Secret", "n", "b", false}} {
		s.object(o)
	}
	if want := []Object{{"Secret", "n", "a", true}, {"Secret", "n", "b", false}}; !slices.Equal(s.Objects, want) {
		t.Errorf("%v, want %v", s.Objects, want)
	}
}
