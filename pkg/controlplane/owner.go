package controlplane

import (
	"cmp"
	"encoding/json"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/program"
)

// workloadKinds are Kubernetes' own; pods of any other kind of owner come from
// an operator's custom resource.
var workloadKinds = program.Words(ownerStatic + " " + ownerBare + " StatefulSet Deployment ReplicaSet ReplicationController DaemonSet External")

// taskKinds run pods that do something once: no member of anything, though
// their image and their settings may be etcd's.
var taskKinds = program.Words("Job CronJob Workflow TaskRun PipelineRun")

// Custom says that an operator made the object, not a workload controller of
// Kubernetes' own.
func (o Owner) Custom() bool { return o.Kind != "" && !workloadKinds[o.Kind] }

// Group is the API group; "" is Kubernetes' core.
func (o Owner) Group() string {
	group, _, ok := strings.Cut(o.APIVersion, "/")
	if !ok {
		return ""
	}
	return group
}

// ownerOf names what runs a pod. Static pods of several nodes have a common
// name: the pod's, without the node's at its end.
func ownerOf(pod *corev1.Pod) Owner {
	ref := metav1.GetControllerOf(pod)
	if IsStatic(pod) {
		name := strings.TrimSuffix(pod.Name, "-"+pod.Spec.NodeName)
		if name == pod.Name || pod.Spec.NodeName == "" {
			name = cmp.Or(pod.Labels["component"], pod.Labels["k8s-app"], pod.Labels["app"], pod.Name)
		}
		return Owner{Kind: ownerStatic, Name: name}
	}
	if ref == nil {
		return Owner{APIVersion: "v1", Kind: ownerBare, Name: pod.Name, UID: string(pod.UID)}
	}
	if hash := pod.Labels["pod-template-hash"]; ref.Kind == "ReplicaSet" && hash != "" && strings.HasSuffix(ref.Name, "-"+hash) {
		return Owner{APIVersion: ref.APIVersion, Kind: "Deployment", Name: strings.TrimSuffix(ref.Name, "-"+hash)}
	}
	return Owner{APIVersion: ref.APIVersion, Kind: ref.Kind, Name: ref.Name, UID: string(ref.UID)}
}

// IsStatic tells that a kubelet runs it from a file.
func IsStatic(pod *corev1.Pod) bool {
	ref := metav1.GetControllerOf(pod)
	return pod.Annotations[mirrorAnnotation] != "" || ref != nil && ref.Kind == "Node"
}

// StaticOf tells that it is one of the static pods, one on each of several nodes, that have this name in common.
func StaticOf(pod *corev1.Pod, name string) bool { return IsStatic(pod) && ownerOf(pod).Name == name }

// StaticHash is how a kubelet calls a static pod: by a hash of its file. "" is no static pod's.
func StaticHash(pod *corev1.Pod) string {
	if mirror := pod.Annotations[mirrorAnnotation]; mirror != "" {
		return mirror
	}
	return pod.Annotations["kubernetes.io/config.hash"]
}

// over says that a pod is no member, whatever it runs: it was made for one
// task, or it has failed or was evicted and another is made in its place. A
// static pod is its node's only one, and never another's double.
func over(pod *corev1.Pod) bool {
	ref := metav1.GetControllerOf(pod)
	task := ref != nil && taskKinds[ref.Kind] || pod.Labels["batch.kubernetes.io/job-name"] != "" // also when its Job is gone
	return task || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed && !IsStatic(pod)
}

func managerOf(sets []appsv1.StatefulSet, pod *corev1.Pod) *Owner {
	ref := metav1.GetControllerOf(pod)
	if ref == nil || ref.Kind != "StatefulSet" {
		return nil
	}
	for i := range sets {
		if s := &sets[i]; s.Namespace == pod.Namespace && s.Name == ref.Name {
			return ControllerOf(s)
		}
	}
	return nil
}

// above reads the controller of an object of any kind. It is nil where there
// is none and where the object may not be read: a name is all that is lost.
func (f *finder) above(namespace string, o Owner) *Owner {
	prefix := "/apis/" + o.APIVersion
	if o.Group() == "" {
		prefix = "/api/" + o.APIVersion
	}
	for _, k := range f.kinds(prefix) {
		if k.Kind != o.Kind || strings.Contains(k.Name, "/") {
			continue
		}
		path := []string{prefix, k.Name, o.Name}
		if k.Namespaced {
			path = []string{prefix, "namespaces", namespace, k.Name, o.Name}
		}
		raw, err := f.client.Core.RESTClient().Get().AbsPath(path...).Do(f.ctx).Raw()
		var object metav1.PartialObjectMetadata
		if err != nil || json.Unmarshal(raw, &object) != nil {
			return nil
		}
		return ControllerOf(&object)
	}
	return nil
}

// kinds are those of one version of an API group, asked for once.
func (f *finder) kinds(prefix string) []metav1.APIResource {
	if list, ok := f.kindCache[prefix]; ok {
		return list
	}
	var list metav1.APIResourceList
	raw, err := f.client.Core.RESTClient().Get().AbsPath(prefix).Do(f.ctx).Raw()
	if err != nil || json.Unmarshal(raw, &list) != nil {
		list.APIResources = nil
	}
	f.kindCache[prefix] = list.APIResources
	return list.APIResources
}

// nameOwned names a control plane whose pods are owned by custom resources by
// what owns them all: members of an operator's have one each.
func (f *finder) nameOwned(p *ControlPlane) {
	if !p.Owner.Custom() {
		return
	}
	up := f.above(p.Namespace, p.Owner) // members of one etcd are of one cluster object
	if up == nil {
		p.base = cmp.Or(commonLabel(p), commonPrefix(p.owners))
		return
	}
	p.Manager = up
	if len(p.owners) > 1 || strings.HasPrefix(p.Owner.Name, up.Name+"-") {
		p.Owner, p.base, p.Manager = *up, up.Name, f.above(p.Namespace, *up)
	}
}

// commonLabel is the longest value that all members have under one label, and
// that all their owners' names begin with.
func commonLabel(p *ControlPlane) string {
	best := ""
	for key, v := range p.Members[0].Object.Labels {
		common := len(v) > len(best)
		for _, m := range p.Members {
			common = common && m.Object.Labels[key] == v
		}
		for _, o := range p.owners {
			common = common && strings.HasPrefix(o.Name, v+"-")
		}
		if common {
			best = v
		}
	}
	return best
}

// commonPrefix is what the names of several have in common up to a dash.
func commonPrefix(owners []Owner) string {
	if len(owners) < 2 {
		return ""
	}
	prefix := owners[0].Name
	for _, o := range owners[1:] {
		for !strings.HasPrefix(o.Name, prefix) {
			prefix = prefix[:len(prefix)-1]
		}
	}
	if i := strings.LastIndex(prefix, "-"); i > 0 {
		return prefix[:i]
	}
	return ""
}
