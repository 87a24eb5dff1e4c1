package reach

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/agentapi"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/podexec"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify"
)

const (
	apiContainer = "apiserver"
	// nobody is who has no rights of his own anywhere.
	nobody int64 = 65532
	// apiMemory bounds an API server that keeps no objects.
	apiMemory = "2Gi"
)

// OpenRequest is what is opened in a pod.
type OpenRequest struct {
	Snapshot io.ReaderAt    // compressed or not
	Size     int64          // of that, in bytes
	Report   *verify.Report // of it: it has been proven
	// Prefix is what the control plane's keys start with.
	Prefix string
	// EncryptionConfig is an EncryptionConfiguration; empty: there is none.
	EncryptionConfig io.ReaderAt
	EncryptionSize   int64
	// Progress is told how many bytes of the snapshot are in the pod; nil is silent.
	Progress func(done, total int64)
}

// Opened is an etcd and an API server on a snapshot, in a pod. It has nothing of the control plane's but its images.
type Opened struct {
	Etcd agentapi.ServedEtcd
	API  agentapi.ServedAPI

	link   *agentLink
	held   context.Context // as long as both run
	cancel context.CancelCauseFunc
	ended  chan error
}

// OpenSnapshot brings a snapshot up in a utility pod: its etcd with the image of member m, its API server with that of a, in two
// containers that share a folder. Both end with their client. ctx is for the start only.
func OpenSnapshot(ctx context.Context, c *Clients, m controlplane.Member, a controlplane.APIServer, o Options, r OpenRequest, step func(string)) (_ *Opened, err error) {
	o.Operation, o.scratch, o.apiServer = "open", r.Report.Room(), &a
	if err := c.Require(ctx, m.Namespace, []Right{{Verb: "create", Resource: "pods", Subresource: "portforward"}, {Verb: "get", Resource: "pods", Subresource: "portforward"}}); err != nil {
		return nil, err
	}
	m.TLSVolumes, m.HostNetwork = nil, false // none of its business
	// The two share a folder that only its owner enters: they are one user, whatever their images say, and nothing of the member's
	// needs its.
	m.RunAsUser, m.RunAsGroup, m.FSGroup, m.SupplementalGroups = ptr(nobody), ptr(nobody), nil, nil
	link, err := openAgent(ctx, c, m, o)
	if err != nil {
		return nil, err
	}
	x := &Opened{link: link.(*agentLink), ended: make(chan error, 3)}
	x.held, x.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	defer context.AfterFunc(ctx, func() { x.cancel(ctx.Err()) })()
	defer func() {
		if err != nil {
			err = errors.Join(err, Release(ctx, x))
		}
	}()
	if err := x.start(ctx, r, step); err != nil {
		return nil, err
	}
	return x, nil
}

func (x *Opened) start(ctx context.Context, r OpenRequest, step func(string)) error {
	beside := x.link.target
	beside.Container = apiContainer
	api := x.link.clients.Exec.Talk(beside, []string{agentPath}, x.link.sha256)
	// A container in which nothing runs ends after five minutes; what comes first may take longer.
	if _, err := hold[struct{}](x.held, api, podexec.Request{Name: agentapi.RequestHold}, step, x); err != nil {
		return cause(ctx, x.held, err)
	}
	step("upload")
	path, encryption := scratchDir+"/snapshot.db", ""
	if _, err := x.link.talk().CopyTo(ctx, r.Snapshot, r.Size, path, podexec.CopyOptions{Progress: r.Progress}); err != nil {
		return err
	}
	if r.EncryptionConfig != nil {
		encryption = scratchDir + "/encryption.yaml"
		if _, err := x.link.talk().CopyTo(ctx, r.EncryptionConfig, r.EncryptionSize, encryption, podexec.CopyOptions{}); err != nil {
			return err
		}
	}
	etcd, err := hold[agentapi.ServedEtcd](x.held, x.link.talk(), podexec.Request{Name: agentapi.RequestServeEtcd,
		Body: agentapi.ServeEtcdRequest{Path: path, Raw: r.Report.Raw, AuthEnabled: r.Report.AuthEnabled, DBSize: r.Report.DBSize}}, step, x)
	if err != nil {
		return cause(ctx, x.held, err)
	}
	x.Etcd = *etcd
	step("API server")
	served, err := hold[agentapi.ServedAPI](x.held, api, podexec.Request{Name: agentapi.RequestServeAPI,
		Body: agentapi.ServeAPIRequest{Etcd: x.Etcd, Prefix: r.Prefix, EncryptionConfig: encryption}}, step, x)
	if err != nil {
		return cause(ctx, x.held, err)
	}
	x.API = *served
	return nil
}

// cause prefers why the whole was given up, and why what came first has ended.
func cause(ctx, held context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if held.Err() != nil {
		return context.Cause(held)
	}
	return err
}

// hold begins a conversation that lasts as long as what it serves, and returns when that is ready. Whichever ends first ends all.
func hold[T any](ctx context.Context, talk podexec.Talk, r podexec.Request, step func(string), x *Opened) (*T, error) {
	ready, over := make(chan *T, 1), make(chan error, 1)
	go func() {
		_, err := talk.Call(ctx, r, podexec.CallOptions{Progress: func(raw json.RawMessage) {
			var s agentapi.Serving[T]
			switch err := json.Unmarshal(raw, &s); {
			case err != nil:
			case s.Served != nil:
				ready <- s.Served
			default:
				step(s.Step)
			}
		}})
		if err == nil {
			err = errors.New("the agent has ended it")
		}
		over <- err
	}()
	select {
	case served := <-ready:
		go func() {
			err := <-over
			x.ended <- err
			x.cancel(err)
		}()
		return served, nil
	case err := <-over:
		return nil, err
	}
}

// Ended receives why one of them ended.
func (x *Opened) Ended() <-chan error { return x.ended }

// Forward carries connections of a listener on this machine to the API server, until the listener is closed.
func (x *Opened) Forward(l net.Listener) {
	dial := PodDialer(x.link.clients, x.link.target.Namespace, x.link.target.Pod, x.API.Port)
	for {
		here, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer func() { _ = here.Close() }()
			there, err := dial(x.held, "", "")
			if err != nil {
				x.link.opts.log("%v", err)
				return
			}
			defer func() { _ = there.Close() }()
			done := make(chan struct{}, 2)
			for _, way := range [][2]net.Conn{{here, there}, {there, here}} {
				go func() { _, _ = io.Copy(way[0], way[1]); done <- struct{}{} }()
			}
			<-done // the other one ends with the connections
		}()
	}
}

// Close ends both and removes the pod.
func (x *Opened) Close(ctx context.Context) error {
	x.cancel(context.Canceled)
	return x.link.Close(ctx)
}

// withAPIServer gives the pod a second container with the image of an API server. Where that is not on the node, it is pulled there.
func withAPIServer(pod *corev1.Pod, a *controlplane.APIServer) {
	c := *pod.Spec.Containers[0].DeepCopy()
	c.Name, c.Image = apiContainer, a.Image
	if a.Node == pod.Spec.NodeName {
		c.ImagePullPolicy = corev1.PullNever
	}
	c.Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse(apiMemory)}
	pod.Spec.Containers = append(pod.Spec.Containers, c)
}
