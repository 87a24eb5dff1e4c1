package operations

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/agent"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/agentapi"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/datadir"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/survey"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify/etcdtest"
)

const (
	testNamespace = "team-a"
	testSet       = "kube-etcd"
	beforeKey     = "/registry/before" // written before the snapshot
	afterKey      = "/registry/after"  // and after it
)

// world is a hosted control plane whose etcd is real, real processes on real
// data directories, and whose Kubernetes is what is here: replicas, budgets, a journal.
type world struct {
	t    *testing.T
	etcd *etcdtest.Cluster
	dir  string // of the snapshot

	mu       sync.Mutex
	replicas map[site.Workload]int32
	pods     map[site.Workload]int // how often its pods were made anew
	budgets  map[string]*policyv1.PodDisruptionBudget
	policy   *appsv1.StatefulSetPersistentVolumeClaimRetentionPolicy
	set      *appsv1.StatefulSet // nil while it is being recreated
	until    *string             // HyperShift's pausedUntil
	restored int64               // what API servers have read anew
	stale    int64               // and what one goes on serving until its pods have been made anew once more
	begun    int                 // how often they had been when it began
	saved    []byte              // the journal

	exclusive bool           // the volumes are one pod's at a time
	utility   map[string]int // utility pods that have a volume, by operation

	snapshot string
	before   facts
}

// facts are what an undo has to bring back.
type facts struct {
	Revision int64
	Hash     uint32
	Cluster  string
	Replicas map[string]int32
	Budgets  string
	Policy   string
	Pods     string // the StatefulSet's podManagementPolicy
	Until    *string
}

var (
	etcdSet   = site.Workload{Kind: "StatefulSet", Namespace: testNamespace, Name: testSet}
	apiserver = site.Workload{Kind: "StatefulSet", Namespace: testNamespace, Name: "kube-apiserver"}
	chores    = site.Workload{Kind: "Deployment", Namespace: testNamespace, Name: "maintenance"}
	manager   = site.Workload{Kind: "Deployment", Namespace: testNamespace, Name: "kube-controller-manager"}
)

// toolsFound: all worlds have etcdutl from the same folder, also those side by side.
var toolsFound sync.Once

func newWorld(t *testing.T, members int) *world {
	t.Helper()
	var err error
	b := etcdtest.Find(t, "3.6")
	toolsFound.Do(func() { err = os.Setenv("PATH", filepath.Dir(b.Etcd)+":"+os.Getenv("PATH")) })
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, dir: t.TempDir(), pods: map[site.Workload]int{}, utility: map[string]int{}, budgets: map[string]*policyv1.PodDisruptionBudget{}}
	w.etcd = etcdtest.StartCluster(t, etcdtest.Config{Binaries: slices.Repeat([]etcdtest.Binaries{b}, members)})
	w.replicas = map[site.Workload]int32{etcdSet: int32(members), apiserver: 3, chores: 1, manager: 1}
	w.budgets["kube-apiserver-pdb"] = &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Namespace: testNamespace, Name: "kube-apiserver-pdb", UID: "1"}}
	w.policy = &appsv1.StatefulSetPersistentVolumeClaimRetentionPolicy{WhenScaled: appsv1.DeletePersistentVolumeClaimRetentionPolicyType}
	w.set = &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Name: testSet, Namespace: testNamespace}, Spec: appsv1.StatefulSetSpec{PodManagementPolicy: appsv1.OrderedReadyPodManagement}}
	w.etcd.Put(t, beforeKey, "x")
	w.snapshot = filepath.Join(w.dir, "snapshot.db")
	w.save()
	w.etcd.Put(t, afterKey, "x")
	w.before = w.facts()
	return w
}

// save takes the snapshot.
func (w *world) save() {
	w.t.Helper()
	etcdtest.Tool(w.t, etcdtest.Find(w.t, "3.6").Etcdctl, "--endpoints", w.etcd.Members[0].Endpoint, "snapshot", "save", w.snapshot)
}

