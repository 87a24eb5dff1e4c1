package keys

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
)

// Sources are where the keys of a control plane are.
type Sources struct {
	Nodes   []Node
	Objects []Object
	// Unknown is what nobody could say, which a collection then lacks.
	Unknown []string

	warn func(string, ...any)
	// data are the members' data directories on nodes: no keys, and large.
	data []string
	// wanted are the EncryptionConfigurations that API servers name, by where they are and what for.
	wanted map[place]string
}

// Node is one whose files are read, through a pod beside one of its own.
type Node struct {
	Name string
	// Paths are folders and files; none is within another.
	Paths  []reach.HostPath
	beside *corev1.Pod
	// named are the files that a flag names: without them the node's keys are not whole.
	named map[string]bool
}

// Object is a Secret, or a ConfigMap that holds a file which a flag names.
type Object struct {
	Kind, Namespace, Name string
	// Optional ones need not be there.
	Optional bool
}

func (o Object) String() string { return o.Kind + " " + o.Namespace + "/" + o.Name }

// place is a file: of a node, or of an object.
type place struct{ of, path string }

func (s *Sources) unknown(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	s.Unknown = append(s.Unknown, text)
	s.warn("keys may be missing: %s", text)
}

func (s *Sources) object(o Object) {
	i := slices.IndexFunc(s.Objects, func(x Object) bool { return x.String() == o.String() })
	if i < 0 {
		s.Objects = append(s.Objects, o)
	} else if !o.Optional {
		s.Objects[i].Optional = false
	}
}

func (s *Sources) path(pod *corev1.Pod, at reach.HostPath, named ...string) {
	i := slices.IndexFunc(s.Nodes, func(n Node) bool { return n.Name == pod.Spec.NodeName })
	if i < 0 {
		i = len(s.Nodes)
		s.Nodes = append(s.Nodes, Node{Name: pod.Spec.NodeName, beside: pod, named: map[string]bool{}})
	}
	s.Nodes[i].Paths = append(s.Nodes[i].Paths, at)
	for _, file := range named {
		s.Nodes[i].named[file] = true
	}
}

// outermost drops what is within another one.
func outermost(paths []reach.HostPath) (out []reach.HostPath) {
	slices.SortFunc(paths, func(a, b reach.HostPath) int { return strings.Compare(a.Path+"/", b.Path+"/") })
	for _, p := range paths {
		if n := len(out); n == 0 || !within(p.Path, out[n-1].Path) {
			out = append(out, p)
		}
	}
	return out
}

func within(file, folder string) bool {
	return strings.HasPrefix(file+"/", strings.TrimSuffix(folder, "/")+"/")
}
