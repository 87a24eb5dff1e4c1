package operations

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/agentapi"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/await"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/datadir"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
)

// hotWorld is a world in which each member has a kubelet, so that what is killed is started again.
type hotWorld struct {
	*world
	kubelets []*kubelet
	ill      atomic.Bool // etcd does not come up on data that was exchanged in
	faults   []hotFault
}

// hotFault is what happens to one member's agent in the course of an exchange.
type hotFault struct {
	member string
	at     datadir.Point // told, or the order after it
	times  *atomic.Int32 // how often it still happens
	kind   string        // thaws, killed, deaf, client
}

func newHotWorld(t *testing.T, members int) *hotWorld {
	t.Helper()
	w := &hotWorld{world: newWorld(t, members)}
	for _, m := range w.etcd.Members {
		m.Shutdown(t)
	}
	for i, m := range w.etcd.Members {
		dir := w.plane().Members[i].DataDir
		k := newKubelet(t, m)
		k.may = func() bool {
			s, err := datadir.Inspect(t.Context(), datadir.Place{DataDir: dir})
			return !w.ill.Load() || err == nil && s.ClusterID == w.before.Cluster
		}
		k.start(nil)
		w.kubelets = append(w.kubelets, k)
	}
	w.healthy()
	return w
}

// healthy waits until all members serve.
func (w *hotWorld) healthy() {
	w.t.Helper()
	c := w.client(-1)
	err := await.Until(w.t.Context(), time.Minute, "all members are healthy", func(ctx context.Context) (string, bool, error) {
		s, err := c.Survey(ctx, w.plane(), false)
		if err != nil {
			return "", false, err
		}
		for _, m := range s.Members {
			if !m.Healthy {
				return m.Name + ": " + m.Error, false, nil
			}
		}
		return "", true, nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *hotWorld) pids() (out []int) {
	for _, k := range w.kubelets {
		out = append(out, k.process())
	}
	return out
}

// hotClient is a client of this world's Kubernetes, in which pods are real.
type hotClient struct {
	*client
	w *hotWorld
}

func (c hotClient) Pods(ctx context.Context, w site.Workload) ([]site.Pod, error) {
	if w != etcdSet {
		return c.client.Pods(ctx, w)
	}
	var out []site.Pod
	for i, m := range c.w.etcd.Members {
		k := c.w.kubelets[i]
		p := site.Pod{Name: m.Name, UID: types.UID(m.Name) + k.pod(), Ready: k.process() != 0}
		if !p.Ready {
			p.Backoff = map[string]time.Duration{c.w.plane().Members[i].Container: 10 * time.Second}
		}
		out = append(out, p)
	}
	return out, c.alive()
}

func (c hotClient) DeletePod(ctx context.Context, w site.Workload, p site.Pod, grace *int64) error {
	if w != etcdSet {
		return c.client.DeletePod(ctx, w, p, grace)
	}
	if err := c.alive(); err != nil {
		return err
	}
	for i, m := range c.w.etcd.Members {
		if m.Name == p.Name {
			c.w.kubelets[i].delete(p.UID[len(m.Name):], grace)
		}
	}
	return nil
}

func (c hotClient) Stage(ctx context.Context, m controlplane.Member, operation string) (site.Stage, error) {
	st, err := c.client.Stage(ctx, m, operation)
	if err != nil {
		return nil, err
	}
	return &hotPlace{st.(*place), c}, nil
}

type hotPlace struct {
	*place
	hc hotClient
}

// Hot has the faults of this world.
func (p *hotPlace) Hot(ctx context.Context, r datadir.HotRequest, orders <-chan datadir.Order, tell func(datadir.HotState)) (*datadir.Switched, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var f *hotFault
	for i := range p.hc.w.faults {
		if x := &p.hc.w.faults[i]; x.member == p.m.Name && x.times.Add(-1) >= 0 {
			f = x
		}
	}
	if f == nil {
		return p.place.Hot(ctx, r, orders, tell)
	}
	passed := make(chan datadir.Order, 2)
	go func() {
		defer close(passed)
		for o := range orders {
			switch {
			case f.kind == "deaf" && (o == datadir.OrderGo) == (f.at == datadir.Frozen):
				continue // the order gets lost
			case f.kind == "client" && (o == datadir.OrderGo) == (f.at == datadir.Frozen):
				p.c.kill()
			}
			passed <- o
		}
	}()
	done, err := p.place.Hot(ctx, r, passed, func(s datadir.HotState) {
		if s.Point == f.at && (f.kind == "thaws" || f.kind == "killed") {
			cancel()
			return
		}
		tell(s)
	})
	if f.kind == "killed" { // an agent that was ended thaws nothing
		for i, m := range p.hc.w.etcd.Members {
			if m.Name == p.m.Name {
				_ = syscall.Kill(p.hc.w.kubelets[i].process(), syscall.SIGSTOP)
			}
		}
	}
	return done, err
}

// operateHot is a hot restore of this world by a client.
func (w *hotWorld) operateHot(c *client) *restore.Run {
	w.t.Helper()
	return w.plan(hotClient{c, w}, "op1", false, 0, func(cfg *restore.Config) { cfg.Hot = true })
}

// againHot is another client that takes the operation up from its journal.
func (w *hotWorld) againHot() (*restore.Run, *client) {
	w.t.Helper()
	r, c := w.again()
	r.Cluster = hotClient{c, w}
	return r, c
}

// isHotRestored checks what a hot restore promises beyond any restore.
func (w *hotWorld) isHotRestored(r *restore.Run) {
	w.t.Helper()
	w.healthy()
	w.isRestored(r)
	for _, x := range []site.Workload{apiserver, chores} {
		if w.pods[x] != 0 {
			w.t.Errorf("pods of %s were deleted %d times", x, w.pods[x])
		}
	}
	// Of an outage that a killed client saw, nothing is claimed.
	unknown := r.Shared.OutageBegan.IsZero() && r.Shared.OutageEnded.IsZero()
	if !unknown && !r.Shared.OutageEnded.After(r.Shared.OutageBegan) {
		w.t.Errorf("outage from %v to %v", r.Shared.OutageBegan, r.Shared.OutageEnded)
	}
}

func (w *hotWorld) isAsBeforeHot() {
	w.t.Helper()
	w.healthy()
	w.isAsBefore()
}

// applications write through all members all the time; the longest silence between two acknowledged writes is the outage.
type applications struct {
	mu      sync.Mutex
	last    time.Time
	longest time.Duration
	acked   int
}

func (w *hotWorld) applications() *applications {
	a := &applications{last: time.Now()}
	ctx, stop := context.WithCancel(w.t.Context())
	var done sync.WaitGroup
	w.t.Cleanup(func() { stop(); done.Wait() })
	for i, m := range w.etcd.Members {
		client := m.Client(w.t)
		done.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				one, cancel := context.WithTimeout(ctx, time.Second)
				_, err := client.Put(one, fmt.Sprintf("/registry/applications-%d/%d", i, n%50), "x")
				cancel()
				if err == nil {
					a.acknowledged()
				}
			}
		})
	}
	return a
}

