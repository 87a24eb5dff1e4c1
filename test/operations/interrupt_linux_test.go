package operations

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	appsv1 "k8s.io/api/apps/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/member"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/operation"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/operation/operationtest"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore/hosted"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore/hosting"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore/hot"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/userapi"
)

type silent struct{ t *testing.T }

func (silent) Begin(plan.Step, bool)         {}
func (silent) End(plan.Step, bool, error)    {}
func (silent) Step(string, ...any)           {}
func (s silent) Warn(f string, a ...any)     { s.t.Logf("warning: "+f, a...) }
func (silent) Progress(string, int64, int64) {}

// operate is a restore of this world by a client.
func (w *world) operate(c *client) *restore.Run { return w.operateAs(c, "op1", false, 0) }

// operateWith is one for which the user has chosen something else.
func (w *world) operateWith(c *client, change func(*restore.Config)) *restore.Run {
	return w.plan(c, "op1", false, 0, change)
}

func (w *world) operateAs(c *client, id string, raw bool, seen int64) *restore.Run {
	return w.plan(c, id, raw, seen, func(*restore.Config) {})
}

// kubernetes is all that a restore does to the world.
type kubernetes interface {
	site.Cluster
	hosted.Workloads
	restore.API
}

func (w *world) plan(c kubernetes, id string, raw bool, seen int64, change func(*restore.Config)) *restore.Run {
	w.t.Helper()
	_, core := operationtest.ServeMaps(w.t)
	cfg := w.config(c)
	cfg.Raw = raw
	change(&cfg)
	r := restore.NewRun(site.Deps{Clients: &reach.Clients{}, Report: silent{w.t}, Now: time.Now, Place: operation.Cluster{Core: core}}, c, cfg, nil, nil)
	if _, err := r.Prepare(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	r.Operation.ID, r.Shared.Token, r.Shared.Highest = id, "kubectl-etcd-"+id, max(r.Shared.Highest, seen)
	return r
}

// find is what looking at this world finds.
func (w *world) find(ctx context.Context, r *restore.Run) (*restore.Scene, *hosting.Found, error) {
	sv, err := r.Cluster.Survey(ctx, r.Plane, false)
	if err != nil {
		return nil, nil, err
	}
	h := &hosting.Found{Recreate: true, Hosted: &site.HostedCluster{Cluster: "clusters/a", ControlPlane: testNamespace + "/a"}, Budgets: []policyv1.PodDisruptionBudget{*w.budgets["kube-apiserver-pdb"]},
		Set: &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Name: testSet}, Spec: appsv1.StatefulSetSpec{Replicas: new(int32(len(w.etcd.Members))), PersistentVolumeClaimRetentionPolicy: w.policy}}}
	sc := &restore.Scene{Survey: sv, Pods: restore.PodsOf(h.Set), Controllers: []controlplane.Writer{{Kind: manager.Kind, Namespace: manager.Namespace, Name: manager.Name, Replicas: 1}}}
	if !r.Config.Hot { // a hot restore starts no API server, and this world's read nothing anew by themselves
		sc.Access = &userapi.Access{Servers: []userapi.Server{{Object: testNamespace + "/StatefulSet/kube-apiserver", Port: 6443}}}
	}
	for _, x := range []site.Workload{apiserver, chores} {
		sc.Writers = append(sc.Writers, controlplane.Writer{Kind: x.Kind, Namespace: x.Namespace, Name: x.Name, Replicas: w.replicas[x]})
	}
	if w.exclusive {
		sc.Exclusive = "data-" + testSet + "-0"
	}
	return sc, h, nil
}

