package reach

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-etcd/kubectl-etcd/manifests"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/agentapi"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/podexec"
)

// agentLink is a utility pod with a running agent in it.
type agentLink struct {
	clients  *Clients
	member   controlplane.Member
	opts     Options
	target   podexec.Target
	endpoint agentapi.Endpoint
	sha256   string // of the agent that was put there
}

func openAgent(ctx context.Context, c *Clients, m controlplane.Member, o Options) (Link, error) {
	if o.Lifetime == 0 {
		o.Lifetime = time.Hour
	}
	if o.StartTimeout == 0 {
		o.StartTimeout = 90 * time.Second
	}
	// A pod that does not exist is on no node; the scheduler finds the one that a claim's volume is on.
	unbound := (m.Missing() || o.stage) && o.Data && m.DataVolume != nil && m.DataVolume.Kind == "pvc"
	if m.Node == "" && !unbound {
		return nil, fmt.Errorf("reach member %s: its pod is on no node", m.Name)
	}
	if err := shareable(m, o); err != nil {
		return nil, err
	}
	if err := c.Require(ctx, m.Namespace, Rights(Agent)); err != nil {
		return nil, err
	}
	l := &agentLink{clients: c, member: m, opts: o, endpoint: agentEndpoint(m, o)}
	if err := l.start(ctx); err != nil {
		return nil, errors.Join(err, Release(ctx, l))
	}
	return l, nil
}

// Release removes what a way made, although ctx may be over, but not for ever. Its error is a CleanupError.
func Release(ctx context.Context, made interface{ Close(context.Context) error }) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	if err := made.Close(ctx); err != nil {
		return &CleanupError{err}
	}
	return nil
}

// shareable refuses members whose files no other pod can see.
func shareable(m controlplane.Member, o Options) error {
	for _, v := range m.TLSVolumes {
		if holdsAny(v.MountPath, needed(m.ClientTLS, o.TLS)) && !v.Shareable() {
			return notPossible("the member's TLS files are in a volume (%s %s) that no other pod can mount", v.Kind, v.Name)
		}
	}
	if s := m.Socket(); s != "" && m.SocketVolume() == nil {
		return notPossible("etcd listens on the socket %s only, which is in no volume", s)
	} else if s != "" && !m.SocketVolume().Shareable() {
		return notPossible("etcd listens on the socket %s only, in a volume (%s %s) that no other pod can mount", s, m.SocketVolume().Kind, m.SocketVolume().Name)
	}
	if o.Data && (m.DataVolume == nil || !m.DataVolume.Shareable()) {
		return notPossible("the member's data directory %s is in no volume that another pod can mount", m.DataDir)
	}
	return nil
}

// agentEndpoint is how etcd looks from the utility pod: the loopback where the
// member shares the node's network, the pod's address elsewhere.
func agentEndpoint(m controlplane.Member, o Options) agentapi.Endpoint {
	e := agentapi.Endpoint{URL: m.PodEndpoint, ServerName: m.ServerName,
		Username: o.Username, Password: o.Password, Given: o.TLS}
	needed := func(t controlplane.TLSFiles) agentapi.Files { return agentapi.Files(needed(t, o.TLS)) }
	first := needed(m.ClientTLS)
	e.CA, e.Cert, e.Key = first.CA, first.Cert, first.Key
	for _, t := range m.ClientTLSAlternatives {
		e.Alternatives = append(e.Alternatives, needed(t))
	}
	if m.HostNetwork || e.URL == "" {
		e.URL = m.Endpoint
	}
	if o.ServerName != "" {
		e.ServerName = o.ServerName
	}
	return e
}

