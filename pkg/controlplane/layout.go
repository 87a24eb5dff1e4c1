package controlplane

import (
	"cmp"
	"encoding/json"
	"path"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/program"
)

const (
	kubeadmAnnotation = "kubeadm.kubernetes.io/etcd.advertise-client-urls"
	rke2Annotation    = "etcd.k3s.io/initial"
	gardenerConfig    = "/var/etcd/config/etcd.conf.yaml"
	gardenerTLS       = "/var/etcd/ssl"
)

// fillFromLayout puts in what an unreadable configuration file would have
// said, as far as the product always writes it so. Only gaps are filled.
func fillFromLayout(layout Layout, pod *corev1.Pod, c *corev1.Container, raw map[string]string, n *program.Notes) {
	var hints map[string]string
	switch layout {
	case RKE2:
		hints = rke2Hints(pod, c, raw["config-file"])
	case Gardener:
		hints = gardenerHints(pod, c)
	case Kubermatic:
		hints = kubermaticHints(pod, c)
	}
	if hints != nil {
		n.Add("what is not read is assumed to be as %s always has it", layout)
	}
	for flag, v := range hints {
		if raw[flag] == "" && v != "" {
			raw[flag] = v
		}
	}
}

// rke2Hints: RKE2 keeps the file inside the data directory, mounts each
// certificate by itself, and writes how the member first joined into an
// annotation.
func rke2Hints(pod *corev1.Pod, c *corev1.Container, configFile string) map[string]string {
	var initial struct {
		AdvertisePeer string `json:"initial-advertise-peer-urls"`
		Cluster       string `json:"initial-cluster"`
		State         string `json:"initial-cluster-state"`
	}
	// An unreadable annotation leaves the fields empty, which is what is known.
	_ = json.Unmarshal([]byte(pod.Annotations[rke2Annotation]), &initial)
	hints := map[string]string{
		"data-dir":                    path.Dir(configFile),
		"initial-advertise-peer-urls": initial.AdvertisePeer,
		"initial-cluster":             initial.Cluster,
		"initial-cluster-state":       initial.State,
	}
	for name, peers := range clusterPeers(initial.Cluster) {
		for _, u := range peers {
			if u == initial.AdvertisePeer {
				hints["name"] = name
			}
		}
	}
	node := cmp.Or(pod.Status.PodIP, pod.Status.HostIP)
	loopback := "127.0.0.1"
	if strings.Contains(node, ":") {
		loopback = "::1"
	}
	hints["listen-client-urls"] = hostURL("https", loopback, "2379")
	if node != "" {
		hints["listen-client-urls"] += "," + hostURL("https", node, "2379")
		hints["advertise-client-urls"] = hostURL("https", node, "2379")
		hints["listen-peer-urls"] = hostURL("https", loopback, "2380") + "," + hostURL("https", node, "2380")
	}
	for flag, file := range map[string]string{
		"cert-file": "server-client.crt", "key-file": "server-client.key", "trusted-ca-file": "server-ca.crt",
		"peer-cert-file": "peer-server-client.crt", "peer-key-file": "peer-server-client.key", "peer-trusted-ca-file": "peer-ca.crt",
	} {
		for _, m := range c.VolumeMounts {
			if path.Base(m.MountPath) == file {
				hints[flag] = m.MountPath
			}
		}
	}
	return hints
}

func gardenerHints(pod *corev1.Pod, c *corev1.Container) map[string]string {
	hints := map[string]string{"data-dir": "/var/etcd/data/new.etcd", "name": pod.Name}
	scheme := "http"
	if program.MountOf(c, gardenerTLS+"/server/tls.crt") != nil {
		scheme = "https"
		hints["cert-file"] = gardenerTLS + "/server/tls.crt"
		hints["key-file"] = gardenerTLS + "/server/tls.key"
		hints["trusted-ca-file"] = gardenerTLS + "/ca/bundle.crt"
	}
	hints["listen-client-urls"] = scheme + "://0.0.0.0:2379"
	return hints
}

// kubermaticHints: etcd-launcher makes all settings itself. The peers' scheme
// and port depend on what it finds when it starts.
func kubermaticHints(pod *corev1.Pod, c *corev1.Container) map[string]string {
	hints := map[string]string{
		"name": pod.Name, "data-dir": "/var/run/etcd/pod_" + pod.Name, "client-cert-auth": "true",
		"listen-client-urls":    "https://0.0.0.0:2379",
		"advertise-client-urls": "https://" + pod.Name + ".etcd." + pod.Namespace + ".svc.cluster.local:2379",
	}
	for _, prefix := range []string{"", "peer-"} {
		hints[prefix+"trusted-ca-file"] = "/etc/etcd/pki/ca/ca.crt"
		hints[prefix+"cert-file"] = "/etc/etcd/pki/tls/etcd-tls.crt"
		hints[prefix+"key-file"] = "/etc/etcd/pki/tls/etcd-tls.key"
	}
	if program.MountOf(c, hints["data-dir"]) == nil {
		delete(hints, "data-dir")
	}
	return hints
}

// gardenerQuirks undoes what Gardener's sidecar does to the file before etcd
// reads it: the name becomes the pod's, and URLs of older versions,
// "scheme@service@namespace@port", become the pod's own.
func gardenerQuirks(pod *corev1.Pod, raw map[string]string) {
	if raw["name"] == "etcd-config" || strings.HasPrefix(raw["name"], "etcd-") && len(clusterPeers(raw["initial-cluster"])[raw["name"]]) == 0 {
		raw["name"] = raw["member-name-prefix"] + pod.Name
	}
	for _, flag := range []string{"initial-advertise-peer-urls", "advertise-client-urls"} {
		if p := strings.Split(raw[flag], "@"); len(p) == 4 {
			raw[flag] = hostURL(p[0], pod.Name+"."+p[1]+"."+p[2]+".svc", p[3])
		}
	}
}

// knownClientTLS are certificates for clients that a product mounts into its
// etcd container beside etcd's own.
func knownClientTLS(layout Layout, s Settings, env func(string) (string, bool)) []TLSFiles {
	etcdctl := func() []TLSFiles {
		t := TLSFiles{}
		t.CA, _ = env("ETCDCTL_CACERT")
		t.Cert, _ = env("ETCDCTL_CERT")
		t.Key, _ = env("ETCDCTL_KEY")
		return []TLSFiles{t}
	}
	ca := s.ServerTLS.CA
	switch layout {
	case Kubeadm:
		dir := path.Dir(cmp.Or(s.ServerTLS.Cert, "/etc/kubernetes/pki/etcd/server.crt"))
		return []TLSFiles{{cmp.Or(ca, dir+"/ca.crt"), dir + "/healthcheck-client.crt", dir + "/healthcheck-client.key"}}
	case HyperShift:
		return []TLSFiles{{ca, "/etc/etcd/tls/client/etcd-client.crt", "/etc/etcd/tls/client/etcd-client.key"}}
	case Gardener:
		return []TLSFiles{{ca, gardenerTLS + "/client/tls.crt", gardenerTLS + "/client/tls.key"}}
	}
	return etcdctl()
}

func contains[T comparable](list []T, x T) bool {
	for _, v := range list {
		if v == x {
			return true
		}
	}
	return false
}
