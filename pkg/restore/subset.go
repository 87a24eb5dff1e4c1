package restore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/backup"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
)

// Whole refuses to restore less than what starts, and never leaves a member on old data beside the restored ones: API
// servers that reach it would be served what is no longer true.
func (sc *Scene) Whole(cfg Config) error {
	members := cfg.Plane.Members
	if most := len(members) - len(sc.Skipped); most <= len(members)/2 {
		return site.Refuse("restore more of them: leave out some --skip-member", "restore %s: %d of %d members are no quorum", cfg.Plane.ID(), most, len(members))
	}
	for _, m := range sc.Skipped {
		if s := sc.Survey.Find(m.Name); s != nil && s.Status != nil {
			return site.Refuse("leave out --skip-member "+m.Name, "restore %s without member %s: it answers, and would go on with its old data beside the restored ones", cfg.Plane.ID(), m.Name)
		}
		sc.Notes = append(sc.Notes, fmt.Sprintf("member %s stays away: it must not start before its old data is gone; when its volume is back, replace it with: kubectl etcd restore %s --member %s", m.Name, cfg.Plane.ID(), m.Name))
	}
	if len(cfg.Members) == 0 {
		return nil
	}
	named, err := site.Chosen(cfg.Plane, cfg.Members)
	if err != nil {
		return err
	}
	var missing []string
	for _, m := range members {
		if !sc.Skips(m.Name) && !slices.ContainsFunc(named, func(o controlplane.Member) bool { return o.Name == m.Name }) {
			missing = append(missing, m.Name)
		}
	}
	if len(missing) > 0 {
		return site.Refuse("add --member "+strings.Join(missing, " --member ")+", or leave --member out; what they hold is set aside, not deleted. One that is gone for good: --skip-member",
			"restore %s: quorum is lost, and etcd cannot start on the snapshot before these members are restored too: %s%s", cfg.Plane.ID(), strings.Join(missing, ", "), sc.survivors())
	}
	return nil
}

// survivors tells what could be restored from instead.
func (sc *Scene) survivors() string {
	best := sc.Survey.MostUpToDate()
	if best == nil {
		return ""
	}
	return fmt.Sprintf("; member %s still has revision %d, which can be restored on all: --from member/%s", best.Source.Name, best.Status.Revision, best.Source.Name)
}

// fromMember makes a snapshot of what one member still has, and restores that. Without a quorum etcd still gives its
// snapshot; one that does not run has its file.
func (r *Run) fromMember(ctx context.Context) error {
	d, cfg := r.Deps, &r.Config
	name, ok := strings.CutPrefix(cfg.From, "member/")
	if !ok {
		return nil
	}
	if _, err := os.Stat(cfg.From); err == nil {
		return site.Refuse("a file of that name is named with ./"+cfg.From, "read --from=%s: it is both a member and a file", cfg.From)
	}
	members, err := site.Chosen(cfg.Plane, []string{name})
	if err != nil {
		return err
	}
	folder := cmp.Or(cfg.TakeInto, cfg.Safety, ".")
	k := site.NewKube(d, cfg.Reach)
	d.Report.Step("taking what member %s has", members[0].Name)
	file, err := k.Backup(ctx, cfg.Plane, "", folder, members[0].Name, false)
	var none *backup.ErrNoSource
	if errors.As(err, &none) {
		d.Report.Step("it does not answer; copying its database file, in which the last moments before a crash can be missing")
		file, err = k.Backup(ctx, cfg.Plane, "", folder, members[0].Name, true)
		cfg.Raw = err == nil
	}
	if err != nil {
		return fmt.Errorf("take what member %s has: %w", members[0].Name, err)
	}
	cfg.From, cfg.FromOtherCluster = file, true // it is this one's
	return nil
}