// again is another client that takes the operation up from its journal.
func (w *world) again() (*restore.Run, *client) {
	w.t.Helper()
	o := &plan.Operation{}
	if err := json.Unmarshal(w.saved, o); err != nil {
		w.t.Fatal(err)
	}
	sh, err := site.ReadShared(o)
	if err != nil {
		w.t.Fatal(err)
	}
	c := w.client(-1)
	r := restore.NewRun(site.Deps{Report: silent{w.t}, Now: time.Now}, c, w.config(c), o, sh)
	if err := r.Prove(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	return r, c
}

func (w *world) config(k kubernetes) restore.Config {
	ways := restore.Ways{
		restore.Cold: func(r *restore.Run) restore.Way { return hosted.NewIn(r, k, w.find) },
		restore.Hot:  func(r *restore.Run) restore.Way { return hot.NewIn(r, w.find) },
	}
	return restore.Config{Ways: ways, Target: site.Target{Plane: w.plane(), Timeout: 30 * time.Second}, From: w.snapshot, Bump: -1, FromOtherCluster: true, Safety: w.dir}
}

// isRestored checks what a restore promises.
func (w *world) isRestored(r *restore.Run) {
	w.t.Helper()
	for _, m := range w.etcd.Members {
		m.Wait(w.t)
	}
	f := w.facts()
	if f.Cluster != r.Shared.ClusterID || f.Cluster == w.before.Cluster || f.Revision <= w.before.Revision {
		w.t.Errorf("cluster %s at revision %d; it was %s at %d", f.Cluster, f.Revision, w.before.Cluster, w.before.Revision)
	}
	if !w.has(beforeKey) || w.has(afterKey) {
		w.t.Errorf("key before the snapshot: %t, after it: %t", w.has(beforeKey), w.has(afterKey))
	}
	if asJSON(f.Replicas) != asJSON(w.before.Replicas) || f.Budgets != w.before.Budgets || f.Policy != w.before.Policy || f.Pods != w.before.Pods || f.Until != w.before.Until {
		w.t.Errorf("left %+v, was %+v", f, w.before)
	}
	for _, m := range w.plane().Members {
		if _, err := os.Stat(filepath.Join(m.DataDir, ".kubectl-etcd", r.Operation.ID, "data", "member", "snap", "db")); err != nil {
			w.t.Errorf("the old data is not there: %v", err)
		}
	}
}

// isAsBefore checks what an undo promises.
func (w *world) isAsBefore() {
	w.t.Helper()
	for _, m := range w.etcd.Members {
		m.Wait(w.t)
	}
	if f := w.facts(); asJSON(f) != asJSON(w.before) {
		w.t.Errorf("left %+v, was %+v", f, w.before)
	}
	for _, m := range w.plane().Members {
		if _, err := os.Stat(filepath.Join(m.DataDir, ".kubectl-etcd")); !errors.Is(err, fs.ErrNotExist) {
			left, _ := filepath.Glob(filepath.Join(m.DataDir, ".kubectl-etcd", "*", "*"))
			w.t.Errorf("something was left on the volume of %s: %q, %v", m.Name, left, err)
		}
	}
}

// restored is a control plane after a restore.
func restored(t *testing.T, members int, change ...func(*world)) (*world, *client, *restore.Run) {
	t.Helper()
	w := newWorld(t, members)
	for _, f := range change {
		f(w)
	}
	c := w.client(-1)
	r := w.operate(c)
	if err := runnerOf(r, c).Run(t.Context(), r.Operation); err != nil {
		t.Fatal(err)
	}
	w.isRestored(r)
	return w, c, r
}

func TestRestore(t *testing.T) {
	t.Parallel()
	for _, members := range []int{1, 3} {
		t.Run(fmt.Sprint(members), func(t *testing.T) {
			w, _, _ := restored(t, members)
			if w.pods[manager] != 1 {
				t.Errorf("the controller manager was restarted %d times", w.pods[manager])
			}
		})
	}
}

// TestAlarmInSnapshot: etcd had found a member's data corrupt when the snapshot was taken. Nothing could be written to a
// cluster that had this alarm.
func TestAlarmInSnapshot(t *testing.T) {
	t.Parallel()
	w, _, r := restored(t, 3, func(w *world) {
		m := w.etcd.Members[0]
		alarms := pb.NewMaintenanceClient(m.Client(t).ActiveConnection())
		change := func(action pb.AlarmRequest_AlarmAction) {
			if _, err := alarms.Alarm(t.Context(), &pb.AlarmRequest{Action: action, MemberID: 0xbad, Alarm: pb.AlarmType_CORRUPT}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := m.Client(t).Delete(t.Context(), afterKey); err != nil {
			t.Fatal(err)
		}
		change(pb.AlarmRequest_ACTIVATE)
		w.save()
		change(pb.AlarmRequest_DEACTIVATE)
		w.etcd.Put(t, afterKey, "x")
	})
	w.etcd.Put(t, "/registry/now", "x")
	if !r.Shared.CorruptAlarm {
		t.Error("nobody will be told")
	}
}

// TestDiffers: a disk gives back something else than was written. The restore is done, and that is told.
func TestDiffers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	c := w.client(-1)
	r := w.operate(c)
	runner := runnerOf(r, c)
	disarm := runner.Actions[site.KindAlarms]
	runner.Actions[site.KindAlarms] = site.Action{Forth: func(ctx context.Context, task *plan.Task) error {
		m := w.etcd.Members[2]
		// Through this member, which has it then: the others alone are a majority.
		if _, err := m.Client(t).Put(ctx, "/registry/late", "x"); err != nil {
			return err
		}
		m.Shutdown(t)
		m.Tamper(t)
		m.Start(t)
		m.Wait(t)
		return disarm.Do(ctx, task)
	}}
	if err := runner.Run(t.Context(), r.Operation); err != nil {
		t.Fatal(err)
	}
	if err := r.Shared.Flaw(); !errors.Is(err, site.ErrDiffers) || !strings.Contains(err.Error(), "m3") {
		t.Errorf("not told which differs: %v", err)
	}
}

// cell is one interruption: the client dies at a save of its journal, going
// forward or going back, and another goes on.
type cell struct {
	saves     int
	exclusive bool // the volumes are one pod's at a time
	broken    bool // the operation fails at its last step before its commit, so that it goes back
	then      string
}

func (c cell) String() string {
	direction := "forward"
	if c.broken {
		direction = "back"
	}
	if c.exclusive {
		direction += ", staged late,"
	}
	return fmt.Sprintf("killed %s at save %d, then %s", direction, c.saves, c.then)
}

var errOnPurpose = errors.New("broken on purpose")

// breakLate makes the last step before the commit fail.
func breakLate(r *plan.Runner) {
	r.Actions[site.KindAlarms] = site.Action{Forth: func(context.Context, *plan.Task) error { return errOnPurpose }}
}

// TestStagedLate: where etcd's own pods are the only ones that can have the volumes, the data is built while they are gone.
func TestStagedLate(t *testing.T) {
	t.Parallel()
	_, _, r := restored(t, 3, func(w *world) { w.exclusive = true })
	down, inspected, built := r.Operation.Step(site.KindEtcdDown+"/"+testSet), r.Operation.Step(site.KindInspect), r.Operation.Step(site.KindBuild+"/"+r.Shared.Members[2].Name)
	if down.Ended.After(*inspected.Started) || down.Ended.After(*built.Started) || !built.Outage {
		t.Errorf("etcd stopped %s, its volumes were looked at %s", down.Ended, inspected.Started)
	}
}

// TestDataMadeAnew: what lies on a volume when etcd has stopped need not be the folder that was there at first. It is
// what an undo has to bring back.
func TestDataMadeAnew(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	c := w.client(-1)
	r := w.operate(c)
	run := runnerOf(r, c)
	real := run.Actions[site.KindEtcdDown]
	run.Actions[site.KindEtcdDown] = site.Action{Back: real.Undo, Forth: func(ctx context.Context, task *plan.Task) error {
		if err := real.Do(ctx, task); err != nil {
			return err
		}
		member := filepath.Join(w.plane().Members[0].DataDir, "member")
		aside := filepath.Join(w.dir, "member")
		return errors.Join(os.CopyFS(aside, os.DirFS(member)), os.RemoveAll(member), os.CopyFS(member, os.DirFS(aside)), os.Chmod(member, 0o700))
	}}
	breakLate(run)
	if err := run.Run(t.Context(), r.Operation); !errors.Is(err, errOnPurpose) || !errors.Is(err, plan.ErrUndone) {
		t.Fatal(err)
	}
	w.isAsBefore()
}

// TestOldDataIsNotDiscarded: an undo that takes an exchange for undone must not remove what it was exchanged for.
func TestOldDataIsNotDiscarded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	c := w.client(-1)
	r := w.operate(c)
	if err := runnerOf(r, c).Run(t.Context(), r.Operation); err != nil {
		t.Fatal(err)
	}
	step := r.Operation.Step(site.KindBuild + "/" + r.Shared.Members[0].Name)
	if err := runnerOf(r, c).Actions[site.KindBuild].Undo(t.Context(), &plan.Task{Step: step}); err == nil {
		t.Error("the old data was removed as if it had been built")
	}
	w.isRestored(r)
}

// cells are all interruptions of this plan, found by counting its saves.
func cells(t *testing.T) []cell {
	var out []cell
	for _, exclusive := range []bool{false, true} {
		for _, broken := range []bool{false, true} {
			for s := range savesOf(t, exclusive, broken) {
				for _, then := range []string{"resume", "undo"} {
					out = append(out, cell{s, exclusive, broken, then})
				}
			}
		}
	}
	return out
}

// savesOf is how often the journal of a restore is saved.
func savesOf(t *testing.T, exclusive, broken bool) int {
	t.Helper()
	w := newWorld(t, 1)
	w.exclusive = exclusive
	c := w.client(1 << 20)
	r := w.operate(c)
	run := runnerOf(r, c)
	if broken {
		breakLate(run)
	}
	if err := run.Run(t.Context(), r.Operation); (err == nil) == broken || broken && !errors.Is(err, plan.ErrUndone) {
		t.Fatal(err)
	}
	return 1<<20 - c.saves
}

// TestInterrupted kills the client at a share of all points, a different one for
// each seed: RESTORE_CELLS says how many (all of them with "all"), RESTORE_SEED which.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	all := cells(t)
	share, seed := cellShare(t, len(all))
	rng := rand.New(rand.NewPCG(uint64(seed), 0))
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	chosen := slices.Clone(all[:share])
	for _, c := range chosen {
		t.Run(c.String(), func(t *testing.T) {
			t.Parallel()
			interrupt(t, c)
		})
	}
}

