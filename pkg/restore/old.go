package restore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/datadir"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
)

// OldData copies what an ended restore has set aside into a folder, from the
// member that had the most of it, and returns the file. That is how a restore is
// taken back whose data clients have seen: the old data is restored like a
// snapshot, above every revision seen since. To exchange it back as it is would
// take the revisions back, too, and API servers would serve for ever what they remember.
func OldData(ctx context.Context, d Deps, cfg Config, o *plan.Operation, folder string) (string, error) {
	r, err := ended(d, kube{d, cfg.Reach}, cfg, o, "undo")
	if err != nil {
		return "", err
	}
	if _, err := chosen(cfg.Plane, cfg.Skip); err != nil {
		return "", err
	}
	return r.oldData(ctx, folder)
}

// AsBefore gives the restore of old data what the first one was allowed: whose StatefulSet it was then is whose it is
// now, and writers that nobody finds are still nobody's to find.
func AsBefore(o *plan.Operation, cfg *Config) error {
	sh, err := decodeShared(o)
	if err != nil {
		return err
	}
	cfg.OperatorStopped, cfg.NotWriters, cfg.Again = sh.OperatorStopped, sh.NotWriters, true
	for _, s := range o.Steps {
		cfg.Recreate = cfg.Recreate || s.Kind == kindParallel
	}
	for _, object := range sh.Writers {
		if _, err := parseWorkload(object); err == nil {
			cfg.FormerWriters = append(cfg.FormerWriters, object)
		}
	}
	return nil
}

// ended opens an operation of which only what it has left is of interest.
func ended(d Deps, c cluster, cfg Config, o *plan.Operation, verb string) (*run, error) {
	if !o.Ended() {
		return nil, refuse(goOn(o, cfg.Plane.Namespace), "%s operation %s: it is unfinished (%s)", verb, o.ID, o.Phase)
	}
	sh, err := decodeShared(o)
	if err != nil {
		return nil, err
	}
	return &run{d: d, c: c, cfg: cfg, op: o, sh: sh, stages: map[string]stage{}}, nil
}

func (r *run) oldData(ctx context.Context, folder string) (file string, err error) {
	switch {
	case r.sh.Replace != nil:
		return "", refuse("", "undo operation %s: it has replaced one member, and the others have all of its data", r.op.ID)
	case r.op.Phase == plan.WentBack:
		return "", refuse("", "undo operation %s: it was undone already", r.op.ID)
	}
	defer func() {
		dctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		err = errors.Join(err, r.closeOwn(dctx))
	}()
	found := make([]*datadir.State, len(r.sh.Members))
	if err := r.each(func(i int, m *MemberRecord) error {
		// One that cannot be reached now is none to copy from; the others had the same data.
		st, err := r.stage(ctx, m.Name)
		if err == nil {
			found[i], err = st.InspectKept(ctx)
		}
		if err != nil && ctx.Err() == nil {
			r.d.Report.Warn("the old data of member %s is not looked at: %v", m.Name, err)
			return nil
		}
		return err
	}); err != nil {
		return "", err
	}
	name, place := "", datadir.Place{}
	best := int64(-1)
	for i, s := range found {
		m := r.sh.Members[i]
		if s != nil && s.Exists && s.RevisionKnown && s.Inode != m.NewInode && s.Revision > best {
			member, _ := r.cfg.Plane.Member(m.Name)
			name, best = m.Name, s.Revision
			place = datadir.Place{DataDir: member.DataDir, Op: r.op.ID}.Kept()
		}
	}
	if name == "" {
		return "", refuse("", "undo operation %s: its old data is on no volume any more", r.op.ID)
	}
	p := r.cfg.Plane
	p.Members = append(p.Members[:0:0], p.Members...)
	for i := range p.Members {
		if p.Members[i].Name == name {
			p.Members[i].DataDir, p.Members[i].WALDir = place.DataDir, ""
		}
	}
	r.d.Report.Step("copying the old data of member %s, revision %d", name, best)
	if file, err = r.c.Backup(ctx, p, "", folder, name, true); err != nil {
		return "", fmt.Errorf("copy the old data of member %s: %w", name, err)
	}
	return file, nil
}
