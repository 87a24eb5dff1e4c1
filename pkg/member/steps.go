package member

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/agentapi"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/await"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/datadir"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/survey"
)

func (r *Replacement) Actions() map[string]plan.Action {
	return map[string]plan.Action{
		site.KindReplaceInspect: site.Action{Forth: r.reaching(r.lookReplace), Back: func(ctx context.Context, _ *plan.Task) error { return r.CloseStages(ctx) }},
		site.KindLeave:          site.Action{Forth: r.reaching(r.leave)},
		site.KindJoin:           site.Action{Forth: r.join},
		site.KindSeed:           site.Action{Forth: r.reaching(r.seed)},
		site.KindReplaceSwitch:  site.Action{Forth: r.reaching(r.insert)},
		site.KindRestartPod:     site.Action{Forth: r.reaching(r.awake)},
		site.KindSync:           site.Action{Forth: r.sync},
		site.KindFinish:         site.Action{Forth: func(ctx context.Context, _ *plan.Task) error { return r.CloseStages(ctx) }},
	}
}

// surveyOthers leaves out the member that is replaced, and need not answer: one that accepts connections only would cost ten
// seconds each time.
func (r *Replacement) surveyOthers(ctx context.Context) (*survey.Survey, error) {
	p, err := r.FindPlane(ctx)
	if err != nil {
		return nil, err
	}
	r.Follow(p)
	return r.Cluster.Survey(ctx, without(p, r.replaced().Name), false)
}

// without is a control plane but for one member.
func without(p controlplane.ControlPlane, member string) controlplane.ControlPlane {
	p.Members = slices.DeleteFunc(slices.Clone(p.Members), func(m controlplane.Member) bool { return m.Name == member })
	return p
}

func (r *Replacement) replaced() *site.MemberRecord { return &r.Shared.Members[0] }

// lookReplace finds out, while all can still be left as it is, whether the
// member can be replaced: its volume, and what the others say of each other.
func (r *Replacement) lookReplace(ctx context.Context, _ *plan.Task) error {
	m := r.replaced()
	_, s, err := r.Volume(ctx, m.Name)
	if err != nil {
		return err
	}
	r.stray(s)
	if s.ReadOnly || !s.Writable {
		return site.Refuse("", "inspect volume of member %s: it cannot be written", m.Name)
	}
	if need := r.Shared.Replace.Size + r.Shared.Replace.Size/10 + newLogs; s.Free < need {
		return site.Refuse("make room on the volume; what earlier restores left there is removed by: kubectl etcd restore cleanup",
			"inspect volume of member %s: %s are free, the new data beside the old needs %s", m.Name, humanize.IBytes(uint64(max(s.Free, 0))), humanize.IBytes(uint64(need)))
	}
	m.Inspected, m.HadData, m.OldInode, m.OldSize = true, s.Exists, s.Inode, s.TreeSize
	rest, err := r.rest(ctx)
	if err != nil {
		return err
	}
	_, err = r.strangers(ctx, rest)
	return err
}

// newLogs is what etcd's log takes at first: two files, allocated in advance.
const newLogs = 128 << 20

// rest are the other members, if all of them can go on without this one.
func (r *Replacement) rest(ctx context.Context) (*rest, error) {
	s, err := r.surveyOthers(ctx)
	if err != nil {
		return nil, err
	}
	rest, err := others(s, r.replaced().Name, r.static())
	if err != nil {
		return nil, err
	}
	if got := rest.cluster.String(); got != r.Shared.ClusterID {
		return nil, fmt.Errorf("replace member %s: the others are in cluster %s now, and were in %s", r.replaced().Name, got, r.Shared.ClusterID)
	}
	return rest, nil
}

// strangers are the listed members that are none of the others: the replaced one,
// perhaps several times, after somebody tried this by hand. Who is neither is
// nobody that may be removed here.
func (r *Replacement) strangers(ctx context.Context, rest *rest) ([]etcd.Member, error) {
	m := r.replaced()
	reply, err := r.change(ctx, rest.asked(), "the cluster lists its members", agentapi.MembershipRequest{})
	if err != nil {
		return nil, err
	}
	var out []etcd.Member
	for _, e := range reply.Members {
		if slices.ContainsFunc(rest.voters, func(v survey.Member) bool { return v.ID == e.ID }) {
			continue
		}
		mine := func(u string) bool { return slices.Contains(strings.Split(m.PeerURLs, ","), u) }
		if e.Name != m.Name && !slices.ContainsFunc(e.PeerURLs, mine) {
			return nil, site.Refuse("remove it, or start it, first", "replace member %s: etcd lists a member %s %q (%s) that has no pod here", m.Name, e.ID, e.Name, strings.Join(e.PeerURLs, ","))
		}
		out = append(out, e)
	}
	return out, nil
}

