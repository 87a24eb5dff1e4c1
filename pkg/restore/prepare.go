package restore

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/rand"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
)

// Prepare proves the snapshot, looks at the cluster and makes the plan; nothing
// is changed. Close the result.
func Prepare(ctx context.Context, d site.Deps, cfg Config) (*site.Prepared, error) {
	o, err := leftEmpty(ctx, d, cfg.Plane)
	if err != nil {
		return nil, err
	}
	if o != nil {
		return prepareOver(ctx, d, cfg, o)
	}
	if _, err := site.Unfinished(ctx, d, cfg.Plane); err != nil {
		return nil, err
	}
	if _, err := site.Chosen(cfg.Plane, slices.Concat(cfg.Members, cfg.Skip)); err != nil {
		return nil, err
	}
	cfg.Hot = cfg.Hot || cfg.Plane.Static() // nobody could start what was stopped
	r := NewRun(d, kubeFor(d, cfg, cfg.Hot), cfg, nil, nil)
	if err := r.Way.Possible(); err != nil { // before the snapshot is read whole
		return nil, err
	}
	if err := r.fromMember(ctx); err != nil {
		return nil, err
	}
	r.Config.Reach.HostPID = cfg.Hot
	return r.Prepare(ctx)
}

// Prepare proves the snapshot, looks at the cluster and makes the plan.
func (r *Run) Prepare(ctx context.Context) (*site.Prepared, error) {
	if err := r.Prove(ctx); err != nil {
		return nil, err
	}
	p, err := r.make(ctx)
	if err != nil {
		r.Close()
		return nil, err
	}
	return p, nil
}

func (r *Run) make(ctx context.Context) (*site.Prepared, error) {
	if r.Source.LiveKeys == 0 {
		return nil, site.Refuse("", "restore %s: the snapshot %s holds no keys", r.Plane.ID(), r.Source.File)
	}
	known, err := site.Unfinished(ctx, r.Deps, r.Plane)
	if err != nil {
		return nil, err
	}
	r.Deps.Report.Step("looking at %s", r.Plane.ID())
	notes, err := r.recognize(ctx)
	if err != nil {
		return nil, err
	}
	sc, err := r.Way.Look(ctx)
	if err != nil {
		return nil, err
	}
	if r.Plane, err = site.KnowPeers(r.Plane, sc.Survey); err != nil {
		return nil, err
	}
	r.Config.Plane = r.Plane
	note, err := sc.startable(r.Config, r.Source.report)
	if err != nil {
		return nil, err
	}
	if note != "" {
		notes = append(notes, note)
	}
	r.Shared = share(r.Config, sc, r.Source, known.Seen)
	r.Way.Share(r.Shared)
	now := r.Deps.Now().UTC().Truncate(time.Second)
	r.Operation = &plan.Operation{ID: now.Format("20060102t150405") + "-" + rand.String(4), Target: r.Plane.ID(), Created: now, Phase: plan.Planned}
	r.Shared.Token = "kubectl-etcd-" + r.Operation.ID
	if r.Operation.Steps, err = r.Plan(sc); err != nil {
		return nil, err
	}
	if err := r.fits(ctx); err != nil {
		return nil, err
	}
	r.Plane = r.WithoutSkipped(r.Plane)
	r.Config.Plane = r.Plane
	notes = append(notes, r.Source.notes()...)
	if note := r.Shared.Below(); r.Shared.BumpAsked && note != "" {
		notes = append(notes, note)
	}
	if best := sc.Survey.MostUpToDate(); best != nil && !sc.Survey.AnyHealthy() && best.Status.Revision > r.Shared.Snapshot.Revision {
		notes = append(notes, fmt.Sprintf("no member is healthy, but what the snapshot lacks is not all lost%s", sc.survivors()))
	}
	if r.Plane.Static() {
		notes = append(notes, r.Source.world.since(ctx, r.Deps.Planes())...)
	}
	notes = append(notes, sc.doubts(r.Config)...)
	if r.Shared.DiscardOld {
		notes = append(notes, "the old data is deleted for good before the new is there: nothing leads back from there, and the outage grows with the data")
	}
	if r.Shared.StageLate {
		notes = append(notes, "volume claim "+sc.Exclusive+" is ReadWriteOncePod, one pod's at a time: the new data is built after etcd has stopped, and the outage grows with the data")
	}
	notes = slices.Concat(notes, known.Notes, r.Plane.Notes, sc.Notes, sc.stopped(), sc.aftermath(ctx, r.Deps.Planes(), r.Plane, r.Source.report))
	p := site.NewPrepared(r.Site, r)
	p.Notes, p.Unanswered = notes, func() error { return sc.unanswered(r.Config) }
	return p, nil
}

