package restore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/rand"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/operation"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
)

// run is one operation under way; its actions are the methods' closures in actions.
type run struct {
	d   Deps
	c   cluster
	cfg Config
	op  *plan.Operation
	sh  *Shared
	src *source // nil when the operation is past the need of it

	calm     bool // no member had an alarm, or a database that is nearly full, when all were seen to be healthy
	relieved bool // relieve has tried

	mu     sync.Mutex
	stages map[string]stage // by member
}

// undoTimeout bounds what is taken back after a failure: waiting for pods, mostly.
const undoTimeout = 15 * time.Minute

// Prepare proves the snapshot, looks at the cluster and makes the plan; nothing
// is changed. Close the result.
func Prepare(ctx context.Context, d Deps, cfg Config) (*Prepared, error) {
	if o, err := leftEmpty(ctx, d, cfg.Plane); err != nil {
		return nil, err
	} else if o != nil {
		return prepareOver(ctx, d, cfg, o)
	}
	if _, err := unfinished(ctx, d, cfg.Plane); err != nil {
		return nil, err
	}
	if _, err := chosen(cfg.Plane, slices.Concat(cfg.Members, cfg.Skip)); err != nil {
		return nil, err
	}
	if err := fromMember(ctx, d, &cfg); err != nil {
		return nil, err
	}
	d.Report.Step("proving %s", cfg.From)
	src, err := prove(ctx, cfg.From, cfg.Raw)
	if err != nil {
		return nil, err
	}
	cfg.Reach.HostPID = cfg.Hot
	p := &Prepared{run: &run{d: d, c: kube{d, cfg.Reach}, cfg: cfg, src: src, stages: map[string]stage{}}}
	if err := p.make(ctx); err != nil {
		src.close()
		return nil, err
	}
	return p, nil
}

// Prepared is a restore that has not begun.
type Prepared struct {
	run   *run
	scene *scene
	// Operation is the plan.
	Operation *plan.Operation
	// Shared is what its steps share.
	Shared *Shared
	// Notes are what the user should know before saying yes.
	Notes []string
	// Kept is what the volumes still hold of an operation that was given up; KeptUnknown says why that could not be seen.
	Kept        []Kept
	KeptUnknown error

	over bool // an operation that another client began goes on with this snapshot
}

// Close removes what was unpacked.
func (p *Prepared) Close() { p.run.src.close() }

func (p *Prepared) make(ctx context.Context) error {
	r := p.run
	if r.src.LiveKeys == 0 {
		return refuse("", "restore %s: the snapshot %s holds no keys", r.cfg.Plane.ID(), r.src.File)
	}
	known, err := unfinished(ctx, r.d, r.cfg.Plane)
	if err != nil {
		return err
	}
	r.d.Report.Step("looking at %s", r.cfg.Plane.ID())
	sc, err := look(ctx, r.d, r.cfg)
	if err != nil {
		return err
	}
	p.scene = sc
	if r.cfg.Plane, err = knowPeers(r.cfg.Plane, sc.survey); err != nil {
		return err
	}
	note, err := sc.startable(r.cfg, r.src.report)
	if err != nil {
		return err
	}
	if note != "" {
		p.Notes = append(p.Notes, note)
	}
	r.sh = share(r.cfg, sc, r.src, known.seen)
	now := r.d.Now().UTC().Truncate(time.Second)
	r.op = &plan.Operation{ID: now.Format("20060102t150405") + "-" + rand.String(4), Target: r.cfg.Plane.ID(), Created: now, Phase: plan.Planned}
	r.sh.Token = "kubectl-etcd-" + r.op.ID
	if r.cfg.Hot {
		if err := hotPossible(r.cfg, sc); err != nil {
			return err
		}
	}
	if r.op.Steps, err = r.planned(sc); err != nil {
		return err
	}
	if err := r.fits(ctx); err != nil {
		return err
	}
	r.cfg.Plane = r.withoutSkipped(r.cfg.Plane)
	p.Operation, p.Shared, p.Notes = r.op, r.sh, append(p.Notes, r.src.notes()...)
	if note := r.sh.below(); r.sh.BumpAsked && note != "" {
		p.Notes = append(p.Notes, note)
	}
	if best := survivor(sc.survey); best != nil && !anyHealthy(sc.survey) && best.Status.Revision > r.sh.Snapshot.Revision {
		p.Notes = append(p.Notes, fmt.Sprintf("no member is healthy, but what the snapshot lacks is not all lost%s", sc.survivors()))
	}
	p.Notes = append(p.Notes, sc.doubts(r.cfg)...)
	if r.sh.DiscardOld {
		p.Notes = append(p.Notes, "the old data is deleted for good before the new is there: nothing leads back from there, and the outage grows with the data")
	}
	if r.sh.StageLate {
		p.Notes = append(p.Notes, "volume claim "+sc.exclusive+" is ReadWriteOncePod, one pod's at a time: the new data is built after etcd has stopped, and the outage grows with the data")
	}
	p.Notes = slices.Concat(p.Notes, known.notes, r.cfg.Plane.Notes, sc.notes, sc.stopped(), sc.aftermath(ctx, r.d.planes(), r.cfg.Plane, r.src.report))
	return nil
}