// change asks another member for a change, again while etcd says: not now.
func (r *Replacement) change(ctx context.Context, of survey.Member, what string, req agentapi.MembershipRequest) (*agentapi.MembershipReply, error) {
	var reply *agentapi.MembershipReply
	err := await.Until(ctx, r.Timeout, what, func(ctx context.Context) (seen string, ok bool, err error) {
		reply, seen, err = r.changeNow(ctx, of, req)
		return seen, seen == "", err
	})
	return reply, err
}

func (r *Replacement) changeNow(ctx context.Context, of survey.Member, req agentapi.MembershipRequest) (reply *agentapi.MembershipReply, notNow string, err error) {
	st, err := r.asker(ctx, of)
	if err != nil {
		return nil, "", err
	}
	reply, err = st.Membership(ctx, *of.Source, req)
	switch {
	case reach.Refused(err) == agentapi.CodeMembership:
		return nil, "", await.Stop(err)
	case err != nil:
		return nil, "", err
	}
	return reply, reply.NotNow, nil
}

// leave removes everything that the cluster lists of the member. What it has
// acknowledged the others have too; its etcd ends by itself.
func (r *Replacement) leave(ctx context.Context, _ *plan.Task) error {
	rest, err := r.rest(ctx)
	if err != nil {
		return err
	}
	if err := r.moveLeader(ctx, rest); err != nil {
		return err
	}
	old, err := r.strangers(ctx, rest)
	if err != nil {
		return err
	}
	for _, e := range old {
		if _, err := r.change(ctx, rest.asked(), "member "+e.ID.String()+" is removed", agentapi.MembershipRequest{Change: agentapi.MemberRemove, ID: e.ID}); err != nil {
			return err
		}
	}
	return nil
}

// moveLeader takes the leadership from the member first, which is a matter of
// milliseconds; without it there would be no leader until an election.
func (r *Replacement) moveLeader(ctx context.Context, rest *rest) error {
	leads := func(m survey.Member) bool { return m.Leader && m.Source != nil }
	if slices.ContainsFunc(rest.voters, leads) {
		return nil
	}
	s, err := r.Survey(ctx)
	if err != nil {
		return err
	}
	m := s.Of(r.replaced().Name)
	if m == nil || m.Status == nil || !m.Leader || m.Status.ClusterID != rest.cluster {
		return nil
	}
	if _, notNow, err := r.changeNow(ctx, *m, agentapi.MembershipRequest{Change: agentapi.LeaderMove, ID: rest.voters[0].ID}); err != nil || notNow != "" {
		r.Deps.Report.Warn("member %s leads and did not hand that over (%s%v): writes wait for an election", m.Name, notNow, err)
		return nil
	}
	return await.Until(ctx, r.Timeout, "another member leads", func(ctx context.Context) (string, bool, error) {
		s, err := r.surveyOthers(ctx)
		if err != nil {
			return "", false, err
		}
		return "no other one does", slices.ContainsFunc(s.Members, leads), nil
	})
}

// join adds the member anew. One that is listed was added by an earlier try: leave has removed all others.
func (r *Replacement) join(ctx context.Context, t *plan.Task) error {
	if r.Shared.Replace.ID != "" {
		return nil
	}
	var of *survey.Member
	if err := r.again(ctx, "another member answers", func(ctx context.Context) (err error) {
		of, err = r.witness(ctx)
		return err
	}); err != nil {
		return err
	}
	reply, err := r.change(ctx, *of, "the member is added as a learner",
		agentapi.MembershipRequest{Change: agentapi.MemberAdd, PeerURLs: strings.Split(r.replaced().PeerURLs, ",")})
	if err != nil {
		return err
	}
	r.Shared.Replace.ID = reply.ID.String()
	return t.Remember(ctx, r.Shared.Replace.ID)
}

// witness is one of the other members that can be asked.
func (r *Replacement) witness(ctx context.Context) (*survey.Member, error) {
	s, err := r.surveyOthers(ctx)
	if err != nil {
		return nil, err
	}
	return r.best(s)
}

func (r *Replacement) best(s *survey.Survey) (*survey.Member, error) {
	var found *survey.Member
	last := "none was found"
	for i, m := range s.Members {
		switch {
		case m.Source == nil || m.Source.Name == r.replaced().Name:
		case !m.Votes():
			last = "member " + m.Name + ": " + m.Why()
		case found == nil || m.Leader:
			found = &s.Members[i]
		}
	}
	if found == nil {
		return nil, fmt.Errorf("ask another member: none can answer; last seen: %s", last)
	}
	return found, nil
}