// share begins what the steps share; seen is the highest revision of which earlier operations know.
func share(cfg Config, sc *Scene, src *source, seen int64) *site.Shared {
	sh := &site.Shared{Namespace: cfg.Plane.Namespace, Name: cfg.Plane.Name, Snapshot: src.SnapshotRecord, Bump: cfg.Bump, BumpAsked: cfg.Bump >= 0, Safety: cfg.Safety, FromOtherCluster: cfg.FromOtherCluster, Hot: cfg.Hot, LimitRate: cfg.LimitRate}
	sh.NotWriters = cfg.NotWriters
	sh.Access, sh.DiscardOld, sh.StageLate, sh.OperatorStopped = sc.Access, cfg.DiscardOld, sc.Exclusive != "", cfg.OperatorStopped
	for _, w := range sc.Writers {
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
		rec := site.MemberRecord{Name: m.Name, PodName: m.PodName, Node: m.Node, PeerURLs: strings.Join(m.AdvertisePeerURLs, ",")}
		if slices.ContainsFunc(sc.Skipped, func(o controlplane.Member) bool { return o.Name == m.Name }) {
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

// Continue opens an operation that another client began. from is the snapshot,
// needed only while a member's data has not been built.
func Continue(ctx context.Context, d site.Deps, cfg Config, o *plan.Operation) (*site.Prepared, error) {
	sh, err := site.ReadShared(o)
	if err != nil {
		return nil, err
	}
	if o.Ended() {
		return nil, site.HasEnded(o)
	}
	r := NewRun(d, kubeFor(d, cfg, sh.Hot), cfg, o, sh)
	r.Plane = r.WithoutSkipped(cfg.Plane)
	if err := r.sameHistory(ctx); err != nil {
		return nil, err
	}
	if cfg.From != "" {
		if r.Source, err = prove(ctx, cfg, sh.Snapshot.Raw); err != nil {
			return nil, err
		}
		if r.Source.SHA256 != sh.Snapshot.SHA256 {
			r.Source.close()
			hint := ""
			if site.Empty(o) {
				hint = fmt.Sprintf("to put it in the place of that one: kubectl etcd restore %s --from %s", o.Target, cfg.From)
			}
			return nil, site.Refuse(hint, "continue operation %s: %s is another snapshot than %s, with which it began", o.ID, cfg.From, sh.Snapshot.File)
		}
	}
	return site.NewPrepared(r.Site, r), nil
}

// sameHistory refuses an operation whose journal came back with a snapshot that was restored since: nothing of it is left to do. An etcd
// that holds its own journal is known by its id: the one that the operation found, or the one that it makes.
func (r *Run) sameHistory(ctx context.Context) error {
	if r.Shared.Static == nil {
		return nil
	}
	s, err := r.Cluster.Survey(ctx, r.Plane, false)
	if err != nil {
		return nil //nolint:nilerr // who is down cannot tell, and the steps wait for them
	}
	for _, m := range s.Members {
		if m.Status == nil {
			continue
		}
		if id := m.Status.ClusterID.String(); id != r.Shared.OldClusterID && id != r.Shared.ClusterID {
			_, _, remove := r.Deps.Place.Where(r.Shared.Namespace, r.Operation.ID)
			return site.Refuse("delete its journal: "+remove, "continue operation %s: another snapshot was restored since, which has brought its journal back (it was of cluster %s, this is %s); nothing of it is left to do",
				r.Operation.ID, r.Shared.OldClusterID, id)
		}
	}
	return nil
}

func (r *Run) Resumable() error {
	if r.Source != nil {
		return nil
	}
	for _, s := range r.Operation.Steps {
		if s.Kind == site.KindBuild && s.State != plan.Done {
			return site.Refuse("pass the snapshot again with --from", "continue operation %s: %s has not been uploaded to all members yet", r.Operation.ID, r.Shared.Snapshot.File)
		}
	}
	return nil
}