func (a *applications) acknowledged() {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	a.longest, a.last, a.acked = max(a.longest, now.Sub(a.last)), now, a.acked+1
}

func (a *applications) String() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return fmt.Sprintf("%d writes acknowledged, the longest silence was %v", a.acked, a.longest.Round(time.Millisecond))
}

// goOn waits for a write after that moment.
func (a *applications) goOn(t *testing.T, after time.Time) {
	t.Helper()
	err := await.Until(t.Context(), 20*time.Second, "an application writes again", func(context.Context) (string, bool, error) {
		a.mu.Lock()
		defer a.mu.Unlock()
		return fmt.Sprintf("the last of %d writes was %v before", a.acked, after.Sub(a.last)), a.last.After(after), nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (p *place) HotCheck(ctx context.Context) (*datadir.HotState, error) {
	return onNode(p, func() (*datadir.HotState, error) { return datadir.HotCheck(ctx, p.Place) })
}

func (p *place) Thaw(ctx context.Context) (*datadir.Thawed, error) {
	return onNode(p, func() (*datadir.Thawed, error) { return datadir.Thaw(ctx, p.Place) })
}

func (p *place) Note(ctx context.Context, journal []byte) error {
	_, err := onNode(p, func() (*datadir.Noted, error) {
		return datadir.Note(ctx, datadir.NoteRequest{Place: p.Place, Journal: journal})
	})
	return err
}

// EndPod: there are no pods.
func (p *place) EndPod(context.Context, string, time.Duration) (*agentapi.EndPodReply, error) {
	return nil, errors.New("there are no static pods")
}

// Hot is a conversation, which ends with its client.
func (p *place) Hot(ctx context.Context, r datadir.HotRequest, orders <-chan datadir.Order, tell func(datadir.HotState)) (*datadir.Switched, error) {
	r.Place = p.Place
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.c.ctx, cancel)()
	return onNode(p, func() (*datadir.Switched, error) { return datadir.Hot(ctx, r, orders, tell) })
}