// share begins what the steps share; seen is the highest revision of which earlier operations know.
func share(cfg Config, sc *scene, src *source, seen int64) *Shared {
	sh := &Shared{Namespace: cfg.Plane.Namespace, Name: cfg.Plane.Name, StatefulSet: sc.set.Name, Replicas: orOne(sc.set.Spec.Replicas),
		Snapshot: src.SnapshotRecord, Bump: cfg.Bump, BumpAsked: cfg.Bump >= 0, Safety: cfg.Safety, FromOtherCluster: cfg.FromOtherCluster, Hot: cfg.Hot, LimitRate: cfg.LimitRate}
	sh.NotWriters = cfg.NotWriters
	sh.Hosted, sh.Access, sh.DiscardOld, sh.StageLate, sh.OperatorStopped = sc.hosted, sc.access, cfg.DiscardOld, sc.exclusive != "", cfg.OperatorStopped
	for _, w := range sc.writers {
		sh.Writers = append(sh.Writers, w.Path())
	}
	highest, cluster, ok := sc.highest()
	if ok {
		sh.Live, sh.OldClusterID = highest, cluster.String()
	}
	sh.Highest, sh.Quota = max(sh.Live, seen), sc.quota(cfg.Hot)
	if src.sidecar != nil {
		sh.Highest = max(sh.Highest, src.sidecar.RevisionAfter)
	}
	var initial []string
	for _, m := range cfg.Plane.Members {
		rec := MemberRecord{Name: m.Name, PodName: m.PodName, Node: m.Node, PeerURLs: strings.Join(m.AdvertisePeerURLs, ",")}
		if slices.ContainsFunc(sc.skipped, func(o controlplane.Member) bool { return o.Name == m.Name }) {
			sh.Skipped = append(sh.Skipped, rec)
		} else {
			sh.Members = append(sh.Members, rec)
		}
		for _, u := range m.AdvertisePeerURLs {
			initial = append(initial, m.Name+"="+u)
		}
	}
	sh.InitialCluster = strings.Join(initial, ",")
	return sh
}

// Run carries the plan out. After a failure everything has been undone, unless
// the error says otherwise.
func (p *Prepared) Run(ctx context.Context) error {
	if p.over {
		return p.runOver(ctx)
	}
	if err := p.Answered(); err != nil {
		return err
	}
	return p.run.locked(ctx, func(ctx context.Context, runner *plan.Runner) error {
		// Another one may have begun, and died, since the plan was made.
		if _, err := unfinished(ctx, p.run.d, p.run.cfg.Plane); err != nil {
			return err
		}
		return runner.Run(ctx, p.run.op)
	})
}

// locked holds the lock while f runs, and leaves no utility pod behind.
func (r *run) locked(ctx context.Context, f func(context.Context, *plan.Runner) error) (err error) {
	j := &keptJournal{Journal: r.c.journal(r.sh.Namespace, r.sh), run: r}
	defer func() { err = r.stopped(err, j.unsaved) }()
	ctx, l, err := r.d.locker().Acquire(ctx, r.sh.Namespace, r.sh.Name, r.op.ID, r.op.Phase != plan.Planned)
	if err != nil {
		return err
	}
	defer func() {
		if errors.Is(err, plan.ErrUndone) || err == nil && r.op.Phase == plan.WentBack {
			r.serveAgain(context.WithoutCancel(ctx))
		}
		dctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		if held := l.Held(dctx); held == nil && !errors.Is(err, plan.ErrAbandoned) {
			err = errors.Join(err, r.closeStages(dctx))
		} else {
			err = errors.Join(err, r.closeOwn(operation.Unfenced(dctx))) // the other pods are the other client's
		}
		err = errors.Join(err, l.Release(operation.Unfenced(dctx)))
	}()
	if r.op.Phase != plan.Planned {
		// What was read before the lock was taken may be another client's past.
		if err := r.again(ctx); err != nil {
			return err
		}
	}
	l.Watches(j)
	runner := &plan.Runner{
		Journal: j,
		Actions: r.actions(), Report: r.d.Report, Now: r.d.Now, UndoTimeout: undoTimeout, Lost: l.Lost(), Gives: givesBack,
	}
	return f(ctx, runner)
}

// again reads the journal anew, in place, and refuses an operation that has ended meanwhile.
func (r *run) again(ctx context.Context) error {
	o, err := find(ctx, r.d.Place, r.sh.Namespace, r.op.ID)
	if err != nil {
		return err
	}
	sh, err := decodeShared(o)
	if err != nil {
		return err
	}
	*r.op, *r.sh = *o, *sh
	if o.Ended() {
		return hasEnded(o)
	}
	return nil
}

// NoJournal refuses an operation that is not known.
func NoJournal(id string) error {
	return refuse("kubectl etcd restore status -A lists them", "find operation %s: there is no journal of it", id)
}

