package operations

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/agent"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/agentapi"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/datadir"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/member"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/survey"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify/etcdtest"
)

// replaceWorld is a world of three members, one of which has a kubelet: that is the one to be replaced.
type replaceWorld struct {
	*world
	x       *etcdtest.Member
	others  []*etcdtest.Member
	pids    []int // of the others, which never restart
	kubelet *kubelet
	static  bool // kubelets run the members from files: nobody deletes a pod
}

type hostedConfig struct {
	static bool
	minor  string
	etcd   etcdtest.Config
	leader bool     // the leader is replaced
	args   []string // of the replaced member's pod
}

func newReplaceWorld(t *testing.T, cfg hostedConfig) *replaceWorld {
	t.Helper()
	b := etcdtest.Find(t, cfg.minor)
	cfg.etcd.Binaries = []etcdtest.Binaries{b, b, b}
	w := &world{t: t, dir: t.TempDir(), pods: map[site.Workload]int{}, budgets: map[string]*policyv1.PodDisruptionBudget{}, replicas: map[site.Workload]int32{etcdSet: 3}}
	w.etcd = etcdtest.StartCluster(t, cfg.etcd)
	h := &replaceWorld{world: w, x: w.etcd.Followers(t)[0], static: cfg.static}
	if cfg.leader {
		h.x = w.etcd.Leader(t)
	}
	w.etcd.Put(t, beforeKey, "x")
	leader := w.etcd.Leader(t)
	for _, m := range w.etcd.Members {
		if m != h.x {
			h.others, h.pids = append(h.others, m), append(h.pids, m.Process().Pid)
		}
	}
	h.x.Shutdown(t)
	h.kubelet = startKubelet(t, h.x, cfg.args)
	if cfg.leader { // it was, and is made it again
		h.lead(t)
	} else if leader == h.x {
		t.Fatal("a follower leads")
	}
	return h
}

// lead makes the member to be replaced the leader.
func (h *replaceWorld) lead(t *testing.T) {
	t.Helper()
	h.x.Wait(t)
	leader := h.etcd.Leader(t) // of the others: the kubelet's process is none of the cluster's
	s, err := h.x.Client(t).Status(t.Context(), h.x.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := leader.Client(t).MoveLeader(t.Context(), s.Header.MemberId); err != nil {
		t.Fatal(err)
	}
}

// leads tells whether the member to be replaced is the leader.
func (h *replaceWorld) leads(t *testing.T) bool {
	t.Helper()
	s, err := h.x.Client(t).Status(t.Context(), h.x.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	return s.Leader == s.Header.MemberId
}

// hostedClient is a client of this world's Kubernetes, in which one pod is real.
type hostedClient struct {
	*client
	h *replaceWorld
}

func (c hostedClient) Plane(context.Context, string, string) (controlplane.ControlPlane, error) {
	return c.h.controlPlane(), c.alive()
}

func (h *replaceWorld) controlPlane() controlplane.ControlPlane {
	p := h.plane()
	for i, m := range h.etcd.Members {
		p.Members[i].AdvertisePeerURLs = []string{m.PeerURL}
		if h.static {
			p.Owner.Kind, p.Members[i].Object = "StaticPod", h.mirror(m.Name)
		}
	}
	return p
}

// mirror is what the API has of a static pod.
func (h *replaceWorld) mirror(name string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{"kubernetes.io/config.mirror": "hash-of-" + name}}, Spec: corev1.PodSpec{NodeName: name}}
}

func (c hostedClient) Stage(ctx context.Context, m controlplane.Member, operation string) (site.Stage, error) {
	st, err := c.client.Stage(ctx, m, operation)
	if err != nil {
		return nil, err
	}
	return &hostedPlace{st.(*place), c.h}, nil
}

// hostedPlace is on the node of the replaced member, or of another.
type hostedPlace struct {
	*place
	h *replaceWorld
}

// EndPod ends the process that the replaced member's kubelet has started.
func (p *hostedPlace) EndPod(_ context.Context, hash string, _ time.Duration) (*agentapi.EndPodReply, error) {
	return onNode(p.place, func() (*agentapi.EndPodReply, error) {
		if !p.h.static || p.m.Name != p.h.x.Name || hash != "hash-of-"+p.h.x.Name {
			return nil, fmt.Errorf("pod %s was ended on the node of member %s", hash, p.m.Name)
		}
		pid := p.h.kubelet.process()
		if pid == 0 {
			return &agentapi.EndPodReply{}, nil
		}
		return &agentapi.EndPodReply{PIDs: []int{pid}}, syscall.Kill(pid, syscall.SIGKILL)
	})
}

