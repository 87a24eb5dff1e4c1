package hosted

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/datadir"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
)

// drop deletes the old data, because the user says so: no room, no way back. What it is replaced with has been proven.
func (r *way) drop(ctx context.Context, t *plan.Task) error {
	m := r.Shared.Member(t.Object)
	st, now, err := r.Volume(ctx, m.Name)
	if err != nil {
		return err
	}
	if err := r.idle(ctx); err != nil {
		return err
	}
	if slices.ContainsFunc(now.Operations, func(o datadir.Operation) bool { return o.Op == r.Operation.ID }) { // uploaded or built of another snapshot, before this one took its place
		if _, err := st.Discard(ctx, r.Operation.ID); err != nil {
			return fmt.Errorf("remove what was built for member %s: %w", m.Name, err)
		}
	}
	if err := r.AboveDisk(m, now); err != nil {
		return err
	}
	did, err := st.Drop(ctx, datadir.DropRequest{Inode: now.Inode, Wait: int(lockWait / time.Second)})
	if err != nil {
		return fmt.Errorf("delete old data of member %s: %w", m.Name, err)
	}
	if did.Freed > 0 { // else an earlier try has deleted it
		r.Deps.Report.Step("member %s: %s deleted", m.Name, humanize.IBytes(uint64(did.Freed)))
	}
	return nil
}

// switchTo makes the built data the member's. Now that etcd is gone, what it
// leaves can be read: neither its folder nor its revision has to be what they were
// when the restore began.
func (r *way) switchTo(ctx context.Context, t *plan.Task) error {
	m := r.Shared.Member(t.Object)
	st, now, err := r.Volume(ctx, m.Name)
	if err != nil {
		return err
	}
	if now.Inode == m.NewInode {
		return nil
	}
	if err := r.idle(ctx); err != nil {
		return err
	}
	if n, err := r.Cluster.Replicas(ctx, r.StatefulSet()); err != nil || n != 0 {
		if err == nil {
			err = r.putBack(ctx, r.StatefulSet(), n)
		}
		return err
	}
	if err := r.AboveDisk(m, now); err != nil {
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
func (r *way) switchBack(ctx context.Context, t *plan.Task) error {
	m := r.Shared.Member(t.Object)
	if r.Shared.StageLate { // what somebody has scaled up meanwhile has the volume
		if err := r.stopEtcd(ctx); err != nil {
			return err
		}
	}
	st, now, err := r.Volume(ctx, m.Name)
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
func (r *way) half(now *datadir.State) bool {
	return slices.ContainsFunc(now.Operations, func(o datadir.Operation) bool { return o.Op == r.Operation.ID && o.HalfExchanged })
}

// exchange makes the folder of that inode the member's data; etcd must be gone.
func (r *way) exchange(ctx context.Context, st site.Stage, m *site.MemberRecord, inode uint64) error {
	_, err := st.Exchange(ctx, datadir.ExchangeRequest{Inode: inode, Exists: m.HadData, Wait: int(lockWait / time.Second)})
	if err != nil {
		return fmt.Errorf("exchange data of member %s: %w", m.Name, err)
	}
	return nil
}

// lockWait is for an etcd whose pod is gone and whose process is still closing its database.
const lockWait = 30 * time.Second
