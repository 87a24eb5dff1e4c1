package restore

import (
	"context"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/operation"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/survey"
)

// empty tells whether an operation has deleted data, and etcd has not come up on what replaces it: an etcd that is started
// now can be an empty one. It can only go on, with its snapshot or with another one.
func empty(o *plan.Operation) bool {
	gone := slices.ContainsFunc(o.Steps, func(s plan.Step) bool { return s.Kind == kindDrop && s.State != plan.Pending })
	return gone && !o.Ended() && !slices.ContainsFunc(o.Steps, func(s plan.Step) bool { return s.Kind == kindEtcdUp && s.State == plan.Done })
}

// leftEmpty finds the operation that has left the control plane without data.
func leftEmpty(ctx context.Context, d Deps, p controlplane.ControlPlane) (*plan.Operation, error) {
	ops, err := Operations(ctx, d.Place, p.Namespace)
	if err != nil {
		return nil, err
	}
	for _, o := range ops {
		if o.Target == p.ID() && empty(&o) {
			return &o, nil
		}
	}
	return nil, nil
}

// prepareOver plans to go on with an operation that has deleted the old data, with another snapshot. Its journal stays: what
// it has taken from writers and budgets is known only there.
func prepareOver(ctx context.Context, d Deps, cfg Config, o *plan.Operation) (*Prepared, error) {
	if who, silent, err := d.locker().AtWork(ctx, o.Target); err == nil && who != "" && silent <= operation.LeaseFor {
		return nil, inTheWay(ctx, d, o, fmt.Sprintf("restore %s: operation %s is unfinished (%s)", o.Target, o.ID, o.Phase))
	}
	if cfg.Hot || len(cfg.Members)+len(cfg.Skip)+len(cfg.Writers) > 0 {
		return nil, refuse("leave out --hot, --member, --skip-member and --writer", "restore %s: operation %s has deleted its data, and another snapshot takes its plan over", o.Target, o.ID)
	}
	if err := fromMember(ctx, d, &cfg); err != nil {
		return nil, err
	}
	sh, err := decodeShared(o)
	if err != nil {
		return nil, err
	}
	d.Report.Step("proving %s", cfg.From)
	src, err := prove(ctx, cfg.From, cfg.Raw)
	if err != nil {
		return nil, err
	}
	r := &run{d: d, c: kube{d, cfg.Reach}, cfg: cfg, op: o, sh: sh, src: src, stages: map[string]stage{}}
	r.cfg.Plane = r.withoutSkipped(cfg.Plane)
	notes := []string{fmt.Sprintf("operation %s has deleted the old data, and etcd has not come up: it goes on with %s instead of %s; nothing leads back", o.ID, src.File, sh.Snapshot.File)}
	r.renew()
	note, err := r.suits(ctx)
	if err != nil {
		src.close()
		return nil, err
	}
	if note != "" {
		notes = append(notes, note)
	}
	return &Prepared{run: r, Operation: o, Shared: sh, over: true, Notes: notes}, nil
}

// suits refuses a snapshot on which etcd could not start, or not write. Nobody is asked: no member answers.
func (r *run) suits(ctx context.Context) (note string, err error) {
	if r.src.LiveKeys == 0 {
		return "", refuse("", "restore %s: the snapshot %s holds no keys", r.op.Target, r.src.File)
	}
	set, err := r.d.Apps.StatefulSets(r.sh.Namespace).Get(ctx, r.sh.StatefulSet, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("read statefulset %s: %w", r.sh.StatefulSet, err)
	}
	if note, err = (&scene{set: set, survey: &survey.Survey{}}).startable(r.cfg, r.src.report); err != nil {
		return "", err
	}
	return note, r.fits(ctx)
}

// runOver goes on with the other snapshot, and from then on it is the operation's own.
func (p *Prepared) runOver(ctx context.Context) error {
	return p.run.locked(ctx, func(ctx context.Context, runner *plan.Runner) error {
		if !empty(p.Operation) { // another client has gone on meanwhile
			return refuse("kubectl etcd restore status -A lists them", "restore %s: operation %s is at another point than when this was planned", p.Operation.Target, p.Operation.ID)
		}
		p.run.renew()
		return runner.Run(ctx, p.Operation)
	})
}

// renew puts the snapshot of this client in the place of the one with which the operation began. All from the look at the
// volumes on is done again but what stays done: the safety backup, and what was taken from others.
func (r *run) renew() {
	again := []string{kindInspect, kindEtcdDown, kindBuild, kindSwitch, kindRelease, kindEtcdUp, kindAlarms}
	for i := range r.op.Steps {
		switch s := &r.op.Steps[i]; {
		case s.Kind == kindDrop:
			s.State = plan.Doing // never again pending: nothing leads back
		case slices.Contains(again, s.Kind):
			s.State, s.Record = plan.Pending, nil
		}
	}
	sh := r.sh
	sh.Highest = max(sh.Highest, sh.Snapshot.Revision+max(sh.Bump, 0)) // members may have come up on the other one
	if r.src.sidecar != nil {
		sh.Highest = max(sh.Highest, r.src.sidecar.RevisionAfter)
	}
	sh.Live = 0 // nothing answers
	sh.Snapshot, sh.ClusterID, sh.Token = r.src.SnapshotRecord, "", "kubectl-etcd-"+r.op.ID+"-"+rand.String(4)
	sh.Bump, sh.BumpAsked, sh.FromOtherCluster, sh.LimitRate = r.cfg.Bump, r.cfg.Bump >= 0, r.cfg.FromOtherCluster, r.cfg.LimitRate
	for i := range sh.Members {
		sh.Members[i].NewInode = 0
	}
}

// runs refuses to give an operation up while etcd cannot serve: API servers would meet nothing, or an etcd that is empty.
func (r *run) runs(ctx context.Context) error {
	if empty(r.op) {
		return refuse(goOn(r.op, r.sh.Namespace), "abandon operation %s: it has deleted the old data, and etcd has not come up on the new", r.op.ID)
	}
	n, err := r.c.Replicas(ctx, r.etcdSet())
	if err != nil {
		return err
	}
	if n > 0 {
		if !r.answers(ctx) {
			r.d.Report.Warn("no member is healthy; what their volumes hold can be restored on all: --from member/NAME")
		}
		return nil
	}
	states, err := r.inspectAll(ctx)
	if err != nil {
		return err
	}
	for i, s := range states {
		if !s.Exists {
			return refuse("give that volume its data back first", "abandon operation %s: %s is at 0 replicas, and the volume of member %s has no data", r.op.ID, r.etcdSet(), r.sh.Members[i].Name)
		}
	}
	return refuse(fmt.Sprintf("its data is on the volumes; start it with: kubectl -n %s scale statefulset/%s --replicas=%d, then give the operation up", r.sh.Namespace, r.sh.StatefulSet, r.sh.Replicas),
		"abandon operation %s: %s is at 0 replicas", r.op.ID, r.etcdSet())
}

// lookFirst is what to do about an etcd that is scaled to 0: one that starts without its data is a new and empty one, and the
// right snapshot is then another cluster's.
func lookFirst(p controlplane.ControlPlane) string {
	return fmt.Sprintf("start it only with its data: whether a member's volume has it says kubectl etcd backup %s --raw --member %s; if all have it: kubectl -n %s scale statefulset/%s --replicas=%d; without, it would start empty",
		p.ID(), p.Members[0].Name, p.Namespace, p.Owner.Name, len(p.Members))
}