func (c hostedClient) Pods(_ context.Context, w site.Workload) ([]site.Pod, error) {
	var out []site.Pod
	for _, m := range c.h.etcd.Members {
		p := site.Pod{Name: m.Name, UID: "of-" + types.UID(m.Name), Ready: true}
		if m == c.h.x {
			p.UID = c.h.kubelet.pod()
		}
		out = append(out, p)
	}
	return out, c.alive()
}

func (c hostedClient) DeletePod(_ context.Context, _ site.Workload, p site.Pod, grace *int64) error {
	if err := c.alive(); err != nil {
		return err
	}
	if p.Name != c.h.x.Name || c.h.static {
		return fmt.Errorf("the pod of %s, which is another member, was deleted", p.Name)
	}
	c.h.kubelet.delete(p.UID, grace)
	return nil
}

func (c hostedClient) Log(_ context.Context, _, pod, _ string, _ time.Time) (string, error) {
	if pod == c.h.x.Name {
		b, err := os.ReadFile(c.h.kubelet.log.Name())
		return string(b), errors.Join(err, c.alive())
	}
	for _, m := range c.h.others {
		if m.Name == pod {
			return m.Log(), c.alive()
		}
	}
	return "", fmt.Errorf("there is no pod %s", pod)
}

func (c hostedClient) Survey(ctx context.Context, p controlplane.ControlPlane, hashes bool) (*survey.Survey, error) {
	if err := c.alive(); err != nil {
		return nil, err
	}
	var sources []survey.Source
	for _, m := range p.Members {
		d := reach.DirectConfig{Endpoint: m.Endpoint}
		if f := c.etcd.TLS; f != nil {
			d.CA, d.Cert, d.Key = f.CA, f.Cert, f.Key
		}
		sources = append(sources, survey.Source{Member: m, Open: func(ctx context.Context) (reach.Link, error) { return reach.OpenDirect(ctx, d) }})
	}
	return survey.Take(ctx, sources, hashes)
}

func (p *place) Seed(ctx context.Context, r datadir.SeedRequest) (*datadir.Built, error) {
	r.Place = p.Place
	return onNode(p, func() (*datadir.Built, error) { return datadir.Seed(ctx, r, func(string) {}) })
}

func (p *place) Membership(ctx context.Context, of controlplane.Member, r agentapi.MembershipRequest) (*agentapi.MembershipReply, error) {
	return onNode(p, func() (*agentapi.MembershipReply, error) {
		cfg := etcd.Config{Endpoint: of.Endpoint}
		if f := p.c.etcd.TLS; f != nil {
			var err error
			if cfg.TLS, err = etcd.ReadTLS(f.CA, f.Cert, f.Key); err != nil {
				return nil, err
			}
		}
		conn, err := etcd.Dial(ctx, cfg)
		if err != nil {
			return nil, err
		}
		defer conn.Close()
		return agent.Membership(ctx, conn, r)
	})
}

// replace plans the replacement as a client does.
func (h *replaceWorld) replace(c *client) (*member.Replacement, error) {
	cfg := member.Config{Target: site.Target{Plane: h.controlPlane(), Timeout: 30 * time.Second}, Members: []string{h.x.Name}}
	r := member.New(site.Deps{Report: silent{h.t}, Now: time.Now}, hostedClient{c, h}, cfg.Target, nil, nil)
	named, err := site.Chosen(r.Plane, cfg.Members)
	if err != nil {
		return nil, err
	}
	m := named[0]
	s, err := r.Cluster.Survey(h.t.Context(), r.Plane, false)
	if err != nil {
		return nil, err
	}
	if err := r.Plan(m, s, func() error {
		if h.static {
			r.Shared.Replace.Pod = new(site.StaticPodOf(m.Object))
			return nil
		}
		r.Shared.StatefulSet, r.Shared.Replicas = testSet, 3
		return nil
	}); err != nil {
		return nil, err
	}
	r.Operation.ID = "op1"
	return r, nil
}

// goOn is another client that takes the operation up from its journal.
func (h *replaceWorld) goOn() (*member.Replacement, *client) {
	h.t.Helper()
	o := &plan.Operation{}
	if err := json.Unmarshal(h.saved, o); err != nil {
		h.t.Fatal(err)
	}
	sh, err := site.ReadShared(o)
	if err != nil {
		h.t.Fatal(err)
	}
	c := h.client(-1)
	return member.New(site.Deps{Report: silent{h.t}, Now: time.Now}, hostedClient{c, h}, site.Target{Plane: h.controlPlane(), Timeout: 30 * time.Second}, o, sh), c
}

