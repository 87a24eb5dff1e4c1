package keys

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	appsv1client "k8s.io/client-go/kubernetes/typed/apps/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/program"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
)

// Find asks the control plane's programs where their keys are: the folders of their nodes that hold what their flags name, the
// manifests of static pods, and the Secrets that are mounted into their pods. warn is told what cannot be known.
func Find(ctx context.Context, c *reach.Clients, p controlplane.ControlPlane, warn func(string, ...any)) (*Sources, error) {
	s := &Sources{warn: warn, data: dataFolders(p), wanted: map[place]string{}}
	apps, err := appsv1client.NewForConfig(c.Config)
	if err != nil {
		return nil, fmt.Errorf("make apps client: %w", err)
	}
	pods, err := s.pods(ctx, controlplane.Client{Core: c.Core, Apps: apps}, p)
	if err != nil {
		return nil, fmt.Errorf("find keys of %s: %w", p.ID(), err)
	}
	r := program.NewReader(ctx, c.Core)
	for _, pod := range pods {
		for _, o := range program.Sources(pod, "Secret") {
			s.object(Object{"Secret", pod.Namespace, o.Name, o.Optional})
		}
		if err := s.files(r, pod, p.Members); err != nil {
			return nil, fmt.Errorf("find keys of %s: %w", p.ID(), err)
		}
	}
	s.manifests(ctx, c, pods, p.Layout)
	if len(s.Nodes)+len(s.Objects) == 0 {
		return nil, fmt.Errorf("find keys of %s: no program of it has any in a Secret or on its node", p.ID())
	}
	slices.SortFunc(s.Nodes, func(a, b Node) int { return strings.Compare(a.Name, b.Name) })
	for i := range s.Nodes {
		s.Nodes[i].Paths = outermost(s.Nodes[i].Paths)
	}
	slices.SortFunc(s.Objects, func(a, b Object) int { return strings.Compare(a.String(), b.String()) })
	return s, nil
}

// pods are those of etcd, of the API servers that use it, and of what runs beside these. A workload without pods has those that its
// template would make.
func (s *Sources) pods(ctx context.Context, c controlplane.Client, p controlplane.ControlPlane) ([]*corev1.Pod, error) {
	pods := p.Pods()
	served := len(p.APIServers) > 0
	defer func() {
		if !served {
			s.unknown("no API server was found that uses %s", p.ID())
		}
	}()
	if p.Static() {
		beside, err := controlplane.StaticControllers(ctx, c, p)
		return append(pods, beside...), err
	}
	uses, err := controlplane.Writers(ctx, c, p)
	if err != nil {
		return nil, err
	}
	if uses.Note != "" {
		s.unknown("%s", uses.Note)
	}
	namespaces := []string{p.Namespace}
	for _, w := range uses.Writers {
		if !w.ServesAPI() {
			continue
		}
		served = true
		if !slices.ContainsFunc(pods, w.Owns) {
			pods = append(pods, templated(w))
		}
		if !slices.Contains(namespaces, w.Namespace) {
			namespaces = append(namespaces, w.Namespace)
		}
	}
	for _, ns := range namespaces {
		beside, err := s.controllers(ctx, c, p, ns)
		if err != nil {
			return nil, err
		}
		pods = append(pods, beside...)
	}
	return pods, nil
}

// templated is what a workload's template makes, named after the workload.
func templated(w controlplane.Writer) *corev1.Pod {
	pod := w.Pod()
	pod.Name = w.ID()
	return pod
}

// controllers are the controller managers of a namespace. Of several control planes in one, nobody can say whose they are.
func (s *Sources) controllers(ctx context.Context, c controlplane.Client, p controlplane.ControlPlane, namespace string) (pods []*corev1.Pod, _ error) {
	in := p
	in.Namespace = namespace
	found, err := controlplane.Controllers(ctx, c, in)
	if err != nil {
		s.unknown("controller managers of namespace %s: %v", namespace, err)
		return nil, nil
	}
	if len(found) == 0 {
		return nil, nil
	}
	planes, err := controlplane.Find(ctx, c, controlplane.Query{Namespace: namespace})
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(planes, func(o controlplane.ControlPlane) bool { return len(o.Members) > 0 && o.ID() != p.ID() }) {
		s.unknown("whose the controller managers of namespace %s are is not known, since it has several control planes", namespace)
		return nil, nil
	}
	for _, w := range found {
		pods = append(pods, templated(w))
	}
	return pods, nil
}

func dataFolders(p controlplane.ControlPlane) (out []string) {
	for _, m := range p.Members {
		for _, v := range []*controlplane.VolumeRef{m.DataVolume, m.WALVolume} {
			if v != nil && v.Kind == "hostPath" {
				out = append(out, path.Clean(v.Source[0]))
			}
		}
	}
	return out
}

// manifests are those of the static pods on each node.
func (s *Sources) manifests(ctx context.Context, c *reach.Clients, pods []*corev1.Pod, layout controlplane.Layout) {
	asked := map[string]bool{}
	for _, pod := range pods {
		node := pod.Spec.NodeName
		if !controlplane.IsStatic(pod) || node == "" || asked[node] {
			continue
		}
		asked[node] = true
		if at := reach.StaticPodPath(ctx, c, node, layout); at != "" {
			s.path(pod, reach.HostPath{Path: at, Type: corev1.HostPathDirectory})
		} else {
			s.unknown("the manifests of node %s: its kubelet's configuration, which says where they are, cannot be read", node)
		}
	}
}
