package controlplane

import (
	"cmp"
	"context"
	"fmt"
	"sort"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/program"
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
	ctx    context.Context
	client Client
	reader *program.Reader
	planes map[string]*ControlPlane
	order  []string
	notes  map[string][]string // by control plane, before it is made
	pods   []*corev1.Pod       // that are not over
	failed map[string]string   // pods that are over, and why
	nodes  map[string]*bool

	serviceCache map[string][]corev1.Service
	kindCache    map[string][]metav1.APIResource
}

// Find returns the control planes whose etcd runs in pods of the namespace,
// and, with layout External, those that only an API server there knows of.
// They are sorted by namespace and name. What may not be read besides the pods
// themselves leaves a note in the result, not an error.
func Find(ctx context.Context, c Client, q Query) ([]ControlPlane, error) {
	f := &finder{
		ctx: ctx, client: c, reader: program.NewReader(ctx, c.Core), planes: map[string]*ControlPlane{}, notes: map[string][]string{},
		failed: map[string]string{}, nodes: map[string]*bool{}, serviceCache: map[string][]corev1.Service{},
		kindCache: map[string][]metav1.APIResource{},
	}
	pods, err := listPods(ctx, c, q.Namespace)
	if err != nil {
		return nil, err
	}
	sets, setsNote := listStatefulSets(ctx, c, q.Namespace)
	present := map[string]bool{}
	var servers []APIServer
	for _, pod := range pods {
		if over(pod) {
			f.failed[pod.Namespace+"/"+pod.Name] = cmp.Or(pod.Status.Reason, string(pod.Status.Phase))
			continue
		}
		present[pod.Namespace+"/"+pod.Name] = true
		f.pods = append(f.pods, pod)
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
			if pod := &list.Items[i]; pod.Labels[ManagedByLabel] != ManagedByValue {
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
	for _, c := range program.Containers(&s.Spec.Template.Spec) {
		if mentionsEtcd(c) {
			return true
		}
	}
	return false
}

// addPod takes up the members that a pod runs. Several etcds in one pod are
// several control planes, told apart by their containers.
func (f *finder) addPod(pod *corev1.Pod, manager *Owner) {
	owner := ownerOf(pod)
	var members []Member
	var layouts []Layout
	for _, c := range program.Containers(&pod.Spec) {
		m, layout, ok := memberOf(f.reader, pod, c, owner, manager)
		if !ok {
			continue
		}
		m.NodeReady = f.nodeReady(m.Node)
		if m.Missing() {
			m.Reason = f.failed[pod.Namespace+"/"+pod.Name]
		}
		members, layouts = append(members, m), append(layouts, layout)
	}
	for i, m := range members {
		key, container := pod.Namespace+"/"+owner.Kind+"/"+owner.Name, ""
		if len(members) > 1 {
			container = m.Container
			key += "/" + container
		}
		plane, ok := f.planes[key]
		if !ok {
			plane = &ControlPlane{Namespace: pod.Namespace, Layout: layouts[i], Owner: owner, Manager: manager, owners: []Owner{owner}, container: container}
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
	if node, err := f.client.Core.Nodes().Get(f.ctx, name, metav1.GetOptions{}); err == nil {
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