// start makes the ConfigMap and the pod, waits, and puts the agent there.
func (l *agentLink) start(ctx context.Context) error {
	arch, err := l.arch(ctx)
	if err != nil {
		return err
	}
	loader, err := manifests.Loader(arch)
	if err != nil {
		return err
	}
	bin, sum, err := manifests.Agent(arch)
	if err != nil {
		return err
	}
	l.sha256 = sum
	name := objectName(l.member)
	l.target = podexec.Target{Namespace: l.member.Namespace, Pod: name, Container: container}
	cm, err := l.clients.Core.ConfigMaps(l.member.Namespace).Create(ctx, loaderConfigMap(name, l.member, l.opts, loader), metav1.CreateOptions{})
	if err != nil {
		return refused("create ConfigMap", err)
	}
	l.opts.log("creating utility pod %s/%s on node %s", l.member.Namespace, name, l.member.Node)
	pod, err := l.clients.Core.Pods(l.member.Namespace).Create(ctx, utilityPod(name, cm, l.member, l.opts), metav1.CreateOptions{})
	if err != nil {
		return refused("create utility pod", err)
	}
	if pod.Spec.Containers[0].ImagePullPolicy == corev1.PullAlways {
		l.opts.log("this cluster pulls images at every start (AlwaysPullImages): the node's registry has to answer")
	}
	if err := l.waitRunning(ctx); err != nil {
		return err
	}
	if err := l.clients.Exec.Put(ctx, l.target, loaderPath, agentPath, bytes.NewReader(bin), int64(len(bin))); err != nil {
		return fmt.Errorf("put agent into utility pod %s: %w", name, err)
	}
	return nil
}

// refused marks what another way may get round: quota, PodSecurity and other admission.
func refused(what string, err error) error {
	err = fmt.Errorf("%s: %w", what, err)
	if apierrors.IsForbidden(err) || apierrors.IsInvalid(err) {
		return &NotPossible{Err: err}
	}
	return err
}

// arch is the node's. Users who may not read nodes get the most common one:
// a wrong guess is seen as an exec format error, before any data moves.
func (l *agentLink) arch(ctx context.Context) (string, error) {
	if l.member.Node == "" {
		l.opts.log("member %s is on no node yet; taking its node for amd64", l.member.Name)
		return "amd64", nil
	}
	node, err := l.clients.Core.Nodes().Get(ctx, l.member.Node, metav1.GetOptions{})
	if apierrors.IsForbidden(err) {
		l.opts.log("node %s cannot be read; taking it for amd64", l.member.Node)
		return "amd64", nil
	}
	if err != nil {
		return "", fmt.Errorf("read node %s: %w", l.member.Node, err)
	}
	for _, cond := range node.Status.Conditions {
		if cond.Type == corev1.NodeReady && cond.Status != corev1.ConditionTrue {
			return "", notPossible("node %s %w: %s", l.member.Node, ErrNotReady, cond.Message)
		}
	}
	return node.Status.NodeInfo.Architecture, nil
}

func (l *agentLink) waitRunning(whole context.Context) error {
	ctx, cancel := context.WithTimeout(whole, l.opts.StartTimeout)
	defer cancel()
	tick := time.NewTicker(150 * time.Millisecond)
	defer tick.Stop()
	last := "nothing yet"
	for {
		pod, err := l.clients.Core.Pods(l.target.Namespace).Get(ctx, l.target.Pod, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			return fmt.Errorf("wait for utility pod %s: it was deleted by someone else", l.target.Pod)
		case err != nil && ctx.Err() == nil:
			last = err.Error()
		case err == nil && running(pod):
			return nil
		case err == nil:
			if t := podTrouble(pod); strings.Contains(t, "exec format error") {
				return notPossible("utility pod %s on node %s does not start: the node is not of the architecture that was guessed; let the user read nodes (kubectl etcd backup --print-rbac)", l.target.Pod, l.member.Node)
			} else if t != "" {
				return notPossible("utility pod %s on node %s does not start: %s", l.target.Pod, l.member.Node, t)
			}
			last = describe(pod)
		}
		select {
		case <-ctx.Done():
			if whole.Err() != nil { // there was less time than a pod is given
				return fmt.Errorf("wait for utility pod %s on node %s: %w; last seen: %s", l.target.Pod, l.member.Node, context.Cause(whole), last)
			}
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return notPossible("wait for utility pod %s on node %s: %w %s; last seen: %s%s",
					l.target.Pod, l.member.Node, ErrLate, l.opts.StartTimeout, last, l.lastEvent(ctx))
			}
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func describe(p *corev1.Pod) string {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return strings.TrimSpace(c.Reason + " " + c.Message)
		}
	}
	for _, s := range p.Status.ContainerStatuses {
		if w := s.State.Waiting; w != nil {
			return strings.TrimSpace(w.Reason + " " + w.Message)
		}
	}
	return "phase " + string(p.Status.Phase)
}

