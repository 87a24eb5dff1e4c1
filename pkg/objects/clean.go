package objects

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// clusterFinalizers are put there by the cluster: the first two say how an object is being deleted.
var clusterFinalizers = []string{"foregroundDeletion", "orphan", "kubernetes.io/pv-protection", "kubernetes.io/pvc-protection", "service.kubernetes.io/load-balancer-cleanup",
	"customresourcecleanup.apiextensions.k8s.io", "batch.kubernetes.io/job-tracking"}

// Clean takes from an object what a cluster has put there, so that it can be made again. docs/inside.md says why of each.
func Clean(o Object) {
	u := o.Unstructured
	for _, f := range []string{"uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "selfLink", "deletionTimestamp", "deletionGracePeriodSeconds", "generateName", "ownerReferences"} {
		unstructured.RemoveNestedField(u.Object, "metadata", f)
	}
	delete(u.Object, "status")
	finalizers := slices.DeleteFunc(u.GetFinalizers(), func(f string) bool { return slices.Contains(clusterFinalizers, f) })
	if len(finalizers) == 0 {
		unstructured.RemoveNestedField(u.Object, "metadata", "finalizers")
	} else {
		u.SetFinalizers(finalizers)
	}
	notes := u.GetAnnotations()
	for k := range notes {
		if k == "deployment.kubernetes.io/revision" || strings.HasPrefix(k, "pv.kubernetes.io/") || k == "volume.kubernetes.io/selected-node" || k == "volume.kubernetes.io/storage-provisioner" || k == "volume.beta.kubernetes.io/storage-provisioner" {
			delete(notes, k)
		}
	}
	if len(notes) == 0 {
		unstructured.RemoveNestedField(u.Object, "metadata", "annotations")
	} else {
		u.SetAnnotations(notes)
	}
	cleanSpec(o)
}

func cleanSpec(o Object) {
	u := o.Object
	remove := func(fields ...string) { unstructured.RemoveNestedField(u, fields...) }
	switch o.Kind.Name() {
	case "namespaces":
		remove("spec")
		remove("metadata", "labels", "kubernetes.io/metadata.name")
	case "services":
		if ip, _, _ := unstructured.NestedString(u, "spec", "clusterIP"); ip != "None" {
			remove("spec", "clusterIP")
			remove("spec", "clusterIPs")
		}
		remove("spec", "healthCheckNodePort")
	case "pods":
		remove("spec", "nodeName")
		remove("spec", "ephemeralContainers") // no Pod can be made with them
		cleanPod(u)
	case "persistentvolumeclaims":
		remove("spec", "volumeName") // that volume is another claim's, or gone
	case "persistentvolumes":
		remove("spec", "claimRef", "uid")
		remove("spec", "claimRef", "resourceVersion")
	case "serviceaccounts":
		remove("secrets")
	case "jobs.batch":
		if manual, _, _ := unstructured.NestedBool(u, "spec", "manualSelector"); !manual {
			remove("spec", "selector")
			for _, l := range []string{"controller-uid", "batch.kubernetes.io/controller-uid"} {
				remove("spec", "template", "metadata", "labels", l)
				remove("metadata", "labels", l)
			}
		}
	}
	if labels, ok, _ := unstructured.NestedMap(u, "metadata", "labels"); ok && len(labels) == 0 {
		remove("metadata", "labels")
	}
}

// cleanPod takes the volume of the token of the pod's account, which is made for each pod.
func cleanPod(u map[string]any) {
	without := func(list []any, is func(map[string]any) bool) []any {
		return slices.DeleteFunc(list, func(v any) bool { m, ok := v.(map[string]any); return ok && is(m) })
	}
	token := func(field string) func(map[string]any) bool {
		return func(m map[string]any) bool {
			n, _ := m[field].(string)
			return strings.HasPrefix(n, "kube-api-access-")
		}
	}
	if volumes, ok, _ := unstructured.NestedSlice(u, "spec", "volumes"); ok {
		_ = unstructured.SetNestedSlice(u, without(volumes, token("name")), "spec", "volumes")
	}
	for _, field := range []string{"containers", "initContainers"} {
		list, ok, _ := unstructured.NestedSlice(u, "spec", field)
		if !ok {
			continue
		}
		for _, c := range list {
			if m, ok := c.(map[string]any); ok {
				if mounts, ok := m["volumeMounts"].([]any); ok {
					m["volumeMounts"] = without(mounts, token("name"))
				}
			}
		}
		_ = unstructured.SetNestedSlice(u, list, "spec", field)
	}
}

// ranks is an order in which objects can be made: what others refer to comes first.
var ranks = []string{
	"customresourcedefinitions.apiextensions.k8s.io", "namespaces", "priorityclasses.scheduling.k8s.io", "runtimeclasses.node.k8s.io", "storageclasses.storage.k8s.io",
	"resourcequotas", "limitranges", "serviceaccounts", "clusterroles.rbac.authorization.k8s.io", "roles.rbac.authorization.k8s.io",
	"clusterrolebindings.rbac.authorization.k8s.io", "rolebindings.rbac.authorization.k8s.io", "secrets", "configmaps", "persistentvolumes", "persistentvolumeclaims",
	"services", "networkpolicies.networking.k8s.io",
}

// last are those that ask for others, or change what is made after them.
var last = []string{
	"poddisruptionbudgets.policy", "daemonsets.apps", "deployments.apps", "statefulsets.apps", "replicasets.apps", "replicationcontrollers", "pods", "jobs.batch", "cronjobs.batch",
	"horizontalpodautoscalers.autoscaling", "ingresses.networking.k8s.io",
	"validatingadmissionpolicies.admissionregistration.k8s.io", "validatingadmissionpolicybindings.admissionregistration.k8s.io",
	"mutatingwebhookconfigurations.admissionregistration.k8s.io", "validatingwebhookconfigurations.admissionregistration.k8s.io",
}

// Rank is where a kind comes when objects are made, the lowest first: custom resources are in the middle.
func Rank(k Kind) int {
	if i := slices.Index(ranks, k.Name()); i >= 0 {
		return i
	}
	if i := slices.Index(last, k.Name()); i >= 0 {
		return len(ranks) + 1 + i
	}
	return len(ranks)
}