// isReplaced checks what a replacement promises.
func (h *replaceWorld) isReplaced(r *member.Replacement) {
	h.t.Helper()
	for i, m := range h.others {
		if m.Process().Pid != h.pids[i] || m.Process().Signal(syscall.Signal(0)) != nil {
			h.t.Errorf("member %s was restarted", m.Name)
		}
	}
	h.x.Wait(h.t)
	list, err := h.others[0].Client(h.t).MemberList(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	var names []string
	for _, m := range list.Members {
		names = append(names, m.Name)
		if m.Name == h.x.Name && (strconv.FormatUint(m.ID, 16) != r.Shared.Replace.ID || !slices.Equal(m.PeerURLs, []string{h.x.PeerURL})) || m.IsLearner {
			h.t.Errorf("listed is %v, the new one is %s", m, r.Shared.Replace.ID)
		}
	}
	slices.Sort(names)
	if strings.Join(names, ",") != "m1,m2,m3" {
		h.t.Errorf("the members are %v", names)
	}
	got, err := h.x.Client(h.t).Get(h.t.Context(), beforeKey)
	if err != nil || len(got.Kvs) != 1 {
		h.t.Errorf("%v, %v", got, err)
	}
	s, err := r.Cluster.Survey(h.t.Context(), h.controlPlane(), true)
	if err != nil || !s.Healthy() || s.Consistency != survey.Equal || s.ClusterID.String() != r.Shared.OldClusterID {
		h.t.Errorf("%+v, %v", s, err)
	}
	h.oldData(r)
}

// oldData is beside the new where there was any.
func (h *replaceWorld) oldData(r *member.Replacement) {
	h.t.Helper()
	m := r.Shared.Members[0]
	info, err := os.Stat(filepath.Join(h.volume(), ".kubectl-etcd", r.Operation.ID, "data", "member"))
	switch {
	case r.Shared.Replace.Joined:
	case m.HadData && err != nil:
		h.t.Errorf("the old data is not there: %v", err)
	case m.HadData && info.Sys().(*syscall.Stat_t).Ino != m.OldInode:
		h.t.Errorf("the old data is another folder")
	case !m.HadData && err == nil:
		h.t.Errorf("there is old data where there was none")
	}
}

// volume is the replaced member's data directory.
func (h *replaceWorld) volume() string { return filepath.Dir(filepath.Dir(filepath.Dir(h.x.DB))) }

// writer writes through the other members until it is stopped; each write has to succeed.
type writer struct {
	stop   context.CancelFunc
	done   sync.WaitGroup
	acked  atomic.Int64
	longer atomic.Int64 // the longest, ns
	mu     sync.Mutex
	failed []error
}

func (h *replaceWorld) write(t *testing.T) *writer {
	ctx, stop := context.WithCancel(context.Background())
	w := &writer{stop: stop}
	t.Cleanup(w.end)
	for i, m := range h.others {
		client := m.Client(t)
		w.done.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				one, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
				start := time.Now()
				_, err := client.Put(one, fmt.Sprintf("/registry/writer-%d/%d", i, n%50), strings.Repeat("x", 100))
				cancel()
				if took := time.Since(start).Nanoseconds(); took > w.longer.Load() {
					w.longer.Store(took)
				}
				if err != nil {
					w.mu.Lock()
					w.failed = append(w.failed, err)
					w.mu.Unlock()
					continue
				}
				w.acked.Add(1)
			}
		})
	}
	return w
}

func (w *writer) end() { w.stop(); w.done.Wait() }

// neverFailed ends the writer.
func (w *writer) neverFailed(t *testing.T) {
	t.Helper()
	w.failedAtMost(t, 0)
}

// failedAtMost ends the writer. etcd drops what reaches a leader while it hands over, and says so when the write's time is
// up: one at most from each that writes, since each has one write under way.
func (w *writer) failedAtMost(t *testing.T, dropped int) {
	t.Helper()
	w.end()
	t.Logf("%d writes were acknowledged, the longest took %v", w.acked.Load(), time.Duration(w.longer.Load()).Round(time.Millisecond))
	if w.acked.Load() == 0 || len(w.failed) > dropped {
		t.Errorf("%d writes failed: %v", len(w.failed), w.failed)
	}
	for _, err := range w.failed {
		if !strings.Contains(err.Error(), "request timed out") && !strings.Contains(err.Error(), "leader changed") {
			t.Errorf("a write failed: %v", err)
		}
	}
}
