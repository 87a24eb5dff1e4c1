package restore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/backup"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/survey"
)

// chosen are the members that the user means: each by its ordinal, by the name of its pod, or its own.
func chosen(p controlplane.ControlPlane, names []string) ([]controlplane.Member, error) {
	var out []controlplane.Member
	for _, want := range names {
		m, ok := p.Member(want)
		if n, err := strconv.Atoi(want); !ok && err == nil && n >= 0 {
			m, ok = p.Member(fmt.Sprintf("%s-%d", p.Owner.Name, n))
		}
		var known []string
		for _, o := range p.Members {
			known = append(known, o.Name)
			if !ok && (o.PodName == want || o.PodName == p.Owner.Name+"-"+want) {
				m, ok = o, true
			}
		}
		if !ok {
			return nil, &backup.ErrNoMember{Name: want, Have: known}
		}
		if !slices.ContainsFunc(out, func(o controlplane.Member) bool { return o.Name == m.Name }) {
			out = append(out, m)
		}
	}
	return out, nil
}

func (sc *scene) skips(name string) bool {
	return slices.ContainsFunc(sc.skipped, func(m controlplane.Member) bool { return m.Name == name })
}

// whole refuses to restore less than what starts, and never leaves a member on old data beside the restored ones: API
// servers that reach it would be served what is no longer true.
func (sc *scene) whole(cfg Config) error {
	members := cfg.Plane.Members
	if most := len(members) - len(sc.skipped); most <= len(members)/2 {
		return refuse("restore more of them: leave out some --skip-member", "restore %s: %d of %d members are no quorum", cfg.Plane.ID(), most, len(members))
	}
	for _, m := range sc.skipped {
		if s := sc.survey.Find(m.Name); s != nil && s.Status != nil {
			return refuse("leave out --skip-member "+m.Name, "restore %s without member %s: it answers, and would go on with its old data beside the restored ones", cfg.Plane.ID(), m.Name)
		}
		sc.notes = append(sc.notes, fmt.Sprintf("member %s stays away: it must not start before its old data is gone; when its volume is back, replace it with: kubectl etcd restore %s --member %s", m.Name, cfg.Plane.ID(), m.Name))
	}
	if len(cfg.Members) == 0 {
		return nil
	}
	named, err := chosen(cfg.Plane, cfg.Members)
	if err != nil {
		return err
	}
	var missing []string
	for _, m := range members {
		if !sc.skips(m.Name) && !slices.ContainsFunc(named, func(o controlplane.Member) bool { return o.Name == m.Name }) {
			missing = append(missing, m.Name)
		}
	}
	if len(missing) > 0 {
		return refuse("add --member "+strings.Join(missing, " --member ")+", or leave --member out; what they hold is set aside, not deleted. One that is gone for good: --skip-member",
			"restore %s: quorum is lost, and etcd cannot start on the snapshot before these members are restored too: %s%s", cfg.Plane.ID(), strings.Join(missing, ", "), sc.survivors())
	}
	return nil
}

// survivors tells what could be restored from instead.
func (sc *scene) survivors() string {
	best := survivor(sc.survey)
	if best == nil {
		return ""
	}
	return fmt.Sprintf("; member %s still has revision %d, which can be restored on all: --from member/%s", best.Source.Name, best.Status.Revision, best.Source.Name)
}

// survivor is the member that knows most of those that answer, nil where none does. One that is left usually knows more
// than any backup.
func survivor(s *survey.Survey) *survey.Member {
	var best *survey.Member
	for i, m := range s.Members {
		if m.Source != nil && m.Status != nil && (best == nil || m.Status.Revision > best.Status.Revision) {
			best = &s.Members[i]
		}
	}
	return best
}

// fromMember makes a snapshot of what one member still has, and restores that. Without a quorum etcd still gives its
// snapshot; one that does not run has its file.
func fromMember(ctx context.Context, d Deps, cfg *Config) error {
	name, ok := strings.CutPrefix(cfg.From, "member/")
	if !ok {
		return nil
	}
	if _, err := os.Stat(cfg.From); err == nil {
		return refuse("a file of that name is named with ./"+cfg.From, "read --from=%s: it is both a member and a file", cfg.From)
	}
	members, err := chosen(cfg.Plane, []string{name})
	if err != nil {
		return err
	}
	if err := supported(*cfg); err != nil {
		return err
	}
	folder := cmp.Or(cfg.TakeInto, cfg.Safety, ".")
	k := kube{d, cfg.Reach}
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

// QuorumWithout tells whether the members that are not named can go on by themselves.
func QuorumWithout(ctx context.Context, d Deps, cfg Config) (bool, error) {
	named, err := chosen(cfg.Plane, cfg.Members)
	if err != nil {
		return false, err
	}
	s, err := kube{d, cfg.Reach}.Survey(ctx, cfg.Plane, false)
	if err != nil {
		return false, err
	}
	healthy := 0
	for _, m := range s.Members {
		if m.Source != nil && votes(m) && !slices.ContainsFunc(named, func(o controlplane.Member) bool { return o.Name == m.Source.Name }) {
			healthy++
		}
	}
	return healthy > len(cfg.Plane.Members)/2, nil
}

// withoutSkipped is the control plane as far as it is restored.
func (r *run) withoutSkipped(p controlplane.ControlPlane) controlplane.ControlPlane {
	p.Members = slices.DeleteFunc(slices.Clone(p.Members), func(m controlplane.Member) bool {
		return slices.ContainsFunc(r.sh.Skipped, func(s MemberRecord) bool { return s.Name == m.Name })
	})
	return p
}

// plane is the control plane as it is now, without members that are skipped: nobody should wait for their answers.
func (r *run) plane(ctx context.Context) (controlplane.ControlPlane, error) {
	p, err := r.c.Plane(ctx, r.sh.Namespace, r.sh.Name)
	return r.withoutSkipped(p), err
}

// podsOf are the pods of a workload, without those of members that are skipped: on a node that is gone they end never.
func (r *run) podsOf(ctx context.Context, w workload) ([]pod, error) {
	pods, err := r.c.Pods(ctx, w)
	if w != r.etcdSet() {
		return pods, err
	}
	return slices.DeleteFunc(pods, func(p pod) bool {
		return slices.ContainsFunc(r.sh.Skipped, func(s MemberRecord) bool { return s.PodName == p.Name })
	}), err
}
