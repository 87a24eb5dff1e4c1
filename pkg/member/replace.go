// Package member operates single members of an etcd that has a quorum. Replacing one restores nothing: the other members have all of
// its data.
package member

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/utils/ptr"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/survey"
)

// Config is which member to replace.
type Config struct {
	site.Target
	// Members has exactly one: an ordinal, the name of a pod or of a member.
	Members []string
	// OperatorStopped says that what owns the StatefulSet has been stopped, and puts nothing back.
	OperatorStopped bool
}

// Is tells whether an operation replaces a member; one that cannot be read is none.
func Is(o *plan.Operation) bool {
	sh, err := site.ReadShared(o)
	return err == nil && sh.Replace != nil
}

// Prepare looks at the cluster and plans to replace the one member that
// ReplaceConfig.Members names; nothing is changed. Close the result.
func Prepare(ctx context.Context, d site.Deps, cfg Config) (*site.Prepared, error) {
	named, err := site.Chosen(cfg.Plane, cfg.Members)
	if err != nil {
		return nil, err
	}
	if len(named) != 1 {
		return nil, fmt.Errorf("replace member: exactly one has to be named, not %d", len(named))
	}
	m := named[0]
	if _, err := site.Unfinished(ctx, d, cfg.Plane); err != nil {
		return nil, err
	}
	static := cfg.Plane.Static()
	if err := replaceable(d, cfg, m); err != nil {
		return nil, err
	}
	rights := site.Rights
	if static {
		rights = site.JournalRights
	}
	if err := d.Clients.Require(ctx, cfg.Plane.Namespace, append(reach.Rights(reach.Agent), rights...)); err != nil {
		return nil, err
	}
	d.Report.Step("looking at %s", cfg.Plane.ID())
	cfg.Reach.HostPID = static
	r := New(d, site.NewKube(d, cfg.Reach), cfg.Target, nil, nil)
	var s *survey.Survey
	if s, err = r.Cluster.Survey(ctx, without(cfg.Plane, m.Name), false); err != nil {
		return nil, err
	}
	one, err := site.KnowPeers(controlplane.ControlPlane{Namespace: cfg.Plane.Namespace, Name: cfg.Plane.Name, Members: named}, s)
	if err != nil {
		return nil, err
	}
	own := r.ownSet
	if static {
		own = func(_ context.Context, m controlplane.Member) error {
			r.Shared.Replace.Pod = new(site.StaticPodOf(m.Object))
			return nil
		}
	}
	if err := r.Plan(one.Members[0], s, func() error { return own(ctx, m) }); err != nil {
		return nil, err
	}
	prepared := site.NewPrepared(r.Site, r)
	if static {
		prepared.Notes = append(prepared.Notes, fmt.Sprintf("the API server on node %s does not serve from step 2 on until its etcd votes again; the others do", m.Node))
	}
	return prepared, nil
}

// ownSet notes the StatefulSet that runs the member, and refuses where no second pod can have its volume.
func (r *Replacement) ownSet(ctx context.Context, m controlplane.Member) error {
	set, err := r.Deps.Apps.StatefulSets(r.Plane.Namespace).Get(ctx, r.Plane.Owner.Name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("read statefulset %s: %w", r.Plane.Owner.Name, err)
	}
	r.Shared.StatefulSet, r.Shared.Replicas = set.Name, ptr.Deref(set.Spec.Replicas, 1)
	claim, err := site.NewKube(r.Deps, reach.Options{}).Exclusive(ctx, m)
	if err == nil && claim != "" {
		err = site.Refuse("restore all members from a snapshot: that builds their data while etcd is stopped",
			"replace member %s: its volume claim %s is ReadWriteOncePod, and no second pod can have it while the StatefulSet runs", m.Name, claim)
	}
	return err
}

