package controlplane

import (
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/program"
)

// clientTLS orders the certificates that a client in the pod can try:
//  1. one that the layout keeps for clients (kubeadm: healthcheck-client,
//     HyperShift and Gardener: client; elsewhere what ETCDCTL_* names),
//  2. etcd's own server certificate, which is there for certain, but is made
//     for clients too only by some,
//  3. the peer certificate, where peers and clients have the same CA.
//
// A pair is kept only if a volume is mounted where it should be, and nothing
// at all if clients are served in plain text. Each is tried with every CA that
// the server's certificate may be of: see serverCAs.
func clientTLS(layout Layout, s Settings, pod *corev1.Pod, c *corev1.Container, env func(string) (string, bool)) []TLSFiles {
	plain := true
	for _, u := range s.ListenClientURLs {
		if strings.HasPrefix(u, "https:") || strings.HasPrefix(u, "unixs:") {
			plain = false
		}
	}
	if plain {
		return nil
	}
	candidates := append(knownClientTLS(layout, s, env), s.ServerTLS)
	if s.PeerTLS.CA == s.ServerTLS.CA {
		candidates = append(candidates, s.PeerTLS)
	}
	var pairs []TLSFiles
	for _, t := range candidates {
		mounted := program.MountOf(c, t.Cert) != nil && program.MountOf(c, t.Key) != nil
		if t.Cert != "" && t.Key != "" && (mounted || t == s.ServerTLS) {
			pairs = append(pairs, t)
		}
	}
	cas := serverCAs(s, pod, c)
	var out []TLSFiles
	add := func(t TLSFiles) {
		if !contains(out, t) {
			out = append(out, t)
		}
	}
	for _, t := range pairs {
		if t.CA != "" || len(cas) == 0 {
			add(t)
		}
	}
	for _, ca := range cas {
		for _, t := range pairs {
			add(TLSFiles{ca, t.Cert, t.Key})
		}
		if len(pairs) == 0 {
			add(TLSFiles{CA: ca})
		}
	}
	return out
}

// serverCAs are the CAs that etcd's server certificate may be of, best first:
// the one that etcd verifies clients with, which is mostly the CA of all; what
// lies beside the server's certificate, as cert-manager and operators put it
// there; the peers'. Without the first, clients show no certificate, and the
// second is what they are given.
func serverCAs(s Settings, pod *corev1.Pod, c *corev1.Container) []string {
	var out []string
	for _, ca := range append(append([]string{s.ServerTLS.CA}, besides(s.ServerTLS.Cert, pod, c)...), s.PeerTLS.CA) {
		if ca != "" && !slices.Contains(out, ca) {
			out = append(out, ca)
		}
	}
	return out
}

// besides are the CA certificates that can lie beside a certificate. What a
// Secret has is not looked at: most who may see pods may not read that.
func besides(cert string, pod *corev1.Pod, c *corev1.Container) []string {
	names := []string{"ca.crt"}
	switch {
	case path.Ext(cert) == ".pem":
		names = []string{"ca.pem"}
	case path.Base(cert) == "server.crt":
		names = append(names, "server-ca.crt")
	}
	var out []string
	for _, name := range names {
		file := path.Join(path.Dir(cert), name)
		mount := program.MountOf(c, file)
		if cert == "" || mount == nil {
			continue
		}
		v := program.VolumeOf(pod, mount.Name)
		if v == nil {
			continue
		}
		_, ok := program.FileSource(pod.Namespace, *v, *mount, file)
		if object := v.Secret != nil || v.ConfigMap != nil || v.Projected != nil; ok || !object && name != "server-ca.crt" {
			out = append(out, file)
		}
	}
	return out
}
