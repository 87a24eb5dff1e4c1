package restore

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
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/userapi"
)

type silent struct{ t *testing.T }

func (silent) Begin(plan.Step, bool)         {}
func (silent) End(plan.Step, bool, error)    {}
func (silent) Step(string, ...any)           {}
func (s silent) Warn(f string, a ...any)     { s.t.Logf("warning: "+f, a...) }
func (silent) Progress(string, int64, int64) {}

// operate is a restore of this world by a client.
func (w *world) operate(c *client) *run { return w.operateAs(c, "op1", false, 0) }

// operateWith is one for which the user has chosen something else.
func (w *world) operateWith(c *client, change func(*Config)) *run {
	return w.plan(c, "op1", false, 0, change)
}

func (w *world) operateAs(c *client, id string, raw bool, seen int64) *run {
	return w.plan(c, id, raw, seen, func(*Config) {})
}

func (w *world) plan(c *client, id string, raw bool, seen int64, change func(*Config)) *run {
	w.t.Helper()
	src, err := prove(w.t.Context(), w.snapshot, raw)
	if err != nil {
		w.t.Fatal(err)
	}
	r := &run{d: Deps{Report: silent{w.t}, Now: time.Now}, c: c, src: src, stages: map[string]stage{},
		cfg: Config{Plane: w.plane(), Bump: -1, Timeout: 30 * time.Second, FromOtherCluster: true, Safety: w.dir}}
	change(&r.cfg)
	sv, err := c.Survey(w.t.Context(), r.cfg.Plane, false)
	if err != nil {
		w.t.Fatal(err)
	}
	n := int32(len(w.etcd.Members))
	sc := &scene{survey: sv, recreate: true, access: &userapi.Access{Servers: []userapi.Server{{Object: testNamespace + "/StatefulSet/kube-apiserver", Port: 6443}}}, hosted: &hostedCluster{"clusters/a", testNamespace + "/a"}, set: &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Name: testSet}, Spec: appsv1.StatefulSetSpec{Replicas: &n, PersistentVolumeClaimRetentionPolicy: w.policy}},
		budgets: []policyv1.PodDisruptionBudget{*w.budgets["kube-apiserver-pdb"]}}
	for _, x := range []workload{apiserver, chores} {
		sc.writers = append(sc.writers, controlplane.Writer{Kind: x.kind, Namespace: x.namespace, Name: x.name, Replicas: w.replicas[x]})
	}
	sc.controllers = []controlplane.Writer{{Kind: manager.kind, Namespace: manager.namespace, Name: manager.name, Replicas: 1}}
	if w.exclusive {
		sc.exclusive = "data-" + testSet + "-0"
	}
	r.sh = share(r.cfg, sc, src, seen)
	r.op = &plan.Operation{ID: id, Target: r.cfg.Plane.ID(), Created: time.Now(), Phase: plan.Planned}
	r.sh.Token = "kubectl-etcd-" + id
	r.op.Steps = w.planned(r, sc)
	return r
}

func (w *world) planned(r *run, sc *scene) []plan.Step {
	w.t.Helper()
	steps, err := r.planned(sc)
	if err != nil {
		w.t.Fatal(err)
	}
	return steps
}

func (r *run) runner(c *client) *plan.Runner {
	return &plan.Runner{Journal: c.journal("", r.sh), Actions: r.actions(), Report: r.d.Report, Now: time.Now, UndoTimeout: time.Minute, Gives: givesBack}
}

// again is another client that takes the operation up from its journal.
func (w *world) again() (*run, *client) {
	w.t.Helper()
	o := &plan.Operation{}
	if err := json.Unmarshal(w.saved, o); err != nil {
		w.t.Fatal(err)
	}
	sh, err := decodeShared(o)
	if err != nil {
		w.t.Fatal(err)
	}
	src, err := prove(w.t.Context(), w.snapshot, false)
	if err != nil {
		w.t.Fatal(err)
	}
	c := w.client(-1)
	return &run{d: Deps{Report: silent{w.t}, Now: time.Now}, c: c, src: src, op: o, sh: sh, stages: map[string]stage{},
		cfg: Config{Plane: w.plane(), Bump: -1, Timeout: 30 * time.Second, FromOtherCluster: true, Safety: w.dir}}, c
}