// Plan makes the plan for a member, by what the others say; own notes in Shared what runs it.
func (r *Replacement) Plan(m controlplane.Member, s *survey.Survey, own func() error) (err error) {
	if r.Shared, err = shareReplace(r.Plane, m, s); err != nil {
		return err
	}
	if err := own(); err != nil {
		return err
	}
	now := r.Deps.Now().UTC().Truncate(time.Second)
	r.Operation = &plan.Operation{ID: now.Format("20060102t150405") + "-" + rand.String(4), Target: r.Plane.ID(), Created: now, Phase: plan.Planned}
	r.Operation.Steps, err = r.Steps(m.Name)
	return err
}

// replaceable refuses what the steps could not carry out.
func replaceable(d site.Deps, cfg Config, m controlplane.Member) error {
	var err error
	if cfg.Plane.Static() {
		err = replaceableStatic(d, cfg, m)
	} else {
		err = site.Supported(cfg.Plane, cfg.OperatorStopped)
	}
	if err != nil {
		return err
	}
	switch {
	case m.DataVolume == nil || m.DataVolume.Kind == "emptyDir":
		return site.Refuse("", "replace member %s: it keeps its data in no volume that outlives its pod", m.Name)
	case m.WALDir != "" && !strings.HasPrefix(m.WALDir, m.DataDir+"/"):
		return site.Refuse("", "replace member %s: it has its write-ahead log elsewhere (%s), which cannot be replaced yet", m.Name, m.WALDir)
	}
	return nil
}

func shareReplace(p controlplane.ControlPlane, m controlplane.Member, s *survey.Survey) (*site.Shared, error) {
	rest, err := others(s, m.Name, p.Static())
	if err != nil {
		return nil, err
	}
	sh := &site.Shared{Namespace: p.Namespace, Name: p.Name, ClusterID: rest.cluster.String(), OldClusterID: rest.cluster.String(),
		Replace: &site.Replacement{}}
	for _, v := range rest.voters {
		sh.Highest, sh.Replace.Size = max(sh.Highest, v.Status.Revision), max(sh.Replace.Size, v.Status.DBSize)
	}
	sh.Members = []site.MemberRecord{{Name: m.Name, PodName: m.PodName, Node: m.Node, PeerURLs: strings.Join(m.AdvertisePeerURLs, ",")}}
	return sh, nil
}

// Steps are the plan. Once the member has left, nothing leads back: its id never returns.
func (r *Replacement) Steps(name string) ([]plan.Step, error) {
	b := plan.NewBuilder(r.Actions())
	b.Add(site.KindReplaceInspect, "", fmt.Sprintf("start a utility pod at the volume of member %s; look at data, space and the other members", name), plan.As("inspect"), plan.Back("remove the utility pod"))
	b.Add(site.KindLeave, name, fmt.Sprintf("remove member %s from the cluster; the others go on", name), plan.Commit)
	b.Add(site.KindJoin, name, "add it again, with a new id, as a learner, which does not vote")
	b.Add(site.KindSeed, name, fmt.Sprintf("member %s: make data beside the old that says only who it is now", name))
	b.Add(site.KindReplaceSwitch, name, fmt.Sprintf("member %s: exchange old data and new", name), plan.As("switch"))
	if r.static() {
		b.Add(site.KindRestartPod, name, fmt.Sprintf("end etcd on node %s where it runs on the old data, so that its kubelet starts it on the new", r.Shared.Replace.Pod.Node), plan.As("restart"))
	} else {
		b.Add(site.KindRestartPod, name, fmt.Sprintf("delete the pod of member %s, so that it starts on the new data at once", name), plan.As("restart"))
	}
	b.Add(site.KindSync, name, "wait until the others have sent it everything; promote it; compare all members")
	b.Add(site.KindFinish, "", "remove the utility pod; the old data stays on the volume")
	return b.Steps()
}

// rest are the members that go on without the replaced one.
type rest struct {
	cluster etcd.ID
	voters  []survey.Member
}

