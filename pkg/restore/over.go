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
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/survey"
)

// leftEmpty finds the operation that has left the control plane without data.
func leftEmpty(ctx context.Context, d site.Deps, p controlplane.ControlPlane) (*plan.Operation, error) {
	ops, err := site.Operations(ctx, d.Place, p.Namespace)
	if err != nil {
		return nil, err
	}
	for _, o := range ops {
		if o.Target == p.ID() && site.Empty(&o) {
			return &o, nil
		}
	}
	return nil, nil
}

// prepareOver plans to go on with an operation that has deleted the old data, with another snapshot. Its journal stays: what
// it has taken from writers and budgets is known only there.
func prepareOver(ctx context.Context, d site.Deps, cfg Config, o *plan.Operation) (*site.Prepared, error) {
	if who, silent, err := d.Locker().AtWork(ctx, o.Target); err == nil && who != "" && silent <= operation.LeaseFor {
		return nil, site.InTheWay(ctx, d, o, fmt.Sprintf("restore %s: operation %s is unfinished (%s)", o.Target, o.ID, o.Phase))
	}
	if cfg.Hot || len(cfg.Members)+len(cfg.Skip)+len(cfg.Writers) > 0 {
		return nil, site.Refuse("leave out --hot, --member, --skip-member and --writer", "restore %s: operation %s has deleted its data, and another snapshot takes its plan over", o.Target, o.ID)
	}
	sh, err := site.ReadShared(o)
	if err != nil {
		return nil, err
	}
	r := NewRun(d, site.NewKube(d, cfg.Reach), cfg, o, sh)
	if err := r.fromMember(ctx); err != nil {
		return nil, err
	}
	if err := r.Prove(ctx); err != nil {
		return nil, err
	}
	r.Plane = r.WithoutSkipped(cfg.Plane)
	notes := []string{fmt.Sprintf("operation %s has deleted the old data, and etcd has not come up: it goes on with %s instead of %s; nothing leads back", o.ID, r.Source.File, sh.Snapshot.File)}
	r.Renew()
	note, err := r.suits(ctx)
	if err != nil {
		r.Close()
		return nil, err
	}
	if note != "" {
		notes = append(notes, note)
	}
	p := site.NewPrepared(r.Site, r)
	p.Notes = notes
	p.Begin = func(context.Context) error { // from then on it is the operation's own
		if !site.Empty(o) { // another client has gone on meanwhile
			return site.Refuse("kubectl etcd restore status -A lists them", "restore %s: operation %s is at another point than when this was planned", o.Target, o.ID)
		}
		r.Renew()
		return nil
	}
	return p, nil
}

// suits refuses a snapshot on which etcd could not start, or not write. Nobody is asked: no member answers.
func (r *Run) suits(ctx context.Context) (note string, err error) {
	if r.Source.LiveKeys == 0 {
		return "", site.Refuse("", "restore %s: the snapshot %s holds no keys", r.Operation.Target, r.Source.File)
	}
	set, err := r.Deps.Apps.StatefulSets(r.Shared.Namespace).Get(ctx, r.Shared.StatefulSet, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("read statefulset %s: %w", r.Shared.StatefulSet, err)
	}
	if note, err = (&Scene{Pods: PodsOf(set), Survey: &survey.Survey{}}).startable(r.Config, r.Source.report); err != nil {
		return "", err
	}
	return note, r.fits(ctx)
}

// Renew puts the snapshot of this client in the place of the one with which the operation began. All from the look at the
// volumes on is done again but what stays done: the safety backup, and what was taken from others.
func (r *Run) Renew() {
	again := []string{site.KindInspect, site.KindEtcdDown, site.KindBuild, site.KindSwitch, site.KindRelease, site.KindEtcdUp, site.KindAlarms}
	for i := range r.Operation.Steps {
		switch s := &r.Operation.Steps[i]; {
		case s.Kind == site.KindDrop:
			s.State = plan.Doing // never again pending: nothing leads back
		case slices.Contains(again, s.Kind):
			s.State, s.Record = plan.Pending, nil
		}
	}
	sh := r.Shared
	sh.Highest = max(sh.Highest, sh.Snapshot.Revision+max(sh.Bump, 0)) // members may have come up on the other one
	if r.Source.sidecar != nil {
		sh.Highest = max(sh.Highest, r.Source.sidecar.RevisionAfter)
	}
	sh.Live = 0 // nothing answers
	sh.Snapshot, sh.ClusterID, sh.Token = r.Source.SnapshotRecord, "", "kubectl-etcd-"+r.Operation.ID+"-"+rand.String(4)
	sh.Bump, sh.BumpAsked, sh.FromOtherCluster, sh.LimitRate = r.Config.Bump, r.Config.Bump >= 0, r.Config.FromOtherCluster, r.Config.LimitRate
	for i := range sh.Members {
		sh.Members[i].NewInode = 0
	}
}