// cellShare is how many of all cells are tried, and the seed that chooses them.
func cellShare(t *testing.T, all int) (share int, seed int64) {
	t.Helper()
	share, seed = 8, time.Now().UnixNano()
	if s := os.Getenv("RESTORE_SEED"); s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seed = n
	}
	switch s := os.Getenv("RESTORE_CELLS"); s {
	case "":
	case "all":
		share = all
	default:
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		share = min(n, all)
	}
	t.Logf("%d of %d cells, seed %d", share, all, seed)
	return share, seed
}

func interrupt(t *testing.T, x cell) {
	w := newWorld(t, 1)
	w.exclusive = x.exclusive
	first := w.client(-1)
	r := w.operate(first)
	if err := first.Journal("", r.Shared).Save(t.Context(), r.Operation); err != nil {
		t.Fatal(err)
	}
	first.saves = x.saves
	runner := runnerOf(r, first)
	if x.broken {
		breakLate(runner)
	}
	if err := runner.Run(first.ctx, r.Operation); !errors.Is(err, errDead) && !errors.Is(err, context.Canceled) {
		t.Fatalf("the killed client ended with %v", err)
	}
	second, c := w.again()
	runner = runnerOf(second, c)
	switch op := second.Operation; {
	case op.Committed(), x.then == "resume" && op.Phase != plan.GoingBack && op.Phase != plan.WentBack:
		if op.Committed() && x.then == "undo" {
			if err := runner.Undo(t.Context(), op); err == nil {
				t.Fatal("an operation that clients have seen was undone")
			}
		}
		if err := runner.Run(t.Context(), op); err != nil {
			t.Fatal(err)
		}
		w.isRestored(second)
	default:
		if err := runner.Undo(t.Context(), op); err != nil {
			t.Fatal(err)
		}
		w.isAsBefore()
	}
}

// runnerOf carries out an operation as its client does.
func runnerOf(k site.Kind, c *client) *plan.Runner {
	s := siteOf(k)
	return site.NewPrepared(s, k).Runner(c.Journal("", s.Shared), nil)
}

func stoppedOf(k site.Kind, err, unsaved error) error {
	return site.NewPrepared(siteOf(k), k).Stopped(err, unsaved)
}

func siteOf(k site.Kind) *site.Site {
	switch k := k.(type) {
	case *restore.Run:
		return k.Site
	case *member.Replacement:
		return k.Site
	}
	return nil
}
