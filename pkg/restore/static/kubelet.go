package static

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
)

const (
	settlesWithin  = 2 * time.Minute // what kubelets and controllers have to make one world of two
	answersWithin  = 5 * time.Second // what a kubelet has for an answer
	kubeletsAtOnce = 16
	mostLines      = 20 // that are said in the end
)

// nodesBefore notes the nodes that there are. An error is why kubelets cannot be asked.
func (r *way) nodesBefore(ctx context.Context) error {
	if err := r.Deps.Clients.Require(ctx, "", []reach.Right{{Verb: "get", Resource: "nodes", Subresource: "proxy"}, {Verb: "list", Resource: "nodes"}, {Verb: "list", Resource: "pods"}}); err != nil {
		return err
	}
	ready, err := r.nodes(ctx)
	r.had = ready
	return err
}

// nodes are those that the API knows, and whether it takes each for ready.
func (r *way) nodes(ctx context.Context) (map[string]bool, error) {
	list, err := r.Deps.Clients.Core.Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	ready := map[string]bool{}
	for _, n := range list.Items {
		ready[n.Name] = slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
			return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
		})
	}
	return ready, nil
}

// settled asks the kubelets until they run what the API has on their nodes, and tells what is not so after two minutes: the API servers know
// nothing of what happened since the snapshot, and kubelets and controllers make one world of the two.
func (r *way) settled(ctx context.Context) []string {
	if !slices.ContainsFunc(r.Operation.Steps, func(s plan.Step) bool { return s.Kind == site.KindHotSwitch && s.State != plan.Pending }) {
		return nil // nothing was exchanged
	}
	// A client that goes on with another's operation has not asked yet.
	if r.had == nil && r.nodesBefore(ctx) != nil {
		return nil
	}
	all := slices.Sorted(maps.Keys(r.had))
	r.Deps.Report.Step("asking every kubelet (%d) until it runs what the cluster has on its node, at most 2 minutes; Ctrl-C ends only this", len(all))
	wait, cancel := context.WithTimeout(ctx, settlesWithin)
	defer cancel()
	c := &comparison{way: r, said: map[string][]string{"": {"not every kubelet has answered"}}}
	for ask := all; ; {
		left, err := c.round(wait, ask)
		switch {
		case wait.Err() != nil:
		case err != nil:
			c.said[""] = []string{fmt.Sprintf("what kubelets run is not compared with the cluster: %v", err)}
		case len(left) == 0 && len(ask) == len(all):
			if len(c.lines()) == 0 {
				r.Deps.Report.Step("every kubelet runs what the cluster has on its node")
			}
			return c.lines()
		case len(left) == 0:
			ask = all // the first ones may have changed meanwhile
			continue
		default:
			ask = left
		}
		select {
		case <-wait.Done():
			if ctx.Err() != nil {
				return []string{"whether the kubelets run what the cluster has on their nodes was not waited for"}
			}
			return c.lines()
		case <-time.After(2 * time.Second):
		}
	}
}

// comparison keeps what was said last of each node, and of volumes under no name.
type comparison struct {
	*way
	mu   sync.Mutex
	said map[string][]string
}

func (c *comparison) lines() (all []string) {
	for _, node := range slices.Sorted(maps.Keys(c.said)) {
		all = append(all, c.said[node]...)
	}
	if len(all) > mostLines {
		return append(all[:mostLines:mostLines], fmt.Sprintf("and %d more like these", len(all)-mostLines))
	}
	return all
}

// round compares some nodes. left are those of which waiting may help. What ctx has cut off says nothing.
func (c *comparison) round(ctx context.Context, nodes []string) (left []string, err error) {
	known, err := c.nodes(ctx)
	if err != nil {
		return nodes, err
	}
	var pods []corev1.Pod
	on := map[string][]corev1.Pod{}
	err = restore.EachPod(ctx, c.Deps.Clients.Core, func(p *corev1.Pod) {
		pods, on[p.Spec.NodeName] = append(pods, *p), append(on[p.Spec.NodeName], *p)
	})
	if err != nil {
		return nodes, err
	}
	var g errgroup.Group
	g.SetLimit(kubeletsAtOnce)
	for _, n := range nodes {
		g.Go(func() error {
			what, mends := c.compare(ctx, n, known, on[n])
			c.mu.Lock()
			defer c.mu.Unlock()
			if ctx.Err() != nil {
				return nil
			}
			if c.said[n] = what; len(what) > 0 && mends {
				left = append(left, n)
			}
			return nil
		})
	}
	_ = g.Wait()
	if volumes := c.volumes(ctx, pods); ctx.Err() == nil {
		if c.said[""] = volumes; len(volumes) > 0 && len(left) == 0 {
			left = nodes // the controller that attaches may be about to mend it
		}
	}
	return left, nil
}

// compare tells how a node is otherwise than the API says; mends tells whether that may change by itself.
func (c *comparison) compare(ctx context.Context, node string, known map[string]bool, pods []corev1.Pod) (what []string, mends bool) {
	if _, ok := known[node]; !ok {
		return []string{fmt.Sprintf("the restored cluster does not know node %s; on that node: systemctl restart kubelet", node)}, false
	}
	runs, err := c.runs(ctx, node)
	if err != nil { // one that was not ready before is not waited for
		return []string{fmt.Sprintf("the kubelet of node %s does not say what it runs: %v", node, err)}, c.had[node]
	}
	return differ(node, runs, pods), true
}

// runs are the pods of which containers run on a node.
func (r *way) runs(ctx context.Context, node string) ([]corev1.Pod, error) {
	ctx, cancel := context.WithTimeout(ctx, answersWithin)
	defer cancel()
	var list corev1.PodList
	raw, err := r.Deps.Clients.Core.RESTClient().Get().AbsPath("/api/v1/nodes/" + node + "/proxy/runningpods/").DoRaw(ctx)
	if err == nil {
		err = json.Unmarshal(raw, &list)
	}
	return list.Items, err
}

// differ compares what a kubelet runs with what the API says of its node. A static pod is there under another UID than its mirror in the API.
func differ(node string, runs, api []corev1.Pod) (said []string) {
	known, running := map[types.UID]bool{}, map[types.UID]bool{}
	uid := func(p *corev1.Pod) types.UID {
		if of := p.Annotations[corev1.MirrorPodAnnotationKey]; of != "" {
			return types.UID(of)
		}
		return p.UID
	}
	for i := range api {
		known[uid(&api[i])] = true
	}
	var only, missing []string
	for _, p := range runs {
		running[p.UID] = true
		if !known[p.UID] {
			only = append(only, p.Namespace+"/"+p.Name)
		}
	}
	for i := range api {
		if p := &api[i]; p.Status.Phase == corev1.PodRunning && !running[uid(p)] {
			missing = append(missing, p.Namespace+"/"+p.Name)
		}
	}
	for _, names := range [][]string{only, missing} {
		slices.Sort(names)
	}
	if len(only) > 0 {
		said = append(said, fmt.Sprintf("node %s runs pods that the cluster does not know: %s", node, restore.Several(only)))
	}
	if len(missing) > 0 {
		said = append(said, fmt.Sprintf("node %s does not run pods that the cluster takes for running there: %s", node, restore.Several(missing)))
	}
	return said
}
