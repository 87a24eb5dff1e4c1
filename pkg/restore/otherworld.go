package restore

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
)

// Where API servers keep pods and nodes.
const (
	storedPods  = "/pods/"
	storedNodes = "/minions/"
)

// world is what a snapshot knows of what kubelets run. It is of interest where the restored cluster is the one whose nodes the etcd is on: what
// happened there since the snapshot, its API servers will not know.
type world struct {
	pods  map[string]types.UID // by NAMESPACE/NAME
	nodes map[string]bool
	// names are keys of what the control plane is reached by.
	names map[string]bool
}

func newWorld(p controlplane.ControlPlane) *world {
	return &world{pods: map[string]types.UID{}, nodes: map[string]bool{}, names: names(p)}
}

// tells notes what is met of it, and chooses what else is looked at.
func (w *world) tells(key, value []byte) bool {
	if i := bytes.Index(key, []byte(storedPods)); i >= 0 {
		var p metav1.PartialObjectMetadata
		if name := string(key[i+len(storedPods):]); strings.Count(name, "/") == 1 && readStored(value, &podMeta{&p}) && !ours(p.Labels) {
			w.pods[name] = p.UID
		}
	}
	if i := bytes.Index(key, []byte(storedNodes)); i >= 0 {
		w.nodes[string(key[i+len(storedNodes):])] = true
	}
	return w.names[string(key)] || telling(key, value)
}

// ours tells that it is a utility pod: what comes back of those is removed.
func ours(labels map[string]string) bool {
	return labels[controlplane.ManagedByLabel] == controlplane.ManagedByValue
}

// podMeta reads of a pod what every object has.
type podMeta struct{ *metav1.PartialObjectMetadata }

func (m *podMeta) Unmarshal(b []byte) error {
	var p corev1.Pod
	if err := p.Unmarshal(b); err != nil {
		return err
	}
	m.ObjectMeta = p.ObjectMeta
	return nil
}

// EachPod is called for all pods of a cluster.
func EachPod(ctx context.Context, core corev1client.PodsGetter, f func(*corev1.Pod)) error {
	o := metav1.ListOptions{Limit: 500}
	for {
		list, err := core.Pods("").List(ctx, o)
		if err != nil {
			return err
		}
		for i := range list.Items {
			f(&list.Items[i])
		}
		if o.Continue = list.Continue; o.Continue == "" {
			return nil
		}
	}
}

// since tells what has happened since the snapshot, and what the restored cluster will make of it.
func (w *world) since(ctx context.Context, c controlplane.Client) []string {
	younger, known := map[string]int{}, map[string]bool{}
	err := EachPod(ctx, c.Core, func(p *corev1.Pod) {
		name := p.Namespace + "/" + p.Name
		if controlplane.IsStatic(p) || ours(p.Labels) || w.pods[name] == p.UID {
			known[name] = true
			return
		}
		younger[p.Namespace]++
	})
	if err != nil {
		return []string{fmt.Sprintf("pods that are younger than the snapshot will be ended by their kubelets, and older ones come back; which, is not known: %v", err)}
	}
	older := map[string]int{}
	for name := range w.pods {
		if ns, _, _ := strings.Cut(name, "/"); !known[name] {
			older[ns]++
		}
	}
	var notes []string
	if n, where := perNamespace(younger); n > 0 {
		notes = append(notes, fmt.Sprintf("pods that are younger than the snapshot: %d (%s); the restored cluster does not know them, and their kubelets end them", n, where))
	}
	if n, where := perNamespace(older); n > 0 {
		notes = append(notes, fmt.Sprintf("pods of the snapshot that are no more: %d (%s); the restored cluster takes them for running: kubelets start them again, or their controllers make others", n, where))
	}
	return append(notes, w.nodesSince(ctx, c)...)
}

// nodesSince compares the nodes; who may not list them hears nothing of them.
func (w *world) nodesSince(ctx context.Context, c controlplane.Client) (notes []string) {
	list, err := c.Core.Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return []string{fmt.Sprintf("which nodes only one side knows cannot be said: %v", err)}
	}
	gone := maps.Clone(w.nodes)
	var joined []string
	for _, n := range list.Items {
		if !w.nodes[n.Name] {
			joined = append(joined, n.Name)
		}
		delete(gone, n.Name)
	}
	if len(joined) > 0 {
		notes = append(notes, fmt.Sprintf("nodes that have joined since the snapshot are not known to the restored cluster, until their kubelets are started again (systemctl restart kubelet): %s", Several(joined)))
	}
	if len(gone) > 0 {
		notes = append(notes, fmt.Sprintf("nodes of the snapshot that are no more come back as objects; afterwards, delete each that is gone with: kubectl delete node NAME (%s)", Several(slices.Sorted(maps.Keys(gone)))))
	}
	return notes
}

// perNamespace sums up, and names where.
func perNamespace(counts map[string]int) (total int, where string) {
	var named []string
	for _, ns := range slices.Sorted(maps.Keys(counts)) {
		total += counts[ns]
		named = append(named, fmt.Sprintf("%s %d", ns, counts[ns]))
	}
	return total, Several(named)
}
