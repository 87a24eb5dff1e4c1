package restore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/backup"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/datadir"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
)

// stage is the utility pod at a member's volume, made when there is none, or when it is gone.
func (r *run) stage(ctx context.Context, name string) (stage, error) {
	return r.utility(ctx, name, name, r.c.Stage)
}

// asker is a utility pod that can ask a member: the one at its volume, or, where
// etcd's own pod is the only one that can have that, one without it.
func (r *run) asker(ctx context.Context, name string) (stage, error) {
	if !r.sh.StageLate {
		return r.stage(ctx, name)
	}
	return r.utility(ctx, askPrefix+name, name, r.c.Asker)
}

// askPrefix is in the keys of stages without a volume.
const askPrefix = "ask/"

func (r *run) utility(ctx context.Context, key, name string, open func(context.Context, controlplane.Member, string) (stage, error)) (stage, error) {
	r.mu.Lock()
	st := r.stages[key]
	r.mu.Unlock()
	if st != nil && st.Alive(ctx) {
		return st, nil
	}
	m, ok := r.cfg.Plane.Member(name)
	if !ok {
		return nil, fmt.Errorf("reach member %s: it was not found", name)
	}
	st, err := open(ctx, m, r.op.ID)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	r.stages[key] = st
	r.mu.Unlock()
	return st, nil
}

