package restore

import (
	"context"
	"fmt"
	"strings"

	"github.com/dustin/go-humanize"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/backup"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/datadir"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
)

// inspect starts the utility pods, and finds out what decides whether this can
// go well at all: space, what is there, and the highest revision of all.
func (r *Run) inspect(ctx context.Context, t *plan.Task) error {
	states := make([]*datadir.State, len(r.Shared.Members))
	err := r.Each(func(i int, m *site.MemberRecord) error {
		_, s, err := r.Volume(ctx, m.Name)
		states[i] = s
		return err
	})
	if err != nil {
		return err
	}
	r.tellNewer(ctx, states)
	for i, s := range states {
		m := &r.Shared.Members[i]
		if !m.Inspected {
			m.Inspected, m.HadData, m.OldInode, m.OldSize = true, s.Exists, s.Inode, s.TreeSize
		}
		if s.RevisionKnown {
			r.Shared.Highest = max(r.Shared.Highest, s.Revision)
		}
		if r.Shared.OldClusterID == "" {
			r.Shared.OldClusterID = s.ClusterID
		}
	}
	if !r.Shared.StageLate { // otherwise ask has asked while they could answer
		if err := r.sameCluster(ctx); err != nil {
			return err
		}
	}
	r.computeBump()
	if err := r.shrink(ctx); err != nil {
		return err
	}
	return r.Each(func(i int, m *site.MemberRecord) error { return r.roomy(m, states[i]) })
}

// tellNewer tells, where etcd has no quorum, which volume holds more than the snapshot: it could be restored instead.
func (r *Run) tellNewer(ctx context.Context, states []*datadir.State) {
	if r.Shared.StageLate && r.Shared.Live > 0 {
		return // they were healthy, and have just been stopped
	}
	best := -1
	for i, s := range states {
		if s.RevisionKnown && s.Revision > r.Shared.Snapshot.Revision && (best < 0 || s.Revision > states[best].Revision) {
			best = i
		}
	}
	if best >= 0 && !r.Answers(ctx) {
		name := r.Shared.Members[best].Name
		r.Deps.Report.Warn("no member is healthy, and the volume of member %s holds revision %d, the snapshot %d: what is beyond it will be gone; Ctrl-C takes this back, and --from member/%s restores what the volume holds", name, states[best].Revision, r.Shared.Snapshot.Revision, name)
	}
}

// ask is as much of inspect as can be done without the volumes.
func (r *Run) ask(ctx context.Context, _ *plan.Task) error {
	if err := r.sameCluster(ctx); err != nil {
		return err
	}
	r.computeBump()
	return r.shrink(ctx)
}

// computeBump puts the restored revision above all that any client can have
// seen: an API server that has seen a higher one serves its cache for ever.
func (r *Run) computeBump() {
	if !r.Shared.BumpAsked {
		r.Shared.Bump = max(0, r.Shared.Highest-r.Shared.Snapshot.Revision) + margin
		return
	}
	if note := r.Shared.Below(); r.Shared.Live == 0 && note != "" { // otherwise it is in the plan's notes
		r.Deps.Report.Warn("%s", note)
	}
}

// roomy refuses a volume that cannot hold the upload, the new data and the old.
func (r *Run) roomy(m *site.MemberRecord, s *datadir.State) error {
	iec := func(n int64) string { return humanize.IBytes(uint64(max(n, 0))) }
	if s.ReadOnly || !s.Writable {
		return site.Refuse("", "inspect volume of member %s: it cannot be written", m.Name)
	}
	have := s.Free
	for _, o := range s.Operations {
		if o.Op == r.Operation.ID { // of an earlier try
			have += o.Size
		}
	}
	if r.Shared.DiscardOld {
		have += s.TreeSize
	}
	size := r.Shared.Snapshot.Size
	if r.Source != nil {
		size = r.Source.sent.Size // history is left out by now
	}
	if need := datadir.Room(size); have < need {
		return site.Refuse("make room on the volume; what earlier restores left there is removed by: kubectl etcd restore cleanup; --discard-old-data deletes the old data first, for good",
			"inspect volume of member %s: the snapshot and the new data beside the old need %s, %s are free", m.Name, iec(need), iec(have))
	}
	return nil
}