// isRestored checks what a restore promises.
func (w *world) isRestored(r *run) {
	w.t.Helper()
	for _, m := range w.etcd.Members {
		m.Wait(w.t)
	}
	f := w.facts()
	if f.Cluster != r.sh.ClusterID || f.Cluster == w.before.Cluster || f.Revision <= w.before.Revision {
		w.t.Errorf("cluster %s at revision %d; it was %s at %d", f.Cluster, f.Revision, w.before.Cluster, w.before.Revision)
	}
	if !w.has(beforeKey) || w.has(afterKey) {
		w.t.Errorf("key before the snapshot: %t, after it: %t", w.has(beforeKey), w.has(afterKey))
	}
	if asJSON(f.Replicas) != asJSON(w.before.Replicas) || f.Budgets != w.before.Budgets || f.Policy != w.before.Policy || f.Pods != w.before.Pods || f.Until != w.before.Until {
		w.t.Errorf("left %+v, was %+v", f, w.before)
	}
	for _, m := range w.plane().Members {
		if _, err := os.Stat(filepath.Join(m.DataDir, ".kubectl-etcd", r.op.ID, "data", "member", "snap", "db")); err != nil {
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
			w.t.Errorf("something was left on the volume of %s: %v", m.Name, err)
		}
	}
}

// restored is a control plane after a restore.
func restored(t *testing.T, members int, change ...func(*world)) (*world, *client, *run) {
	t.Helper()
	w := newWorld(t, members)
	for _, f := range change {
		f(w)
	}
	c := w.client(-1)
	r := w.operate(c)
	if err := r.runner(c).Run(t.Context(), r.op); err != nil {
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
	if !r.sh.CorruptAlarm {
		t.Error("nobody will be told")
	}
}

// TestDiffers: a disk gives back something else than was written. The restore is done, and that is told.
func TestDiffers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	c := w.client(-1)
	r := w.operate(c)
	runner := r.runner(c)
	disarm := runner.Actions[kindAlarms]
	runner.Actions[kindAlarms] = action{do: func(ctx context.Context, task *plan.Task) error {
		m := w.etcd.Members[2]
		w.etcd.Put(t, "/registry/late", "x")
		m.Shutdown(t)
		m.Tamper(t)
		m.Start(t)
		m.Wait(t)
		return disarm.Do(ctx, task)
	}}
	if err := runner.Run(t.Context(), r.op); err != nil {
		t.Fatal(err)
	}
	if err := r.sh.Flaw(); !errors.Is(err, ErrDiffers) || !strings.Contains(err.Error(), "m3") {
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
	r.Actions[kindAlarms] = action{do: func(context.Context, *plan.Task) error { return errOnPurpose }}
}

// TestStagedLate: where etcd's own pods are the only ones that can have the volumes, the data is built while they are gone.
func TestStagedLate(t *testing.T) {
	t.Parallel()
	_, _, r := restored(t, 3, func(w *world) { w.exclusive = true })
	down, inspected, built := r.op.Step(kindEtcdDown+"/"+testSet), r.op.Step(kindInspect), r.op.Step(kindBuild+"/"+r.sh.Members[2].Name)
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
	run := r.runner(c)
	run.Actions[kindEtcdDown] = action{undo: r.etcdBack, do: func(ctx context.Context, task *plan.Task) error {
		if err := r.etcdDown(ctx, task); err != nil {
			return err
		}
		member := filepath.Join(w.plane().Members[0].DataDir, "member")
		aside := filepath.Join(w.dir, "member")
		return errors.Join(os.CopyFS(aside, os.DirFS(member)), os.RemoveAll(member), os.CopyFS(member, os.DirFS(aside)), os.Chmod(member, 0o700))
	}}
	breakLate(run)
	if err := run.Run(t.Context(), r.op); !errors.Is(err, errOnPurpose) || !errors.Is(err, plan.ErrUndone) {
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
	if err := r.runner(c).Run(t.Context(), r.op); err != nil {
		t.Fatal(err)
	}
	step := r.op.Step(kindBuild + "/" + r.sh.Members[0].Name)
	if err := r.discard(t.Context(), &plan.Task{Step: step}); err == nil {
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
	run := r.runner(c)
	if broken {
		breakLate(run)
	}
	if err := run.Run(t.Context(), r.op); (err == nil) == broken || broken && !errors.Is(err, plan.ErrUndone) {
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
	if err := first.journal("", r.sh).Save(t.Context(), r.op); err != nil {
		t.Fatal(err)
	}
	first.saves = x.saves
	runner := r.runner(first)
	if x.broken {
		breakLate(runner)
	}
	if err := runner.Run(first.ctx, r.op); !errors.Is(err, errDead) && !errors.Is(err, context.Canceled) {
		t.Fatalf("the killed client ended with %v", err)
	}
	second, c := w.again()
	runner = second.runner(c)
	switch op := second.op; {
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
