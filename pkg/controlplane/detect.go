package controlplane

import (
	"path"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/program"
)

// marks answers for one container what gives a product away.
type marks struct {
	pod     *corev1.Pod
	c       *corev1.Container
	owner   Owner
	manager *Owner
}

// under is a mount at or below a path, at one at just that path.
func (m marks) under(prefix string) bool {
	for _, v := range m.c.VolumeMounts {
		if v.MountPath == prefix || strings.HasPrefix(v.MountPath, prefix+"/") {
			return true
		}
	}
	return false
}

func (m marks) at(dir string) bool {
	for _, v := range m.c.VolumeMounts {
		if path.Clean(v.MountPath) == dir {
			return true
		}
	}
	return false
}

func (m marks) label(key, value string) bool { return m.pod.Labels[key] == value }
func (m marks) static() bool                 { return m.owner.Kind == ownerStatic }
func (m marks) image(part string) bool       { return strings.Contains(m.c.Image, part) }
func (m marks) says(part string) bool        { return mentions(m.c, part) }

// managed: the StatefulSet comes from a resource of that kind, in an API group of that vendor.
func (m marks) managed(kind, vendor string) bool {
	return m.manager != nil && m.manager.Kind == kind && strings.Contains(m.manager.Group(), vendor)
}

func (m marks) runs(program string) bool {
	for _, w := range m.c.Command {
		if path.Base(w) == program {
			return true
		}
	}
	return false
}

// volume is true when a part of the name of a Secret or of a path on the host is that.
func (m marks) volume(part string) bool {
	for _, mount := range m.c.VolumeMounts {
		v := program.VolumeOf(m.pod, mount.Name)
		if v != nil && (v.Secret != nil && strings.Contains(v.Secret.SecretName, part) || v.HostPath != nil && strings.Contains(v.HostPath.Path, part)) {
			return true
		}
	}
	return false
}

func (m marks) environment(prefix string) bool {
	for _, e := range m.c.Env {
		if strings.HasPrefix(e.Name, prefix) {
			return true
		}
	}
	return false
}

// layouts in the order in which they are tried, the more special first: RKE2
// labels its pods as kubeadm does. All marks are ones that users do not choose
// themselves, so names of control planes are none.
var layouts = []struct {
	layout Layout
	marks  func(marks) []bool
}{
	{RKE2, func(m marks) []bool {
		return []bool{m.under("/var/lib/rancher/rke2"), m.pod.Annotations[rke2Annotation] != "", m.static(), m.image("/hardened-etcd")}
	}},
	{OpenShift, func(m marks) []bool {
		return []bool{m.static() && m.pod.Namespace == "openshift-etcd", m.label("k8s-app", "etcd"), m.under("/etc/kubernetes/static-pod-certs")}
	}},
	{Kubeadm, func(m marks) []bool {
		return []bool{m.static(), m.static() && m.label("component", "etcd"), m.static() && m.pod.Annotations[kubeadmAnnotation] != ""}
	}},
	{Kubeception, func(m marks) []bool {
		return []bool{m.c.Name == "kube-etcd", m.under("/etcd.local.config"), m.says("etcdCA.crt"), m.image("gke-on-prem")}
	}},
	{HyperShift, func(m marks) []bool {
		return []bool{m.managed("HostedControlPlane", "hypershift"), m.under("/etc/etcd/tls/etcd-ca") || m.at("/etc/etcd/tls"),
			m.label("app", "etcd") && hasContainer(m.pod, "healthz"), hasContainer(m.pod, "etcd-metrics") && hasContainer(m.pod, "healthz")}
	}},
	{Gardener, func(m marks) []bool {
		return []bool{m.managed("Etcd", "druid.gardener"), m.label("app.kubernetes.io/managed-by", "etcd-druid"), hasContainer(m.pod, "backup-restore"),
			m.image("etcd-wrapper"), m.under(gardenerTLS), m.environment("BACKUP_ENDPOINT")}
	}},
	{VCluster, func(m marks) []bool {
		return []bool{m.label("app", "vcluster-etcd"), m.at("/run/config/pki"), m.says("/run/config/pki/etcd-server.crt"), strings.HasSuffix(m.pod.Spec.Subdomain, "-etcd-headless")}
	}},
	{Kubermatic, func(m marks) []bool {
		return []bool{m.runs("etcd-launcher"), m.at("/etc/etcd/pki/tls"), m.at("/etc/etcd/pki/client"), m.says("etcd-tls.crt"), m.volume("apiserver-etcd-client")}
	}},
	{Kamaji, func(m marks) []bool {
		return []bool{m.label("app.kubernetes.io/name", "kamaji-etcd"), m.at("/var/run/etcd"), m.at("/etc/etcd/pki"), m.says("/etc/etcd/pki/server.pem")}
	}},
	{Karmada, func(m marks) []bool {
		return []bool{m.pod.Namespace == "karmada-system", m.under("/etc/karmada"), m.environment("KARMADA_"), m.says("/karmada.crt"), m.volume("karmada"),
			m.label("app.kubernetes.io/managed-by", "karmada-operator"), m.label("karmada-app", "etcd")}
	}},
}

// detectLayout names the product by two marks at least: any one alone is also
// found on others.
func detectLayout(pod *corev1.Pod, c *corev1.Container, owner Owner, manager *Owner) Layout {
	m := marks{pod, c, owner, manager}
	for _, l := range layouts {
		n := 0
		for _, found := range l.marks(m) {
			if found {
				n++
			}
		}
		if n >= 2 {
			return l.layout
		}
	}
	return Generic
}

func hasContainer(pod *corev1.Pod, name string) bool {
	for _, c := range program.Containers(&pod.Spec) {
		if c.Name == name {
			return true
		}
	}
	return false
}