func (w *world) facts() facts {
	w.t.Helper()
	f := facts{Replicas: map[string]int32{}}
	ctx, cancel := context.WithTimeout(w.t.Context(), 30*time.Second)
	defer cancel()
	conn, err := etcd.Dial(ctx, etcd.Config{Endpoint: w.etcd.Members[0].Endpoint})
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close()
	s, err := conn.Status(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	h, err := conn.HashKV(ctx, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	f.Revision, f.Hash, f.Cluster = s.Revision, h.Hash, s.ClusterID.String()
	for k, n := range w.replicas {
		f.Replicas[k.String()] = n
	}
	f.Budgets, f.Policy = asJSON(slices.Sorted(maps.Keys(w.budgets))), asJSON(w.policy)
	if f.Until = w.until; w.set != nil {
		f.Pods = string(w.set.Spec.PodManagementPolicy)
	}
	return f
}

func asJSON(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}

// has tells whether a key is there.
func (w *world) has(key string) bool {
	w.t.Helper()
	r, err := w.etcd.Members[0].Client(w.t).Get(w.t.Context(), key)
	if err != nil {
		w.t.Fatal(err)
	}
	return len(r.Kvs) > 0
}

func (w *world) plane() controlplane.ControlPlane {
	p := controlplane.ControlPlane{Namespace: testNamespace, Name: testSet, Owner: controlplane.Owner{Kind: "StatefulSet", Name: testSet}}
	for _, m := range w.etcd.Members {
		member := controlplane.Member{Name: m.Name, Namespace: testNamespace, Pod: m.Name, PodName: m.Name, Endpoint: m.Endpoint}
		member.DataDir = filepath.Dir(filepath.Dir(filepath.Dir(m.DB)))
		member.AdvertisePeerURLs = []string{"unix://" + m.Name + "-peer.sock:0"}
		p.Members = append(p.Members, member)
	}
	return p
}

// client is one run of the command; it dies at a save of its journal.
type client struct {
	*world
	ctx   context.Context
	kill  context.CancelFunc
	saves int // how many it may still make; negative: all
}

// errDead is what a client that is no more gets to hear: like one that has lost its operation, it changes nothing any more.
var errDead = fmt.Errorf("%w: it was killed", plan.ErrAbandoned)

func (w *world) client(saves int) *client {
	ctx, kill := context.WithCancel(w.t.Context())
	w.t.Cleanup(kill)
	return &client{world: w, ctx: ctx, kill: kill, saves: saves}
}

// alive is asked by everything that reaches the world: the dead do nothing any more.
func (c *client) alive() error {
	if c.ctx.Err() != nil {
		return errDead
	}
	return nil
}

// Save implements plan.Journal. A client that dies here has not saved.
func (c *client) Save(_ context.Context, o *plan.Operation) error {
	if c.saves == 0 {
		c.kill()
	}
	if err := c.alive(); err != nil {
		return err
	}
	c.saves--
	b, err := json.Marshal(o)
	c.saved = b
	return err
}

// sharing keeps what the steps share in the operation, as the real journal does.
type sharing struct {
	*client
	sh *site.Shared
}

func (s sharing) Save(ctx context.Context, o *plan.Operation) error {
	var err error
	if o.Data, err = json.Marshal(s.sh); err != nil {
		return err
	}
	return s.client.Save(ctx, o)
}

func (c *client) Journal(_ string, sh *site.Shared) plan.Journal { return sharing{c, sh} }

func (c *client) Plane(context.Context, string, string) (controlplane.ControlPlane, error) {
	return c.plane(), c.alive()
}

func (c *client) Survey(ctx context.Context, p controlplane.ControlPlane, hashes bool) (*survey.Survey, error) {
	if err := c.alive(); err != nil {
		return nil, err
	}
	var sources []survey.Source
	for _, m := range p.Members {
		sources = append(sources, survey.Source{Member: m, Open: func(ctx context.Context) (reach.Link, error) {
			return reach.OpenDirect(ctx, reach.DirectConfig{Endpoint: m.Endpoint})
		}})
	}
	return survey.Take(ctx, sources, hashes)
}

// Backup takes none of what lives: the snapshot is there. A raw one is the file itself.
func (c *client) Backup(_ context.Context, p controlplane.ControlPlane, _, folder, member string, raw bool) (string, error) {
	if !raw {
		return c.snapshot, c.alive()
	}
	m, ok := p.Member(member)
	if !ok {
		return "", fmt.Errorf("no member %s", member)
	}
	b, err := os.ReadFile(filepath.Join(m.DataDir, "member", "snap", "db"))
	if err != nil {
		return "", err
	}
	file := filepath.Join(folder, "raw.db")
	return file, os.WriteFile(file, b, 0o600)
}

// Stage works on the data directory itself, with what the agent runs there.
func (c *client) Stage(_ context.Context, m controlplane.Member, operation string) (site.Stage, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.exclusive && c.replicas[etcdSet] > 0 {
		return nil, fmt.Errorf("the volume of member %s is etcd's alone", m.Name)
	}
	if err := c.alive(); err != nil {
		return nil, err
	}
	if c.exclusive {
		c.utility[operation]++
	}
	return &place{c: c, m: m, Place: datadir.Place{DataDir: m.DataDir, Op: operation}}, nil
}

func (c *client) Asker(_ context.Context, m controlplane.Member, _ string) (site.Stage, error) {
	return &place{c: c, m: m}, c.alive()
}

// Unstage removes all utility pods, also a dead client's.
func (c *client) Unstage(_ context.Context, _, operation string) error {
	if err := c.alive(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.utility, operation)
	return nil
}

type place struct {
	datadir.Place // none of an asker
	c             *client
	m             controlplane.Member
}

func (p *place) Alive(context.Context) bool   { return true }
func (p *place) Follow(m controlplane.Member) { p.m = m }
func (p *place) Close(context.Context) error  { return p.c.alive() }
func (p *place) Inspect(ctx context.Context) (*datadir.State, error) {
	return onNode(p, func() (*datadir.State, error) { return datadir.Inspect(ctx, p.Place) })
}

func (p *place) InspectKept(ctx context.Context) (*datadir.State, error) {
	return onNode(p, func() (*datadir.State, error) { return datadir.Inspect(ctx, p.Kept()) })
}

// onNode does nothing for a dead client.
func onNode[R any](p *place, f func() (*R, error)) (*R, error) {
	if err := p.c.alive(); err != nil {
		return nil, err
	}
	return f()
}

func (p *place) Prepare(ctx context.Context, size int64) (*datadir.Prepared, error) {
	return onNode(p, func() (*datadir.Prepared, error) { return datadir.Prepare(ctx, p.Place, size) })
}

func (p *place) Upload(ctx context.Context, src reach.Content, _ func(done, total int64)) error {
	to, err := p.Prepare(ctx, src.Size)
	if err != nil || to.Built != nil {
		return err
	}
	var b bytes.Buffer
	if _, err := io.Copy(&b, io.NewSectionReader(src.Plain, 0, src.Size)); err != nil {
		return err
	}
	return os.WriteFile(to.Path, b.Bytes(), 0o600)
}

func (p *place) Build(ctx context.Context, r datadir.BuildRequest, _ func(string)) (*datadir.Built, error) {
	r.Place = p.Place
	return onNode(p, func() (*datadir.Built, error) { return datadir.Build(ctx, r, func(string) {}) })
}

func (p *place) Exchange(ctx context.Context, r datadir.ExchangeRequest) (*datadir.Exchanged, error) {
	r.Place = p.Place
	return onNode(p, func() (*datadir.Exchanged, error) { return datadir.Exchange(ctx, r) })
}

func (p *place) Discard(ctx context.Context, op string) (int64, error) {
	d, err := onNode(p, func() (*datadir.Discarded, error) {
		return datadir.Discard(ctx, datadir.Place{DataDir: p.DataDir, Op: op})
	})
	if err != nil {
		return 0, err
	}
	return d.Freed, nil
}

func (p *place) Drop(ctx context.Context, r datadir.DropRequest) (*datadir.Discarded, error) {
	r.Place = p.Place
	return onNode(p, func() (*datadir.Discarded, error) { return datadir.Drop(ctx, r) })
}

func (p *place) Puts(ctx context.Context, _ time.Duration) (string, int64, error) {
	conn, err := etcd.Dial(ctx, etcd.Config{Endpoint: p.m.Endpoint})
	if err != nil {
		return "", 0, err
	}
	defer conn.Close()
	return conn.Puts(ctx, 100*time.Millisecond)
}

// KubeSystemUIDs is what the agent does.
func (p *place) KubeSystemUIDs(ctx context.Context, prefixes []string) (map[string]string, error) {
	conn, err := etcd.Dial(ctx, etcd.Config{Endpoint: p.m.Endpoint})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := p.c.alive(); err != nil {
		return nil, err
	}
	return agent.KubeSystemUIDs(ctx, conn, prefixes)
}

// Disarm is what the agent does.
func (p *place) Disarm(ctx context.Context, corrupt bool) (*agentapi.DisarmReply, error) {
	conn, err := etcd.Dial(ctx, etcd.Config{Endpoint: p.m.Endpoint})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := p.c.alive(); err != nil {
		return nil, err
	}
	return agent.Disarm(ctx, conn, corrupt)
}
