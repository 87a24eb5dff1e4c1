package restore

import (
	"context"
	"crypto/sha256"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify"
)

const (
	// storedCA is the ConfigMap by which pods know their API servers, and caKey its entry.
	storedCA = "/configmaps/kube-system/kube-root-ca.crt"
	caKey    = "ca.crt"
)

// prefix is what the keys of a cluster begin with that its own etcd holds.
func prefix(p controlplane.ControlPlane) string {
	for _, a := range p.APIServers {
		if a.For == nil {
			return "/" + strings.Trim(a.EtcdPrefix, "/")
		}
	}
	return "/registry"
}

// names are the keys of what a control plane is reached by.
func names(p controlplane.ControlPlane) map[string]bool {
	out := map[string]bool{prefix(p) + storedCA: true}
	for _, m := range p.Members {
		out[prefix(p)+storedNodes+m.Node] = true
	}
	return out
}

// recognize refuses, where that is not meant, a snapshot of another cluster than the one whose nodes the etcd is on, and one that this cluster's
// control plane has moved since. What is refused or meant, and what else has changed, is told in notes.
func (r *Run) recognize(ctx context.Context) (notes []string, err error) {
	if !r.Plane.Static() {
		return nil, nil
	}
	hint := "pass --from-other-cluster to restore it all the same"
	why := r.foreign(ctx)
	if why == "" {
		why, notes = moved(ctx, r.Deps.Planes(), r.Plane, r.Source.report.Kept)
		hint = "the snapshot's ConfigMaps kubeadm-config, kube-proxy and cluster-info name what was then; to restore all the same, pass --from-other-cluster, and correct them afterwards"
	}
	switch {
	case why == "":
		return notes, nil
	case r.Config.FromOtherCluster:
		return append(notes, why), nil
	}
	return nil, site.Refuse(hint, "restore %s: %s", r.Plane.ID(), why)
}

// foreign tells how a snapshot is of another cluster than the one that the kubeconfig names; "" where it is not, or where nobody can say.
func (r *Run) foreign(ctx context.Context) string {
	had := identities(r.Source.report)[prefix(r.Plane)]
	n, err := r.Deps.Clients.Core.Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
	if err != nil || had == "" || string(n.UID) == had {
		return ""
	}
	return fmt.Sprintf("the snapshot is of another cluster (its kube-system has UID %s, this one's %s)", had, n.UID)
}

// moved tells that a control plane was reached by other addresses, all of them, or by another certificate authority when the snapshot was taken:
// what names those comes back. A single node that has another address is a note: its kubelet tells the API, and etcd's members are built with
// the addresses of now. Of what cannot be read nothing is said.
func moved(ctx context.Context, c controlplane.Client, p controlplane.ControlPlane, kept map[string]verify.Kept) (why string, notes []string) {
	stayed := false
	for _, m := range p.Members {
		var then corev1.Node
		now, err := c.Core.Nodes().Get(ctx, m.Node, metav1.GetOptions{})
		if err != nil || !readStored(kept[prefix(p)+storedNodes+m.Node].Value, &then) {
			continue
		}
		had, has := internal(&then), internal(now)
		switch {
		case len(had) == 0 || len(has) == 0:
		case common(had, has):
			stayed = true
		default:
			notes = append(notes, fmt.Sprintf("node %s had the address %s, and has %s", m.Node, strings.Join(had, ", "), strings.Join(has, ", ")))
		}
	}
	var how []string
	if !stayed {
		how, notes = notes, nil
	}
	var then corev1.ConfigMap
	now, err := c.Core.ConfigMaps(metav1.NamespaceSystem).Get(ctx, "kube-root-ca.crt", metav1.GetOptions{})
	if err == nil && readStored(kept[prefix(p)+storedCA].Value, &then) {
		had, has := certificates(then.Data[caKey]), certificates(now.Data[caKey])
		if len(had) > 0 && len(has) > 0 && !common(had, has) {
			how = append(how, fmt.Sprintf("the certificate authority of the API servers was SHA-256 %s, and is %s", strings.Join(had, ", "), strings.Join(has, ", ")))
		}
	}
	if len(how) > 0 {
		why = "the control plane has moved since the snapshot: " + strings.Join(how, "; ")
	}
	return why, notes
}

func common(a, b []string) bool {
	return slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
}

// internal are a node's own addresses.
func internal(n *corev1.Node) (out []string) {
	for _, a := range n.Status.Addresses {
		if a.Type == corev1.NodeInternalIP {
			out = append(out, a.Address)
		}
	}
	return out
}

// certificates are the beginnings of their SHA-256 sums (openssl x509 -fingerprint -sha256).
func certificates(text string) (out []string) {
	for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
		sum := sha256.Sum256(block.Bytes)
		out = append(out, fmt.Sprintf("%X…", sum[:8]))
	}
	return out
}
