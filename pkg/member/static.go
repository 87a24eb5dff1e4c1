package member

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	restclient "k8s.io/client-go/rest"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/await"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/datadir"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/survey"
)

// letKubelet is the way out where the node's kubelet hears of no pod.
const letKubelet = "start the node, or its kubelet, if that is down; one that asks only the API server beside it is cut off while that has no etcd: let it ask another one, " +
	"set server: in /etc/kubernetes/kubelet.conf on that node, and restart it there: systemctl restart kubelet; put that back afterwards"

// etcdGrace is how long an etcd that was removed may take to end by itself.
const etcdGrace = 2 * time.Second

// replaceableStatic refuses a member of static pods that the steps could not bring back. Its kubelet is all that can start it.
func replaceableStatic(d site.Deps, cfg Config, m controlplane.Member) error {
	if err := site.SupportedStatic(cfg.Plane); err != nil {
		return err
	}
	switch {
	case m.Missing():
		return site.Refuse("", "replace member %s: no pod of it was found, so nothing would start it", m.Name)
	case m.NodeSilent():
		return site.Refuse(letKubelet, "replace member %s: node %s is not ready, and no utility pod would start there", m.Name, m.Node)
	}
	return elsewhere(d.Clients.Config, m)
}

// elsewhere refuses a kubeconfig that leads to the API server of the member's own node, and to no load balancer.
func elsewhere(c *restclient.Config, m controlplane.Member) error {
	u, _, err := restclient.DefaultServerUrlFor(c)
	if err != nil {
		return fmt.Errorf("read kubeconfig: %w", err)
	}
	host := u.Hostname()
	leads := host == m.Node || host == m.HostIP
	if !leads {
		addresses, err := net.LookupHost(host)
		leads = err == nil && slices.Contains(addresses, m.HostIP)
	}
	if !leads {
		return nil
	}
	return site.Refuse("let the kubeconfig lead to another API server, or name one with: --server https://ADDRESS:6443",
		"replace member %s: this kubeconfig leads to the API server on its node (%s), which does not serve meanwhile", m.Name, c.Host)
}

// static tells that kubelets run the members from files.
func (r *Replacement) static() bool { return r.Shared.Replace.Pod != nil }

// Stage and Volume note where no utility pod starts on the member's node.
func (r *Replacement) Stage(ctx context.Context, name string) (site.Stage, error) {
	st, err := r.Site.Stage(ctx, name)
	r.noteCutOff(name, err)
	return st, err
}

// Volume is described at Stage.
func (r *Replacement) Volume(ctx context.Context, name string) (site.Stage, *datadir.State, error) {
	st, s, err := r.Site.Volume(ctx, name)
	r.noteCutOff(name, err)
	return st, s, err
}

func (r *Replacement) noteCutOff(name string, err error) {
	if name == r.replaced().Name && (errors.Is(err, reach.ErrLate) || errors.Is(err, reach.ErrNotReady)) {
		r.cutOff = true
	}
}

// reaching adds the way out to what fails because of that.
func (r *Replacement) reaching(do func(context.Context, *plan.Task) error) func(context.Context, *plan.Task) error {
	return func(ctx context.Context, t *plan.Task) error {
		r.cutOff = false
		err := do(ctx, t)
		if err == nil || ctx.Err() != nil || !r.static() || !r.cutOff {
			return err
		}
		return site.Refuse(letKubelet, "%v", err)
	}
}

// asker is from where another member is asked: of static pods from that one's own node, since the replaced one's kubelet may be cut off.
func (r *Replacement) asker(ctx context.Context, of survey.Member) (site.Stage, error) {
	if r.static() {
		return r.Stage(ctx, of.Source.Name)
	}
	return r.Stage(ctx, r.replaced().Name)
}

// again tries for a while what the API server beside the member may have been asked for, which has lost its etcd.
func (r *Replacement) again(ctx context.Context, what string, do func(context.Context) error) error {
	if !r.static() {
		return do(ctx)
	}
	return await.Until(ctx, r.Timeout, what, func(ctx context.Context) (string, bool, error) {
		err := do(ctx)
		var refused *site.Refusal
		if err != nil && (r.cutOff || errors.As(err, &refused) || errors.Is(err, plan.ErrAbandoned)) {
			return "", false, await.Stop(err)
		}
		return "", err == nil, err
	})
}

