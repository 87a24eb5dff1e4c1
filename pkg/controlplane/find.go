package controlplane

import (
	"context"
	"fmt"
	"sort"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// ManagedByLabel with ManagedByValue marks our own pods. They hold a
	// member's image and volumes, and must never be taken for a member.
	ManagedByLabel = "app.kubernetes.io/managed-by"
	ManagedByValue = "kubectl-etcd"

	ownerStatic = "StaticPod"
	ownerBare   = "Pod"

	mirrorAnnotation = "kubernetes.io/config.mirror"

	// pageSize bounds what one list call holds in memory on the API server.
	pageSize = 500
)

type finder struct {
	client Client
	reader *reader
	planes map[string]*ControlPlane
	order  []string
	notes  map[string][]string // by control plane, before it is made
	nodes  map[string]*bool

	serviceCache map[string][]corev1.Service
}

// Find returns the control planes whose etcd runs in pods of the namespace,
// and, with layout External, those that only an API server there knows of.
// They are sorted by namespace and name. What may not be read besides the pods
// themselves leaves a note in the result, not an error.
func Find(ctx context.Context, c Client, q Query) ([]ControlPlane, error) {
	f := &finder{
		client: c, reader: newReader(ctx, c), planes: map[string]*ControlPlane{}, notes: map[string][]string{},
		nodes: map[string]*bool{}, serviceCache: map[string][]corev1.Service{},
	}
	pods, err := listPods(ctx, c, q.Namespace)
	if err != nil {
		return nil, err
	}
	sets, setsNote := listStatefulSets(ctx, c, q.Namespace)
	present := map[string]bool{}
	var servers []APIServer
	for _, pod := range pods {
		present[pod.Namespace+"/"+pod.Name] = true
		servers = append(servers, apiServers(f.reader, pod)...)
		f.addPod(pod, managerOf(sets, pod))
	}
	for i := range sets {
		if !templateMentionsEtcd(&sets[i]) {
			continue
		}
		for _, pod := range f.missingPods(&sets[i], present) {
			f.addPod(pod, managerOf(sets, pod))
		}
	}
	f.merge()
	planes := f.finish(setsNote)
	planes = f.connect(planes, servers, q)
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("find control planes: %w", err)
	}
	sort.SliceStable(planes, func(i, j int) bool {
		if planes[i].Namespace != planes[j].Namespace {
			return planes[i].Namespace < planes[j].Namespace
		}
		return planes[i].Name < planes[j].Name
	})
	return planes, nil
}

// FindOwn looks for the cluster's own etcd only, and so needs no rights
// elsewhere: in kube-system, then, when nothing there is it, in OpenShift's
// namespace. Resolve(planes, "", "") picks it from the result.
func FindOwn(ctx context.Context, c Client) ([]ControlPlane, error) {
	var all []ControlPlane
	for i, ns := range SystemNamespaces {
		planes, err := Find(ctx, c, Query{Namespace: ns})
		if err != nil && (i == 0 || !apierrors.IsForbidden(err)) {
			return nil, err
		}
		all = append(all, planes...)
		for _, p := range planes {
			if p.Owner.Kind == ownerStatic {
				return all, nil
			}
		}
	}
	return all, nil
}

func listPods(ctx context.Context, c Client, namespace string) ([]*corev1.Pod, error) {
	var out []*corev1.Pod
	opts := metav1.ListOptions{Limit: pageSize}
	for {
		list, err := c.Core.Pods(namespace).List(ctx, opts)
		if err != nil {
			return nil, fmt.Errorf("list pods%s: %w", inNamespace(namespace), err)
		}
		for i := range list.Items {
			if pod := &list.Items[i]; pod.Labels[ManagedByLabel] != ManagedByValue && pod.Status.Phase != corev1.PodSucceeded {
				out = append(out, pod)
			}
		}
		if list.Continue == "" {
			return out, nil
		}
		opts.Continue = list.Continue
	}
}

func listStatefulSets(ctx context.Context, c Client, namespace string) ([]appsv1.StatefulSet, string) {
	if c.Apps == nil {
		return nil, ""
	}
	var out []appsv1.StatefulSet
	opts := metav1.ListOptions{Limit: pageSize}
	for {
		list, err := c.Apps.StatefulSets(namespace).List(ctx, opts)
		if err != nil {
			return out, fmt.Sprintf("members whose pods do not exist are not known: list statefulsets%s: %v", inNamespace(namespace), err)
		}
		out = append(out, list.Items...)
		if list.Continue == "" {
			return out, ""
		}
		opts.Continue = list.Continue
	}
}

func inNamespace(ns string) string {
	if ns == "" {
		return " in all namespaces"
	}
	return fmt.Sprintf(" in namespace %q", ns)
}

func templateMentionsEtcd(s *appsv1.StatefulSet) bool {
	if s.DeletionTimestamp != nil || s.Spec.Template.Labels[ManagedByLabel] == ManagedByValue {
		return false
	}
	for _, c := range Containers(&s.Spec.Template.Spec) {
		if mentionsEtcd(c) {
			return true
		}
	}
	return false
}

// ownerOf names what runs a pod. Static pods of several nodes have a common
// name: the pod's, without the node's at its end.
func ownerOf(pod *corev1.Pod) Owner {
	ref := metav1.GetControllerOf(pod)
	if pod.Annotations[mirrorAnnotation] != "" || ref != nil && ref.Kind == "Node" {
		name := strings.TrimSuffix(pod.Name, "-"+pod.Spec.NodeName)
		if name == pod.Name || pod.Spec.NodeName == "" {
			name = first(pod.Labels["component"], pod.Labels["k8s-app"], pod.Labels["app"], pod.Name)
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

func managerOf(sets []appsv1.StatefulSet, pod *corev1.Pod) *Owner {
	ref := metav1.GetControllerOf(pod)
	if ref == nil || ref.Kind != "StatefulSet" {
		return nil
	}
	for i := range sets {
		if s := &sets[i]; s.Namespace == pod.Namespace && s.Name == ref.Name {
			if up := metav1.GetControllerOf(s); up != nil {
				return &Owner{up.APIVersion, up.Kind, up.Name, string(up.UID)}
			}
		}
	}
	return nil
}

func (f *finder) addPod(pod *corev1.Pod, manager *Owner) {
	owner := ownerOf(pod)
	for _, c := range Containers(&pod.Spec) {
		m, layout, ok := memberOf(f.reader, pod, c, owner, manager)
		if !ok {
			continue
		}
		m.NodeReady = f.nodeReady(m.Node)
		key := pod.Namespace + "/" + owner.Kind + "/" + owner.Name
		plane, ok := f.planes[key]
		if !ok {
			plane = &ControlPlane{Namespace: pod.Namespace, Name: owner.Name, Layout: layout, Owner: owner, Manager: manager}
			f.planes[key] = plane
			f.order = append(f.order, key)
		}
		plane.Members = append(plane.Members, m)
	}
}

func (f *finder) nodeReady(name string) *bool {
	if name == "" {
		return nil
	}
	if ready, ok := f.nodes[name]; ok {
		return ready
	}
	var ready *bool
	// Not being allowed to read nodes is common and costs only this column.
	if node, err := f.client.Core.Nodes().Get(f.reader.ctx, name, metav1.GetOptions{}); err == nil {
		is := false
		for _, c := range node.Status.Conditions {
			if c.Type == corev1.NodeReady {
				is = c.Status == corev1.ConditionTrue
			}
		}
		ready = &is
	}
	f.nodes[name] = ready
	return ready
}