func hasEnded(o *plan.Operation) error {
	return refuse("kubectl etcd restore status -A lists them", "continue operation %s: it has ended (%s)", o.ID, o.Phase)
}

// Load finds an operation: by its id, or the only one of the namespace that is unfinished, or has ended.
func Load(ctx context.Context, d Deps, namespace, id string, ended bool) (*plan.Operation, error) {
	if namespace == "" && id == "" {
		return nil, refuse("kubectl etcd restore status -A lists them", "find operation: name its namespace with -n, or the operation itself")
	}
	if id != "" {
		return find(ctx, d.Place, namespace, id)
	}
	ops, bad, err := Journals(ctx, d.Place, namespace)
	if err != nil {
		return nil, err
	}
	for _, u := range bad { // whichever is meant is the user's to say
		d.Report.Warn("%v", u)
	}
	var found []plan.Operation
	for _, o := range ops {
		if o.Ended() == ended {
			found = append(found, o)
		}
	}
	how := map[bool]string{false: "are unfinished", true: "have ended"}[ended]
	switch {
	case len(found) == 1:
		return &found[0], nil
	case len(found) > 1:
		return nil, refuse("name the operation: kubectl etcd restore status -A lists them", "find operation: %d %s", len(found), how)
	}
	hint := "kubectl etcd restore status -A lists all"
	if !ended {
		hint = "to undo one that has ended, name it: " + hint
	}
	return nil, refuse(hint, "find operation: there are none that %s", how)
}

// Continue opens an operation that another client began. from is the snapshot,
// needed only while a member's data has not been built.
func Continue(ctx context.Context, d Deps, cfg Config, o *plan.Operation) (*Prepared, error) {
	sh, err := decodeShared(o)
	if err != nil {
		return nil, err
	}
	if o.Ended() {
		return nil, hasEnded(o)
	}
	cfg.Reach.HostPID = sh.Hot
	r := &run{d: d, c: kube{d, cfg.Reach}, cfg: cfg, op: o, sh: sh, stages: map[string]stage{}}
	r.cfg.Plane = r.withoutSkipped(cfg.Plane)
	if cfg.From != "" {
		if r.src, err = prove(ctx, cfg.From, sh.Snapshot.Raw); err != nil {
			return nil, err
		}
		if r.src.SHA256 != sh.Snapshot.SHA256 {
			r.src.close()
			hint := ""
			if empty(o) {
				hint = fmt.Sprintf("to put it in the place of that one: kubectl etcd restore %s --from %s", o.Target, cfg.From)
			}
			return nil, refuse(hint, "continue operation %s: %s is another snapshot than %s, with which it began", o.ID, cfg.From, sh.Snapshot.File)
		}
	}
	return &Prepared{run: r, Operation: o, Shared: sh}, nil
}

// Resume goes on in the direction in which the operation was going.
func (p *Prepared) Resume(ctx context.Context) error {
	if p.run.src == nil && p.Operation.Phase != plan.GoingBack { // to find out on the way would undo everything
		for _, s := range p.Operation.Steps {
			if s.Kind == kindBuild && s.State != plan.Done {
				return refuse("pass the snapshot again with --from", "continue operation %s: %s has not been uploaded to all members yet", p.Operation.ID, p.Shared.Snapshot.File)
			}
		}
	}
	return p.run.locked(ctx, func(ctx context.Context, runner *plan.Runner) error {
		if p.Operation.Phase == plan.GoingBack {
			return runner.Undo(ctx, p.Operation)
		}
		return runner.Run(ctx, p.Operation)
	})
}

// Undo takes back what was done.
func (p *Prepared) Undo(ctx context.Context) error {
	return p.run.locked(ctx, func(ctx context.Context, runner *plan.Runner) error { return runner.Undo(ctx, p.Operation) })
}

// Abandon ends an operation that can only go on, without going on: its data stays as it is, and writers, retention
// policy and budgets get back what it took from them.
func (p *Prepared) Abandon(ctx context.Context) error {
	if !p.Operation.Committed() {
		return refuse(fmt.Sprintf("undo it with: kubectl etcd restore undo -n %s %s", p.Shared.Namespace, p.Operation.ID), "abandon operation %s: it can still be undone", p.Operation.ID)
	}
	return p.run.locked(ctx, func(ctx context.Context, runner *plan.Runner) error {
		if err := p.run.runs(ctx); err != nil {
			return err
		}
		if p.run.sh.Hot { // an agent that was ended may have left a member frozen
			if err := p.run.thawAll(ctx); err != nil {
				return err
			}
		}
		if err := runner.Abandon(ctx, p.Operation, givesBack); err != nil {
			return err
		}
		p.Kept, p.KeptUnknown = p.run.kept(ctx)
		return nil
	})
}

// givesBack tells the steps that only return what others need.
func givesBack(s plan.Step) bool {
	return slices.Contains([]string{kindWriterUp, kindRetainBack, kindOrdered, kindUnpause, kindBudgetBack}, s.Kind)
}