// endPod ends the member's etcd, where that has not done so by itself; who runs it starts it again.
func (r *Replacement) endPod(ctx context.Context) error {
	name := r.replaced().Name
	if !r.static() {
		return r.DeletePod(ctx, r.replaced().PodName, "")
	}
	m, ok := r.Plane.Member(name)
	if !ok || m.Object == nil {
		return fmt.Errorf("end etcd of member %s: its pod was not found", name)
	}
	return r.endStatic(ctx, m.Object, etcdGrace)
}

// endStatic ends the processes of a static pod of the member's node, by the file that it is of now.
func (r *Replacement) endStatic(ctx context.Context, p *corev1.Pod, grace time.Duration) error {
	st, err := r.Stage(ctx, r.replaced().Name)
	if err == nil {
		_, err = st.EndPod(ctx, controlplane.StaticHash(p), grace)
	}
	if err != nil {
		return fmt.Errorf("restart pod %s: %w", p.Name, err)
	}
	return nil
}

// awakeStatic ends an etcd that was starting during the exchange, once: its kubelet lets it wait ever longer. One that runs as the new member
// already is left alone.
func (r *Replacement) awakeStatic(ctx context.Context, t *plan.Task) error {
	var ended bool
	if _, err := t.Recall(&ended); err != nil || ended {
		return err
	}
	r.patience(ctx)
	if r.Shared.Replace.Strayed {
		r.rejoin(ctx)
	}
	s, err := r.Survey(ctx)
	if err == nil {
		if m := s.Of(r.replaced().Name); m != nil && m.Status != nil && m.Status.MemberID.String() == r.Shared.Replace.ID {
			return nil
		}
	}
	if err := r.again(ctx, "etcd of member "+r.replaced().Name+" is ended", r.endPod); err != nil {
		return err
	}
	return t.Remember(ctx, true)
}

// stray notes that the member's data is another cluster's: an etcd that finds none can found one, of which it is the only member.
func (r *Replacement) stray(s *datadir.State) {
	if r.static() && s.Inode != r.replaced().NewInode && s.ClusterID != "" && s.ClusterID != r.Shared.ClusterID {
		r.Shared.Replace.Strayed = true
	}
}

// rejoin has the static pods of the member's node start anew that have worked with that: what they know is not true. etcd cannot tell them
// anything before it is promoted.
func (r *Replacement) rejoin(ctx context.Context) {
	controllers, err := controlplane.StaticControllers(ctx, r.Deps.Planes(), r.Plane)
	if err != nil {
		r.Deps.Report.Warn("find controllers: %v", err)
	}
	end := func(pods []*corev1.Pod, grace time.Duration) {
		for _, p := range pods {
			if !controlplane.IsStatic(p) || p.Spec.NodeName != r.Shared.Replace.Pod.Node || p.Name == r.Shared.Replace.Pod.Pod {
				continue
			}
			r.Deps.Report.Step("restarting %s, which has worked with another cluster, that this etcd had founded", p.Name)
			if err := r.endStatic(ctx, p, grace); err != nil { // its stream may go through that very API server
				r.Deps.Report.Warn("%v; if it runs on, restart it yourself, so that it reads everything anew", err)
			}
		}
	}
	end(controllers, site.ControllerGrace)
	end(r.Plane.Pods(), site.ServerGrace)
}

// patience tells how long a kubelet may leave etcd alone that has ended before, and how that is made shorter.
func (r *Replacement) patience(ctx context.Context) {
	own := r.Shared.Replace.Pod
	pods, err := r.Cluster.Pods(ctx, site.Workload{Kind: site.StaticPods, Namespace: r.Shared.Namespace, Name: r.Plane.Owner.Name})
	if err != nil { // nothing depends on it
		return
	}
	for _, p := range pods {
		for _, wait := range p.Backoff {
			if p.Name == own.Pod {
				r.Deps.Report.Warn("etcd has ended again and again, and the kubelet of node %s may leave it alone for %s and more; to have it started at once, on that node: systemctl restart kubelet", own.Node, wait)
			}
		}
	}
}