// seed makes the data with which the member's own pod takes part.
func (r *Replacement) seed(ctx context.Context, _ *plan.Task) error {
	m := r.replaced()
	return r.again(ctx, "the data of member "+m.Name+" is made", func(ctx context.Context) error {
		st, err := r.Stage(ctx, m.Name)
		if err != nil {
			return err
		}
		built, err := st.Seed(ctx, datadir.SeedRequest{ClusterID: r.Shared.ClusterID, MemberID: r.Shared.Replace.ID})
		if err != nil {
			return fmt.Errorf("make data of member %s: %w", m.Name, err)
		}
		m.NewInode = built.Inode
		return nil
	})
}

const (
	// insertFor is how long a member that was removed may hold its data.
	insertFor = 2 * time.Minute
	// lockTry is how long the lock is tried before the member's pod is deleted for it.
	lockTry = 10 * time.Second
)

// deleteAfter is when, in a wait for the lock, the pod is deleted that does not let go of it.
const deleteAfter = time.Second

// after does something later, meanwhile; the function it returns waits for that.
func after(ctx context.Context, d time.Duration, do func() error) (wait func() error) {
	done := make(chan error, 1)
	go func() {
		select {
		case <-ctx.Done():
			done <- ctx.Err()
		case <-time.After(d):
			done <- do()
		}
	}()
	return func() error { return <-done }
}

// insert exchanges the data. The member's pod tries to start all the while: on old
// data it ends, since that is a removed member's; on an empty volume it may make a
// folder anew, or even join by itself where it is told to.
func (r *Replacement) insert(ctx context.Context, t *plan.Task) error {
	m := r.replaced()
	locked := false
	return await.Until(ctx, insertFor, "the data of member "+m.Name+" is exchanged", func(ctx context.Context) (string, bool, error) {
		st, now, err := r.Volume(ctx, m.Name)
		if err != nil && r.static() && r.cutOff { // nothing is waited for that comes by itself
			return "", false, await.Stop(err)
		}
		if err != nil {
			return "", false, err
		}
		r.stray(now)
		if now.Inode != m.NewInode && (now.Inode != m.OldInode || now.Exists != m.HadData) {
			m.HadData, m.OldInode, m.OldSize = now.Exists, now.Inode, now.TreeSize
			if err := t.Remember(ctx, m.OldInode); err != nil {
				return "", false, await.Stop(err)
			}
		}
		deleted := func() error { return nil }
		if locked { // while the lock is waited for: it can be free for a moment only
			deleted = after(ctx, deleteAfter, func() error { return r.endPod(ctx) })
		}
		_, err = st.Exchange(ctx, datadir.ExchangeRequest{Inode: m.NewInode, Exists: m.HadData, Unless: r.Shared.Replace.ID, Wait: int(lockTry / time.Second)})
		derr := deleted()
		switch {
		case err == nil:
			return "", true, nil
		case refusedFor(err, datadir.ErrJoined, agentapi.CodeJoined):
			r.Shared.Replace.Joined = true
			return "", true, nil
		case refusedFor(err, datadir.ErrLocked, agentapi.CodeLocked):
			// It cannot hear that it was removed, or waits for ever: between two containers nobody has the lock.
			locked = true
			return err.Error(), false, derr
		}
		return "", false, err
	})
}

// refusedFor tells a refusal by what it is here, or by its code when it comes from an agent.
func refusedFor(err, is error, code string) bool {
	return errors.Is(err, is) || reach.Refused(err) == code
}

// awake deletes the member's pod: an etcd that was starting during the exchange
// may hold the old database still, and one that has failed often waits for minutes.
func (r *Replacement) awake(ctx context.Context, t *plan.Task) error {
	if r.static() {
		return r.awakeStatic(ctx, t)
	}
	var uid types.UID
	known, err := t.Recall(&uid)
	if err != nil {
		return err
	}
	if !known {
		pods, err := r.PodsOf(ctx, r.StatefulSet())
		if err != nil {
			return err
		}
		for _, p := range pods {
			if p.Name == r.replaced().PodName {
				uid = p.UID
			}
		}
		if err := t.Remember(ctx, uid); err != nil {
			return err
		}
	}
	if uid == "" {
		return nil // it has none, and will get one
	}
	return r.DeletePod(ctx, r.replaced().PodName, uid)
}
