package restore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/datadir"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
)

// OldData copies what an ended restore has set aside into a folder, from the
// member that had the most of it, and returns the file. That is how a restore is
// taken back whose data clients have seen: the old data is restored like a
// snapshot, above every revision seen since. To exchange it back as it is would
// take the revisions back, too, and API servers would serve for ever what they remember.
func OldData(ctx context.Context, d site.Deps, cfg Config, o *plan.Operation, folder string) (string, error) {
	r, err := site.Ended(d, site.NewKube(d, cfg.Reach), cfg.Target, o, "undo")
	if err != nil {
		return "", err
	}
	if _, err := site.Chosen(cfg.Plane, cfg.Skip); err != nil {
		return "", err
	}
	return CopyOldData(ctx, r, folder)
}

// AsBefore gives the restore of old data what the first one was allowed: whose StatefulSet it was then is whose it is
// now, and writers that nobody finds are still nobody's to find.
func AsBefore(o *plan.Operation, cfg *Config) error {
	sh, err := site.ReadShared(o)
	if err != nil {
		return err
	}
	cfg.OperatorStopped, cfg.NotWriters, cfg.Again = sh.OperatorStopped, sh.NotWriters, true
	for _, s := range o.Steps {
		cfg.Recreate = cfg.Recreate || s.Kind == site.KindParallel
	}
	for _, object := range sh.Writers {
		if _, err := site.ParseWorkload(object); err == nil {
			cfg.FormerWriters = append(cfg.FormerWriters, object)
		}
	}
	return nil
}

// CopyOldData copies what the operation has set aside into a folder, from the member that has the most up to date of it.
func CopyOldData(ctx context.Context, r *site.Site, folder string) (file string, err error) {
	switch {
	case r.Shared.Replace != nil:
		return "", site.Refuse("", "undo operation %s: it has replaced one member, and the others have all of its data", r.Operation.ID)
	case r.Operation.Phase == plan.WentBack:
		return "", site.Refuse("", "undo operation %s: it was undone already", r.Operation.ID)
	}
	defer func() {
		dctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		err = errors.Join(err, r.CloseOwn(dctx))
	}()
	found := make([]*datadir.State, len(r.Shared.Members))
	if err := r.Each(func(i int, m *site.MemberRecord) error {
		// One that cannot be reached now is none to copy from; the others had the same data.
		st, err := r.Stage(ctx, m.Name)
		if err == nil {
			found[i], err = st.InspectKept(ctx)
		}
		if err != nil && ctx.Err() == nil {
			r.Deps.Report.Warn("the old data of member %s is not looked at: %v", m.Name, err)
			return nil
		}
		return err
	}); err != nil {
		return "", err
	}
	name, place := "", datadir.Place{}
	best := int64(-1)
	for i, s := range found {
		m := r.Shared.Members[i]
		if s != nil && s.Exists && s.RevisionKnown && s.Inode != m.NewInode && s.Revision > best {
			member, _ := r.Plane.Member(m.Name)
			name, best = m.Name, s.Revision
			place = datadir.Place{DataDir: member.DataDir, Op: r.Operation.ID}.Kept()
		}
	}
	if name == "" {
		return "", site.Refuse("", "undo operation %s: its old data is on no volume any more", r.Operation.ID)
	}
	p := r.Plane
	p.Members = append(p.Members[:0:0], p.Members...)
	for i := range p.Members {
		if p.Members[i].Name == name {
			p.Members[i].DataDir, p.Members[i].WALDir = place.DataDir, ""
		}
	}
	r.Deps.Report.Step("copying the old data of member %s, revision %d", name, best)
	if file, err = r.Cluster.Backup(ctx, p, "", folder, name, true); err != nil {
		return "", fmt.Errorf("copy the old data of member %s: %w", name, err)
	}
	return file, nil
}