// look is the stage of a member, and what is on its volume now.
func (r *run) look(ctx context.Context, name string) (stage, *datadir.State, error) {
	st, err := r.stage(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	now, err := st.Inspect(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("inspect volume of member %s: %w", name, err)
	}
	return st, now, nil
}

// stageLifetime ends utility pods whose client was killed.
const stageLifetime = 2 * time.Hour

// closeStages removes all utility pods of the operation: also those of a client
// that was killed before this one went on.
func (r *run) closeStages(ctx context.Context) error {
	return errors.Join(r.closeOwn(ctx), r.c.Unstage(ctx, r.sh.Namespace, r.op.ID))
}

func (r *run) closeOwn(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	for name, st := range r.stages {
		errs = append(errs, st.Close(ctx))
		delete(r.stages, name)
	}
	return errors.Join(errs...)
}

// each does something for all members at once.
func (r *run) each(f func(i int, m *MemberRecord) error) error {
	errs := make([]error, len(r.sh.Members))
	var wg sync.WaitGroup
	for i := range r.sh.Members {
		wg.Go(func() { errs[i] = f(i, &r.sh.Members[i]) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// inspect starts the utility pods, and finds out what decides whether this can
// go well at all: space, what is there, and the highest revision of all.
func (r *run) inspect(ctx context.Context, t *plan.Task) error {
	states := make([]*datadir.State, len(r.sh.Members))
	err := r.each(func(i int, m *MemberRecord) error {
		_, s, err := r.look(ctx, m.Name)
		states[i] = s
		return err
	})
	if err != nil {
		return err
	}
	r.tellNewer(ctx, states)
	for i, s := range states {
		m := &r.sh.Members[i]
		if !m.Inspected {
			m.Inspected, m.HadData, m.OldInode, m.OldSize = true, s.Exists, s.Inode, s.TreeSize
		}
		if s.RevisionKnown {
			r.sh.Highest = max(r.sh.Highest, s.Revision)
		}
		if r.sh.OldClusterID == "" {
			r.sh.OldClusterID = s.ClusterID
		}
	}
	if !r.sh.StageLate { // otherwise ask has asked while they could answer
		if err := r.sameCluster(ctx); err != nil {
			return err
		}
	}
	r.computeBump()
	if err := r.shrink(ctx); err != nil {
		return err
	}
	return r.each(func(i int, m *MemberRecord) error { return r.roomy(m, states[i]) })
}

// tellNewer tells, where etcd has no quorum, which volume holds more than the snapshot: it could be restored instead.
func (r *run) tellNewer(ctx context.Context, states []*datadir.State) {
	if r.sh.StageLate && r.sh.Live > 0 {
		return // they were healthy, and have just been stopped
	}
	best := -1
	for i, s := range states {
		if s.RevisionKnown && s.Revision > r.sh.Snapshot.Revision && (best < 0 || s.Revision > states[best].Revision) {
			best = i
		}
	}
	if best >= 0 && !r.answers(ctx) {
		name := r.sh.Members[best].Name
		r.d.Report.Warn("no member is healthy, and the volume of member %s holds revision %d, the snapshot %d: what is beyond it will be gone; Ctrl-C takes this back, and --from member/%s restores what the volume holds", name, states[best].Revision, r.sh.Snapshot.Revision, name)
	}
}

// ask is as much of inspect as can be done without the volumes.
func (r *run) ask(ctx context.Context, _ *plan.Task) error {
	if err := r.sameCluster(ctx); err != nil {
		return err
	}
	r.computeBump()
	return r.shrink(ctx)
}

// computeBump puts the restored revision above all that any client can have
// seen: an API server that has seen a higher one serves its cache for ever.
func (r *run) computeBump() {
	if !r.sh.BumpAsked {
		r.sh.Bump = max(0, r.sh.Highest-r.sh.Snapshot.Revision) + margin
		return
	}
	if note := r.sh.below(); r.sh.Live == 0 && note != "" { // otherwise it is in the plan's notes
		r.d.Report.Warn("%s", note)
	}
}

// below warns where the restored revision is not above what clients may have seen; "" where it is.
func (s *Shared) below() string {
	target := s.Snapshot.Revision + s.Bump
	if target > s.Highest {
		return ""
	}
	return fmt.Sprintf("the restored revision %d will not be above %d, which clients may have seen: they can go on serving what no longer exists", target, s.Highest)
}

// roomy refuses a volume that cannot hold the upload, the new data and the old.
func (r *run) roomy(m *MemberRecord, s *datadir.State) error {
	iec := func(n int64) string { return humanize.IBytes(uint64(max(n, 0))) }
	if s.ReadOnly || !s.Writable {
		return refuse("", "inspect volume of member %s: it cannot be written", m.Name)
	}
	have := s.Free
	for _, o := range s.Operations {
		if o.Op == r.op.ID { // of an earlier try
			have += o.Size
		}
	}
	if r.sh.DiscardOld {
		have += s.TreeSize
	}
	size := r.sh.Snapshot.Size
	if r.src != nil {
		size = r.src.sent.Size // history is left out by now
	}
	if need := datadir.Room(size); have < need {
		return refuse("make room on the volume; what earlier restores left there is removed by: kubectl etcd restore cleanup; --discard-old-data deletes the old data first, for good",
			"inspect volume of member %s: the snapshot and the new data beside the old need %s, %s are free", m.Name, iec(need), iec(have))
	}
	return nil
}

// build uploads the snapshot and has the member's own etcdutl make a data directory of it.
func (r *run) build(ctx context.Context, t *plan.Task) error {
	m := r.sh.member(t.Object)
	st, err := r.stage(ctx, m.Name)
	if err != nil {
		return err
	}
	if err := r.upload(ctx, st, m); err != nil {
		return err
	}
	built, err := st.Build(ctx, datadir.BuildRequest{Name: m.Name, InitialCluster: r.sh.InitialCluster,
		Token: r.sh.Token, PeerURLs: strings.Split(m.PeerURLs, ","), Bump: r.sh.Bump, Raw: r.sh.Snapshot.Raw}, nil)
	if err != nil {
		return fmt.Errorf("build data of member %s: %w", m.Name, err)
	}
	if want := r.sh.Snapshot.Revision + r.sh.Bump; built.Revision < want {
		return fmt.Errorf("build data of member %s: its revision is %d, not %d", m.Name, built.Revision, want)
	}
	if r.sh.ClusterID != "" && built.ClusterID != r.sh.ClusterID {
		return fmt.Errorf("build data of member %s: its cluster id is %s, the others' %s", m.Name, built.ClusterID, r.sh.ClusterID)
	}
	if built.ClusterID == r.sh.OldClusterID {
		return fmt.Errorf("build data of member %s: the new cluster has the old one's id %s", m.Name, built.ClusterID)
	}
	m.NewInode, r.sh.ClusterID = built.Inode, built.ClusterID
	return nil
}

// upload sends the snapshot, unless it is there, or the data built of it.
func (r *run) upload(ctx context.Context, st stage, m *MemberRecord) error {
	if r.src == nil {
		p, err := st.Prepare(ctx, r.sh.Snapshot.Size)
		if err != nil {
			return fmt.Errorf("prepare volume of member %s: %w", m.Name, err)
		}
		if p.Built == nil {
			return refuse("pass the snapshot again with --from", "build data of member %s: the snapshot %s has not been uploaded yet", m.Name, r.sh.Snapshot.File)
		}
		return nil
	}
	content, err := r.content(ctx)
	if err != nil {
		return fmt.Errorf("upload snapshot to member %s: %w", m.Name, err)
	}
	if r.sh.LimitRate > 0 {
		content.Pace = backup.Pacer(ctx, r.sh.LimitRate)
	}
	if err := st.Upload(ctx, content, func(done, total int64) { r.d.Report.Progress("member "+m.Name, done, total) }); err != nil {
		return fmt.Errorf("upload snapshot to member %s: %w", m.Name, err)
	}
	return nil
}

// discard removes what was built. What lies there after an exchange is the old
// data, and no undo may remove that.
func (r *run) discard(ctx context.Context, t *plan.Task) error {
	st, now, err := r.look(ctx, t.Object)
	if err != nil {
		return err
	}
	for _, o := range now.Operations {
		if o.Op == r.op.ID && o.Built != nil && o.Inode != 0 && o.Inode != o.Built.Inode {
			return refuse("", "remove what was built for member %s: what is there is not what was built, but what it was exchanged for", t.Object)
		}
	}
	if _, err := st.Discard(ctx, r.op.ID); err != nil {
		return fmt.Errorf("remove what was built for member %s: %w", t.Object, err)
	}
	r.sh.member(t.Object).NewInode = 0
	return nil
}

// drop deletes the old data, because the user says so: no room, no way back. What it is replaced with has been proven.
func (r *run) drop(ctx context.Context, t *plan.Task) error {
	m := r.sh.member(t.Object)
	st, now, err := r.look(ctx, m.Name)
	if err != nil {
		return err
	}
	if err := r.idle(ctx); err != nil {
		return err
	}
	if slices.ContainsFunc(now.Operations, func(o datadir.Operation) bool { return o.Op == r.op.ID }) { // uploaded or built of another snapshot, before this one took its place
		if _, err := st.Discard(ctx, r.op.ID); err != nil {
			return fmt.Errorf("remove what was built for member %s: %w", m.Name, err)
		}
	}
	if err := r.aboveDisk(m, now); err != nil {
		return err
	}
	did, err := st.Drop(ctx, datadir.DropRequest{Inode: now.Inode, Wait: int(lockWait / time.Second)})
	if err != nil {
		return fmt.Errorf("delete old data of member %s: %w", m.Name, err)
	}
	if did.Freed > 0 { // else an earlier try has deleted it
		r.d.Report.Step("member %s: %s deleted", m.Name, humanize.IBytes(uint64(did.Freed)))
	}
	return nil
}

// aboveDisk refuses where the data that is there has come near the restored revision since that was computed.
func (r *run) aboveDisk(m *MemberRecord, now *datadir.State) error {
	if target := r.sh.Snapshot.Revision + r.sh.Bump; !r.sh.BumpAsked && now.RevisionKnown && now.Revision >= target {
		return fmt.Errorf("exchange data of member %s: it holds revision %d, and the restored one would be %d; restore again", m.Name, now.Revision, target)
	}
	return nil
}

// switchTo makes the built data the member's. Now that etcd is gone, what it
// leaves can be read: neither its folder nor its revision has to be what they were
// when the restore began.
func (r *run) switchTo(ctx context.Context, t *plan.Task) error {
	m := r.sh.member(t.Object)
	st, now, err := r.look(ctx, m.Name)
	if err != nil {
		return err
	}
	if now.Inode == m.NewInode {
		return nil
	}
	if err := r.idle(ctx); err != nil {
		return err
	}
	if n, err := r.c.Replicas(ctx, r.etcdSet()); err != nil || n != 0 {
		if err == nil {
			err = r.putBack(ctx, r.etcdSet(), n)
		}
		return err
	}
	if err := r.aboveDisk(m, now); err != nil {
		return err
	}
	if !r.half(now) { // otherwise an earlier try has recorded what was there
		m.HadData, m.OldInode, m.OldSize = now.Exists, now.Inode, now.TreeSize
		if err := t.Remember(ctx, m.OldInode); err != nil {
			return err
		}
	}
	return r.exchange(ctx, st, m, m.NewInode)
}

// switchBack takes back what switchTo has done, if it has.
func (r *run) switchBack(ctx context.Context, t *plan.Task) error {
	m := r.sh.member(t.Object)
	if r.sh.StageLate { // what somebody has scaled up meanwhile has the volume
		if err := r.stopEtcd(ctx); err != nil {
			return err
		}
	}
	st, now, err := r.look(ctx, m.Name)
	if err != nil {
		return err
	}
	if now.Inode != m.NewInode && !r.half(now) || len(t.Record) == 0 {
		return nil
	}
	if err := r.stopEtcd(ctx); err != nil { // somebody may have scaled it up meanwhile
		return err
	}
	return r.exchange(ctx, st, m, m.OldInode)
}

// half tells whether an exchange by two renames was cut between them.
func (r *run) half(now *datadir.State) bool {
	return slices.ContainsFunc(now.Operations, func(o datadir.Operation) bool { return o.Op == r.op.ID && o.HalfExchanged })
}

// exchange makes the folder of that inode the member's data; etcd must be gone.
func (r *run) exchange(ctx context.Context, st stage, m *MemberRecord, inode uint64) error {
	_, err := st.Exchange(ctx, datadir.ExchangeRequest{Inode: inode, Exists: m.HadData, Wait: int(lockWait / time.Second)})
	if err != nil {
		return fmt.Errorf("exchange data of member %s: %w", m.Name, err)
	}
	return nil
}

// lockWait is for an etcd whose pod is gone and whose process is still closing its database.
const lockWait = 30 * time.Second