// build uploads the snapshot and has the member's own etcdutl make a data directory of it.
func (r *Run) build(ctx context.Context, t *plan.Task) error {
	m := r.Shared.Member(t.Object)
	st, err := r.Stage(ctx, m.Name)
	if err != nil {
		return err
	}
	if err := r.upload(ctx, st, m); err != nil {
		return err
	}
	built, err := st.Build(ctx, datadir.BuildRequest{Name: m.Name, InitialCluster: r.Shared.InitialCluster,
		Token: r.Shared.Token, PeerURLs: strings.Split(m.PeerURLs, ","), Bump: r.Shared.Bump, Raw: r.Shared.Snapshot.Raw}, nil)
	if err != nil {
		return fmt.Errorf("build data of member %s: %w", m.Name, err)
	}
	if want := r.Shared.Snapshot.Revision + r.Shared.Bump; built.Revision < want {
		return fmt.Errorf("build data of member %s: its revision is %d, not %d", m.Name, built.Revision, want)
	}
	if r.Shared.ClusterID != "" && built.ClusterID != r.Shared.ClusterID {
		return fmt.Errorf("build data of member %s: its cluster id is %s, the others' %s", m.Name, built.ClusterID, r.Shared.ClusterID)
	}
	if built.ClusterID == r.Shared.OldClusterID {
		return fmt.Errorf("build data of member %s: the new cluster has the old one's id %s", m.Name, built.ClusterID)
	}
	m.NewInode, r.Shared.ClusterID = built.Inode, built.ClusterID
	return nil
}

// upload sends the snapshot, unless it is there, or the data built of it.
func (r *Run) upload(ctx context.Context, st site.Stage, m *site.MemberRecord) error {
	if r.Source == nil {
		p, err := st.Prepare(ctx, r.Shared.Snapshot.Size)
		if err != nil {
			return fmt.Errorf("prepare volume of member %s: %w", m.Name, err)
		}
		if p.Built == nil {
			return site.Refuse("pass the snapshot again with --from", "build data of member %s: the snapshot %s has not been uploaded yet", m.Name, r.Shared.Snapshot.File)
		}
		return nil
	}
	content, err := r.content(ctx)
	if err != nil {
		return fmt.Errorf("upload snapshot to member %s: %w", m.Name, err)
	}
	if r.Shared.LimitRate > 0 {
		content.Pace = backup.Pacer(ctx, r.Shared.LimitRate)
	}
	if err := st.Upload(ctx, content, func(done, total int64) { r.Deps.Report.Progress("member "+m.Name, done, total) }); err != nil {
		return fmt.Errorf("upload snapshot to member %s: %w", m.Name, err)
	}
	return nil
}

// discard removes what was built. What lies there after an exchange is the old
// data, and no undo may remove that.
func (r *Run) discard(ctx context.Context, t *plan.Task) error {
	st, now, err := r.Volume(ctx, t.Object)
	if err != nil {
		return err
	}
	for _, o := range now.Operations {
		if o.Op == r.Operation.ID && o.Built != nil && o.Inode != 0 && o.Inode != o.Built.Inode {
			return site.Refuse("", "remove what was built for member %s: what is there is not what was built, but what it was exchanged for", t.Object)
		}
	}
	if _, err := st.Discard(ctx, r.Operation.ID); err != nil {
		return fmt.Errorf("remove what was built for member %s: %w", t.Object, err)
	}
	r.Shared.Member(t.Object).NewInode = 0
	return nil
}

// AboveDisk refuses where the data that is there has come near the restored revision since that was computed.
func (r *Run) AboveDisk(m *site.MemberRecord, now *datadir.State) error {
	if target := r.Shared.Snapshot.Revision + r.Shared.Bump; !r.Shared.BumpAsked && now.RevisionKnown && now.Revision >= target {
		return fmt.Errorf("exchange data of member %s: it holds revision %d, and the restored one would be %d; restore again", m.Name, now.Revision, target)
	}
	return nil
}
