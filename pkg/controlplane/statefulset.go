package controlplane

import (
	"fmt"
	"maps"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/program"
)

// podOf makes the pod that a StatefulSet would make for an ordinal: what a
// member without a pod is known by. It has no UID, node or address.
func podOf(s *appsv1.StatefulSet, ordinal int) *corev1.Pod {
	name := fmt.Sprintf("%s-%d", s.Name, ordinal)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: s.Namespace,
			Labels: maps.Clone(s.Spec.Template.Labels), Annotations: maps.Clone(s.Spec.Template.Annotations),
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(s, appsv1.SchemeGroupVersion.WithKind("StatefulSet"))},
		},
		Spec: *s.Spec.Template.Spec.DeepCopy(),
	}
	if pod.Labels == nil {
		pod.Labels = map[string]string{}
	}
	pod.Labels["statefulset.kubernetes.io/pod-name"] = name
	pod.Labels["apps.kubernetes.io/pod-index"] = strconv.Itoa(ordinal)
	pod.Spec.Hostname, pod.Spec.Subdomain = name, s.Spec.ServiceName
	var volumes []corev1.Volume
	claims := map[string]bool{}
	for _, t := range s.Spec.VolumeClaimTemplates {
		claims[t.Name] = true
		volumes = append(volumes, corev1.Volume{Name: t.Name, VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: t.Name + "-" + name},
		}})
	}
	for _, v := range pod.Spec.Volumes {
		if !claims[v.Name] {
			volumes = append(volumes, v)
		}
	}
	pod.Spec.Volumes = volumes
	return pod
}

// missingPods makes the pods that a StatefulSet should have and has not.
// Scaled to zero, its size is no longer in it: then the names in etcd's own
// initial cluster say how many there were, or else the claims they left.
func (f *finder) missingPods(s *appsv1.StatefulSet, present map[string]bool) []*corev1.Pod {
	start, replicas := 0, 1
	if s.Spec.Ordinals != nil {
		start = int(s.Spec.Ordinals.Start)
	}
	if s.Spec.Replicas != nil {
		replicas = int(*s.Spec.Replicas)
	}
	if replicas == 0 {
		replicas = f.formerSize(s, start)
	}
	var out []*corev1.Pod
	for i := start; i < start+replicas; i++ {
		if pod := podOf(s, i); !present[s.Namespace+"/"+pod.Name] {
			out = append(out, pod)
		}
	}
	return out
}

func (f *finder) formerSize(s *appsv1.StatefulSet, start int) int {
	pod := podOf(s, start)
	size := 0
	for _, c := range program.Containers(&pod.Spec) {
		m, _, ok := memberOf(f.reader, pod, c, ownerOf(pod), nil)
		if !ok {
			continue
		}
		for name, peers := range clusterPeers(m.InitialCluster) {
			if n, ok := ordinal(name, s.Name); ok {
				size = max(size, n-start+1)
			}
			for _, a := range addresses(peers) {
				host, _, _ := strings.Cut(a.host, ".")
				if n, ok := ordinal(host, s.Name); ok {
					size = max(size, n-start+1)
				}
			}
		}
	}
	if size > 0 || len(s.Spec.VolumeClaimTemplates) == 0 {
		return max(size, 1)
	}
	claims, err := f.client.Core.PersistentVolumeClaims(s.Namespace).List(f.ctx, metav1.ListOptions{})
	if err != nil {
		f.notes[s.Namespace+"/"+s.Name] = append(f.notes[s.Namespace+"/"+s.Name],
			fmt.Sprintf("scaled to 0, and how many members it had is not known: list claims: %v", err))
		return 1
	}
	for _, c := range claims.Items {
		for _, t := range s.Spec.VolumeClaimTemplates {
			if n, ok := ordinal(c.Name, t.Name+"-"+s.Name); ok {
				size = max(size, n-start+1)
			}
		}
	}
	return max(size, 1)
}

// ordinal reads N from "base-N".
func ordinal(name, base string) (int, bool) {
	rest, ok := strings.CutPrefix(name, base+"-")
	if !ok {
		return 0, false
	}
	n, err := strconv.Atoi(rest)
	return n, err == nil && n >= 0
}
