package site

import (
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
)

// How long a static pod's processes may take to end by themselves. Controller managers and schedulers give their Leases back, so that another goes
// on at once.
const (
	ControllerGrace = 5 * time.Second
	ServerGrace     = 10 * time.Second
)

// LongestBackoff is the longest that a kubelet leaves a container alone that has ended again and again.
const LongestBackoff = 5 * time.Minute

// StaticPodOf is the record of a static pod, by its mirror.
func StaticPodOf(p *corev1.Pod) StaticPod {
	return StaticPod{Pod: p.Name, Node: p.Spec.NodeName, Hash: controlplane.StaticHash(p)}
}