// others refuses unless all other members vote and are healthy. A majority of
// them could go on, but etcd takes in no member while it misses another one, and
// the removal that comes first could not be taken back.
func others(s *survey.Survey, name string, static bool) (*rest, error) {
	r := &rest{}
	way := "make it healthy first, or restore all members from a snapshot"
	if static { // of those all have to be healthy for a restore, too
		way = "make it healthy first; one that is gone for good is taken out with: etcdctl member remove"
	}
	for _, m := range s.Members {
		switch {
		case m.Source == nil: // listed, but nobody's pod: perhaps the replaced member's; see strangers
			continue
		case m.Source.Name == name:
			continue
		case !m.Votes():
			return nil, site.Refuse(way,
				"replace member %s: member %s is not healthy (%s), and etcd takes in no member then", name, m.Name, m.Why())
		case r.cluster != 0 && m.Status.ClusterID != r.cluster:
			return nil, site.Refuse("restore all members from a snapshot", "replace member %s: the other members are not of one cluster (%s and %s)", name, r.cluster, m.Status.ClusterID)
		}
		r.cluster, r.voters = m.Status.ClusterID, append(r.voters, m)
	}
	if len(r.voters) == 0 {
		return nil, site.Refuse("restore it from a snapshot, with --from", "replace member %s: no other member has its data", name)
	}
	return r, nil
}

// asked is the best to ask for a change: the leader, which decides.
func (r *rest) asked() survey.Member {
	for _, m := range r.voters {
		if m.Leader {
			return m
		}
	}
	return r.voters[0]
}

// Replacement is a kind of operation.
type Replacement struct {
	*site.Site
	cutOff bool // no utility pod has started on the member's node
}

// New is one under way; o and sh are nil while it is being planned.
func New(d site.Deps, c site.Cluster, t site.Target, o *plan.Operation, sh *site.Shared) *Replacement {
	return &Replacement{Site: site.New(d, c, t, o, sh)}
}

func (r *Replacement) Gives(plan.Step) bool   { return false }
func (r *Replacement) Resumable() error       { return nil }
func (r *Replacement) Undone(context.Context) {}
func (r *Replacement) Close()                 {}

// Abandonable does not ask what runs static pods: nothing can have scaled that, and the others serve.
func (r *Replacement) Abandonable(ctx context.Context) error {
	if r.static() {
		return nil
	}
	return r.EtcdRuns(ctx)
}

func (r *Replacement) Down(s plan.Step, ended func(kind, object string) bool) string {
	if s.Kind == site.KindLeave && !ended(site.KindSync, s.Object) {
		if r.static() {
			return "member " + s.Object + ", and the API server beside it"
		}
		return "member " + s.Object
	}
	return ""
}

// Continue opens the replacement of a member that another client began.
func Continue(d site.Deps, t site.Target, o *plan.Operation) (*site.Prepared, error) {
	sh, err := site.ReadShared(o)
	if err != nil {
		return nil, err
	}
	if o.Ended() {
		return nil, site.HasEnded(o)
	}
	t.Reach.HostPID = sh.Replace.Pod != nil
	r := New(d, site.NewKube(d, t.Reach), t, o, sh)
	r.Plane = r.WithoutSkipped(t.Plane)
	leave := r.StepOf(site.KindLeave)
	if m, ok := r.Plane.Member(r.replaced().Name); ok && r.static() && leave != nil && leave.State == plan.Pending {
		if err := elsewhere(d.Clients.Config, m); err != nil {
			return nil, err
		}
	}
	return site.NewPrepared(r.Site, r), nil
}

// QuorumWithout tells whether the members that are not named can go on by themselves.
func QuorumWithout(ctx context.Context, d site.Deps, t site.Target, members []string) (bool, error) {
	named, err := site.Chosen(t.Plane, members)
	if err != nil {
		return false, err
	}
	s, err := site.NewKube(d, t.Reach).Survey(ctx, t.Plane, false)
	if err != nil {
		return false, err
	}
	healthy := 0
	for _, m := range s.Members {
		if m.Source != nil && m.Votes() && !slices.ContainsFunc(named, func(o controlplane.Member) bool { return o.Name == m.Source.Name }) {
			healthy++
		}
	}
	return healthy > len(t.Plane.Members)/2, nil
}
