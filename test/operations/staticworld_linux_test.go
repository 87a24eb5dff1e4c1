package operations

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/await"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/datadir"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/operation"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/operation/operationtest"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/podexec"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore/static"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
)

// aloneFor is how long an agent of this world waits for its member's vote: less than on a cluster, since many tests wait until it is over.
const aloneFor = 8 * time.Second

// staticWorld is a world in which the journal lies in the etcd that is restored, and in which agents outlive their clients.
type staticWorld struct {
	*hotWorld
	journals map[string][]byte // by the cluster that has them
	agents   []*os.Process
	alone    time.Duration // aloneFor, mostly
}

func newStaticWorld(t *testing.T, members int) *staticWorld {
	t.Helper()
	w := &staticWorld{hotWorld: newHotWorld(t, members), journals: map[string][]byte{}, alone: aloneFor}
	t.Cleanup(w.endAgents)
	return w
}

func (w *staticWorld) plane() controlplane.ControlPlane {
	p := w.hotWorld.plane()
	p.Owner.Kind = "StaticPod"
	for i := range p.Members {
		p.Members[i].Node = p.Members[i].Name
	}
	return p
}

// serving is the cluster that has a majority of the members; "" is none.
func (w *staticWorld) serving(ctx context.Context) string {
	s, err := w.client(-1).Survey(ctx, w.plane(), false)
	if err != nil {
		return ""
	}
	healthy := map[string]int{}
	for _, m := range s.Members {
		if m.Healthy {
			id := m.Status.ClusterID.String()
			if healthy[id]++; healthy[id] > len(s.Members)/2 {
				return id
			}
		}
	}
	return ""
}

// staticClient is a client whose API servers lie on the etcd that it restores.
type staticClient struct {
	hotClient
	w *staticWorld
}

func (c staticClient) Plane(context.Context, string, string) (controlplane.ControlPlane, error) {
	return c.w.plane(), c.alive()
}

func (c staticClient) Journal(_ string, sh *site.Shared) plan.Journal { return staticJournal{c, sh} }

type staticJournal struct {
	c  staticClient
	sh *site.Shared
}

// Save waits until the API answers, and keeps the journal in whatever etcd that has then.
func (j staticJournal) Save(ctx context.Context, o *plan.Operation) error {
	if j.c.saves == 0 {
		j.c.kill()
	}
	return await.Until(ctx, time.Minute, "the journal is saved", func(ctx context.Context) (string, bool, error) {
		if err := j.c.alive(); err != nil {
			return "", false, await.Stop(err)
		}
		in := j.c.w.serving(ctx)
		if in == "" {
			return "no API server answers", false, nil
		}
		if err := (sharing{j.c.client, j.sh}).Save(ctx, o); err != nil {
			return "", false, await.Stop(err)
		}
		j.c.w.mu.Lock()
		defer j.c.w.mu.Unlock()
		j.c.w.journals[in] = j.c.w.saved
		return "", true, nil
	})
}

func (c staticClient) Stage(ctx context.Context, m controlplane.Member, operation string) (site.Stage, error) {
	st, err := c.client.Stage(ctx, m, operation)
	if err != nil {
		return nil, err
	}
	return &staticPlace{st.(*place), c.w}, nil
}

// staticPlace speaks with a real agent, which goes on when its client is gone.
type staticPlace struct {
	*place
	w *staticWorld
}

func (p *staticPlace) Hot(ctx context.Context, r datadir.HotRequest, orders <-chan datadir.Order, tell func(datadir.HotState)) (*datadir.Switched, error) {
	if err := p.c.alive(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.c.ctx, cancel)()
	r.Place = p.Place
	r.Peers = []string{relay(p.c.t, strings.TrimSuffix(strings.TrimPrefix(p.m.Endpoint, "unix://"), ".sock:0")+"-peer.sock:0")}
	talk := podexec.Talk{Runner: outliving{p.w, p.m.Name}, Timing: podexec.DefaultTiming}
	return reach.Hot(ctx, talk, r, orders, tell)
}

