package controlplane

import (
	"cmp"
	"context"
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/program"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/shell"
)

// Place is where an etcd is that no pod is known to run, and that nothing but
// a node or a pod itself can reach: on its loopback address, or on a socket.
type Place struct {
	// Nodes or Pods are where it is: those of the API servers that use it.
	Nodes []string `json:"nodes,omitempty"`
	Pods  []string `json:"pods,omitempty"`
	// Program is what is seen to serve there: EtcdManager, Kine, or "" for
	// nothing; By are its pods.
	Program string   `json:"program,omitempty"`
	By      []string `json:"by,omitempty"`
	// Store is the kind of database that kine has behind it, or where
	// etcd-manager puts its backups; "" when it is not known.
	Store string `json:"store,omitempty"`
}

// Programs that serve etcd's API and are no etcd that a pod's container runs.
const (
	EtcdManager = "etcd-manager" // kops: etcd is a child of it
	Kine        = "kine"         // a database of another kind behind etcd's API
)

// Reachable are the endpoints that mean the same everywhere.
func (c ControlPlane) Reachable() []string {
	return slices.DeleteFunc(slices.Clone(c.Endpoints), local)
}

// local is true for a URL that means something else on each machine.
func local(raw string) bool {
	if strings.HasPrefix(raw, "unix") {
		return true
	}
	a, ok := parseURL(raw)
	return ok && a.loopback()
}

// scope tells external etcds of one namespace apart that have the same URLs:
// those of pods with a network, and a file system, of their own.
func (a APIServer) scope(urls []string) string {
	socket := slices.ContainsFunc(urls, func(u string) bool { return strings.HasPrefix(u, "unix") })
	if !slices.ContainsFunc(urls, local) || a.object.Spec.HostNetwork && !socket {
		return ""
	}
	owner := ownerOf(a.object)
	return owner.Kind + "/" + owner.Name
}

// locate notes where an API server has its etcd, when only it can reach that.
func (f *finder) locate(p *ControlPlane, a APIServer, urls []string) {
	if len(p.Reachable()) > 0 || len(urls) == 0 {
		return
	}
	if p.Place == nil {
		p.Place = &Place{}
	}
	if a.scope(urls) == "" {
		p.Place.Nodes = including(p.Place.Nodes, a.Node)
	} else {
		p.Place.Pods = including(p.Place.Pods, a.Pod)
	}
	for _, pod := range f.pods {
		same := pod.Namespace == a.Namespace && pod.Name == a.Pod
		node := a.object.Spec.HostNetwork && pod.Spec.HostNetwork && pod.Spec.NodeName == a.Node
		if !same && !node {
			continue
		}
		for _, c := range program.Containers(&pod.Spec) {
			if name, store := f.standIn(pod, c, urls); name != "" {
				p.Place.Program, p.Place.Store = name, cmp.Or(store, p.Place.Store)
				p.Place.By = including(p.Place.By, pod.Name)
			}
		}
	}
	if p.Place.Program == "" && strings.HasSuffix(urls[0], "/kine.sock") {
		p.Place.Program = Kine
	}
}

func including(list []string, s string) []string {
	if s == "" || contains(list, s) {
		return list
	}
	return append(list, s)
}

// standIn tells a program that serves one of these URLs, and what is behind it.
// Of a database's address only its kind is kept: the rest has a password in it.
func (f *finder) standIn(pod *corev1.Pod, c *corev1.Container, urls []string) (name, store string) {
	var n program.Notes
	env := program.NewEnvironment(f.reader, pod, c, &n)
	progs := program.ContainerPrograms(c, program.PodHost(pod, env))
	if len(progs) == 0 {
		progs = []shell.Invocation{{Argv: append([]string{program.ImageBase(c.Image)}, append(append([]string{}, c.Command...), c.Args...)...)}}
	}
	for _, p := range progs {
		flags := program.ParseFlags(p.Argv[1:])
		switch base := path.Base(p.Argv[0]); {
		case base == EtcdManager && serves(flags["client-urls"], urls):
			return EtcdManager, flags["backup-store"]
		case base == Kine && serves(cmp.Or(flags["listen-address"], "0.0.0.0:2379"), urls):
			kind, _, ok := strings.Cut(cmp.Or(flags["endpoint"], "sqlite://"), "://")
			if !ok || strings.Contains(kind, shell.Unknown) {
				kind = ""
			}
			return Kine, kind
		}
	}
	return "", ""
}

// serves compares what can be compared of an address with __name__ in it: the
// port, or the socket's path.
func serves(listen string, urls []string) bool {
	for _, u := range urls {
		if a, ok := parseURL(u); ok && strings.HasSuffix(listen, ":"+a.port) {
			return true
		}
		if _, socket, ok := strings.Cut(u, "://"); ok && strings.HasPrefix(u, "unix") && path.Base(socket) == path.Base(listen) {
			return true
		}
	}
	return false
}

// Builtin is a distribution of Kubernetes that has its etcd, or what stands in
// for it, in its own process on a node, where no pod shows it.
type Builtin struct {
	Name  string   // k3s or k0s; "" for neither
	Etcd  bool     // some nodes are said to have etcd
	Nodes []string // that have it, or are of the control plane
}

// FindBuiltin looks at what the nodes say of themselves. Not being allowed to
// read them leaves it empty.
func FindBuiltin(ctx context.Context, c Client) Builtin {
	var b Builtin
	nodes, err := c.Core.Nodes().List(ctx, metav1.ListOptions{Limit: pageSize})
	if err != nil {
		return b
	}
	for _, role := range []string{"node-role.kubernetes.io/etcd", "node-role.kubernetes.io/control-plane"} {
		for i := range nodes.Items {
			n := &nodes.Items[i]
			for _, name := range []string{"k3s", "k0s"} {
				if strings.Contains(n.Status.NodeInfo.KubeletVersion, "+"+name) {
					b.Name = name
				}
			}
			if _, ok := n.Labels[role]; ok && !b.Etcd {
				b.Nodes = append(b.Nodes, n.Name)
			}
		}
		b.Etcd = b.Etcd || len(b.Nodes) > 0 && strings.HasSuffix(role, "/etcd")
	}
	return b
}