// lastEvent is the kubelet's word on what holds the pod up, if it may be read.
func (l *agentLink) lastEvent(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	evs, err := l.clients.Core.Events(l.target.Namespace).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=" + l.target.Pod + ",type=Warning"})
	if err != nil || len(evs.Items) == 0 {
		return ""
	}
	return "; " + evs.Items[len(evs.Items)-1].Message
}

func (l *agentLink) Way() Way { return Agent }

func (l *agentLink) Query(ctx context.Context, q Question) (*agentapi.QueryReply, error) {
	var r agentapi.QueryReply
	return &r, l.call(ctx, agentapi.RequestQuery, q.request(l.endpoint), nil, nil, &r)
}

func (l *agentLink) Snapshot(ctx context.Context, compress bool, w io.Writer, progress func(agentapi.SnapshotProgress)) (*agentapi.SnapshotReply, error) {
	var r agentapi.SnapshotReply
	return &r, l.call(ctx, agentapi.RequestSnapshot, agentapi.SnapshotRequest{Endpoint: l.endpoint, Compress: compress}, w, progress, &r)
}

// Raw sends the database file of a member that does not run.
func (l *agentLink) Raw(ctx context.Context, compress bool, w io.Writer, progress func(agentapi.SnapshotProgress)) (*agentapi.SnapshotReply, error) {
	var r agentapi.SnapshotReply
	return &r, l.call(ctx, agentapi.RequestRaw, agentapi.RawRequest{DataDir: l.member.DataDir, Compress: compress}, w, progress, &r)
}

func (l *agentLink) Close(ctx context.Context) error {
	if l.target.Pod == "" {
		return nil
	}
	return Remove(ctx, l.clients, l.target.Namespace, l.target.Pod)
}

// Remove deletes a utility pod and its ConfigMap; what is gone already is fine.
func Remove(ctx context.Context, c *Clients, namespace, name string) error {
	opts := metav1.DeleteOptions{GracePeriodSeconds: ptr(int64(1))}
	var errs []error
	if err := c.Core.Pods(namespace).Delete(ctx, name, opts); err != nil && !apierrors.IsNotFound(err) {
		errs = append(errs, fmt.Errorf("delete utility pod %s/%s: %w", namespace, name, err))
	}
	if err := c.Core.ConfigMaps(namespace).Delete(ctx, name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		errs = append(errs, fmt.Errorf("delete ConfigMap %s/%s: %w", namespace, name, err))
	}
	return errors.Join(errs...)
}

// talk is how the agent in this pod is spoken with.
func (l *agentLink) talk() podexec.Talk {
	return l.clients.Exec.Talk(l.target, []string{agentPath}, l.sha256)
}

// call holds one proven conversation with the agent and decodes its reply.
func (l *agentLink) call(ctx context.Context, name string, body any, sink io.Writer, progress func(agentapi.SnapshotProgress), into any) error {
	reply, err := l.talk().Call(ctx, podexec.Request{Name: name, Body: body}, podexec.CallOptions{
		Sink: sink,
		Progress: func(raw json.RawMessage) {
			var p agentapi.SnapshotProgress
			if progress != nil && json.Unmarshal(raw, &p) == nil {
				progress(p)
			}
		},
	})
	if err != nil {
		return err
	}
	if err := json.Unmarshal(reply.Extra, into); err != nil {
		return fmt.Errorf("read the agent's reply to %s: %w", name, err)
	}
	return nil
}