// relay is a TCP address of a socket: an agent asks over the network whether etcd serves its peers.
func relay(t *testing.T, socket string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer from.Close()
				to, err := net.Dial("unix", socket)
				if err != nil {
					return
				}
				defer to.Close()
				go func() { _, _ = io.Copy(to, from) }()
				_, _ = io.Copy(from, to)
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

// outliving runs an agent as a process. What ends with the client is the conversation only; the agent ends with its pod.
type outliving struct {
	w    *staticWorld
	node string
}

func (o outliving) String() string { return "node " + o.node }

func (o outliving) Run(ctx context.Context, cmd podexec.Cmd) error {
	agent := exec.Command(os.Args[0]) //nolint:noctx // it outlives its client
	agent.Env = append(os.Environ(), asAgent+"=1")
	agent.Stdout, agent.Stderr = cmd.Stdout, cmd.Stderr
	in, err := agent.StdinPipe()
	if err != nil {
		return err
	}
	o.w.mu.Lock()
	err = agent.Start()
	o.w.agents = append(o.w.agents, agent.Process)
	o.w.mu.Unlock()
	if err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(in, cmd.Stdin)
		in.Close()
	}()
	ended := make(chan error, 1)
	go func() { ended <- agent.Wait() }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		in.Close()
		return ctx.Err()
	}
}

// Unstage ends all agents, also those of a dead client.
func (c staticClient) Unstage(ctx context.Context, namespace, operation string) error {
	if err := c.alive(); err != nil {
		return err
	}
	c.w.endAgents()
	return c.client.Unstage(ctx, namespace, operation)
}

func (w *staticWorld) endAgents() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range w.agents {
		_ = a.Kill()
	}
	w.agents = nil
}

func (w *staticWorld) config(k staticClient) restore.Config {
	cfg := w.world.config(k)
	cfg.Plane = w.plane()
	cfg.Ways[restore.Static] = func(r *restore.Run) restore.Way { return static.NewIn(r, w.look, w.alone) }
	return cfg
}

// look finds no API servers and no controllers: what those do is shown where there are some.
func (w *staticWorld) look(ctx context.Context, r *restore.Run) (*restore.Scene, *site.Static, error) {
	s, err := r.Cluster.Survey(ctx, r.Plane, false)
	return &restore.Scene{Survey: s, Pods: restore.StaticPods(&corev1.Pod{})}, &site.Static{}, err
}

func (w *staticWorld) deps() site.Deps {
	_, core := operationtest.ServeMaps(w.t)
	return site.Deps{Clients: &reach.Clients{Core: core}, Report: silent{w.t}, Now: time.Now, Place: operation.Cluster{Core: core}}
}

func (w *staticWorld) operateStatic(c *client) *restore.Run {
	w.t.Helper()
	k := staticClient{hotClient{c, w.hotWorld}, w}
	r := restore.NewRun(w.deps(), k, w.config(k), nil, nil)
	if _, err := r.Prepare(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	r.Operation.ID, r.Shared.Token = "op1", "kubectl-etcd-op1"
	return r
}

// againStatic is another client: it finds the journal in the etcd that serves, or beside the data of a member.
func (w *staticWorld) againStatic() *restore.Run {
	w.t.Helper()
	o, err := w.found()
	if err != nil {
		w.t.Fatal(err)
	}
	sh, err := site.ReadShared(o)
	if err != nil {
		w.t.Fatal(err)
	}
	c := w.client(-1)
	k := staticClient{hotClient{c, w.hotWorld}, w}
	r := restore.NewRun(w.deps(), k, w.config(k), o, sh)
	if err := r.Prove(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	return r
}

// runnerIn keeps the journal where the operation's own cluster does.
func runnerIn(r *restore.Run) *plan.Runner {
	return site.NewPrepared(r.Site, r).Runner(r.Cluster.Journal("", r.Shared), nil)
}

func (w *staticWorld) found() (o *plan.Operation, err error) {
	err = await.Until(w.t.Context(), time.Minute, "the journal is found", func(ctx context.Context) (string, bool, error) {
		in := w.serving(ctx)
		if in == "" {
			return "no API server answers", false, nil
		}
		if text := w.journals[in]; text != nil {
			o = &plan.Operation{}
			return "", true, json.Unmarshal(text, o)
		}
		for _, m := range w.plane().Members {
			s, err := datadir.Inspect(ctx, datadir.Place{DataDir: m.DataDir, Op: "op1"})
			if err != nil {
				return "", false, err
			}
			if left, err := site.Noted(s); err != nil || len(left) > 0 {
				o = &left[0]
				return "", true, err
			}
		}
		return fmt.Sprintf("cluster %s has none, nor is one beside the data", in), false, nil
	})
	return o, err
}
