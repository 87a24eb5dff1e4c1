package restore

import (
	"context"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/survey"
)

// Replacement is what the steps of replacing one member of a healthy cluster
// share. No snapshot is part of it: the other members have everything, and what
// is restored from a snapshot would be another cluster.
type Replacement struct {
	// Size is the live database's, bytes: what the other members will send.
	Size int64 `json:"size"`
	// ID is the new member's, hexadecimal; "" until it has been added.
	ID string `json:"id,omitempty"`
	// Joined says that the member joined by itself, with nothing of ours.
	Joined bool `json:"joined,omitempty"`
}

// The kinds of steps of a replacement; their ids are as in a restore.
const (
	kindReplaceInspect = "replace-inspect"
	kindLeave          = "leave"
	kindJoin           = "join"
	kindSeed           = "seed"
	kindReplaceSwitch  = "replace-switch"
	kindRestartPod     = "restart-pod"
	kindSync           = "sync"
)

// PrepareReplace looks at the cluster and plans to replace the one member that
// Config.Members names; nothing is changed. Close the result.
func PrepareReplace(ctx context.Context, d Deps, cfg Config) (*Prepared, error) {
	named, err := chosen(cfg.Plane, cfg.Members)
	if err != nil {
		return nil, err
	}
	if len(named) != 1 {
		return nil, fmt.Errorf("replace member: exactly one has to be named, not %d", len(named))
	}
	m := named[0]
	if _, err := unfinished(ctx, d, cfg.Plane); err != nil {
		return nil, err
	}
	if err := replaceable(cfg, m); err != nil {
		return nil, err
	}
	if err := d.Clients.Require(ctx, cfg.Plane.Namespace, append(reach.Rights(reach.Agent), replaceRights...)); err != nil {
		return nil, err
	}
	d.Report.Step("looking at %s", cfg.Plane.ID())
	set, err := d.Apps.StatefulSets(cfg.Plane.Namespace).Get(ctx, cfg.Plane.Owner.Name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read statefulset %s: %w", cfg.Plane.Owner.Name, err)
	}
	k := kube{d, cfg.Reach}
	if claim, err := k.exclusive(ctx, m); err != nil || claim != "" {
		if err == nil {
			err = refuse("restore all members from a snapshot: that builds their data while etcd is stopped",
				"replace member %s: its volume claim %s is ReadWriteOncePod, and no second pod can have it while the StatefulSet runs", m.Name, claim)
		}
		return nil, err
	}
	r := &run{d: d, c: k, cfg: cfg, stages: map[string]stage{}}
	s, err := r.c.Survey(ctx, without(cfg.Plane, m.Name), false)
	if err != nil {
		return nil, err
	}
	one, err := knowPeers(controlplane.ControlPlane{Namespace: cfg.Plane.Namespace, Name: cfg.Plane.Name, Members: named}, s)
	if err != nil {
		return nil, err
	}
	if r.sh, err = shareReplace(cfg, one.Members[0], s); err != nil {
		return nil, err
	}
	r.sh.StatefulSet, r.sh.Replicas = set.Name, orOne(set.Spec.Replicas)
	now := d.Now().UTC().Truncate(time.Second)
	r.op = &plan.Operation{ID: now.Format("20060102t150405") + "-" + rand.String(4), Target: cfg.Plane.ID(), Created: now, Phase: plan.Planned}
	b := plan.NewBuilder(r.actions())
	replaceSteps(b, m.Name)
	if r.op.Steps, err = b.Steps(); err != nil {
		return nil, err
	}
	return &Prepared{run: r, Operation: r.op, Shared: r.sh}, nil
}

// replaceable refuses what the steps could not carry out.
func replaceable(cfg Config, m controlplane.Member) error {
	if err := supported(cfg); err != nil {
		return err
	}
	switch {
	case m.DataVolume == nil || m.DataVolume.Kind == "emptyDir":
		return refuse("", "replace member %s: it keeps its data in no volume that outlives its pod", m.Name)
	case m.WALDir != "" && !strings.HasPrefix(m.WALDir, m.DataDir+"/"):
		return refuse("", "replace member %s: it has its write-ahead log elsewhere (%s), which cannot be replaced yet", m.Name, m.WALDir)
	}
	return nil
}

func shareReplace(cfg Config, m controlplane.Member, s *survey.Survey) (*Shared, error) {
	rest, err := others(s, m.Name)
	if err != nil {
		return nil, err
	}
	sh := &Shared{Namespace: cfg.Plane.Namespace, Name: cfg.Plane.Name, ClusterID: rest.cluster.String(), OldClusterID: rest.cluster.String(),
		Replace: &Replacement{}}
	for _, v := range rest.voters {
		sh.Highest, sh.Replace.Size = max(sh.Highest, v.Status.Revision), max(sh.Replace.Size, v.Status.DBSize)
	}
	sh.Members = []MemberRecord{{Name: m.Name, PodName: m.PodName, Node: m.Node, PeerURLs: strings.Join(m.AdvertisePeerURLs, ",")}}
	return sh, nil
}

// replaceSteps is the plan. Once the member has left, nothing leads back: its id never returns.
func replaceSteps(b *plan.Builder, name string) {
	b.Add(kindReplaceInspect, "", fmt.Sprintf("start a utility pod at the volume of member %s; look at data, space and the other members", name), plan.As("inspect"), plan.Back("remove the utility pod"))
	b.Add(kindLeave, name, fmt.Sprintf("remove member %s from the cluster; the others go on", name), plan.Commit)
	b.Add(kindJoin, name, "add it again, with a new id, as a learner, which does not vote")
	b.Add(kindSeed, name, fmt.Sprintf("member %s: make data beside the old that says only who it is now", name))
	b.Add(kindReplaceSwitch, name, fmt.Sprintf("member %s: exchange old data and new", name), plan.As("switch"))
	b.Add(kindRestartPod, name, fmt.Sprintf("delete the pod of member %s, so that it starts on the new data at once", name), plan.As("restart"))
	b.Add(kindSync, name, "wait until the others have sent it everything; promote it; compare all members")
	b.Add(kindFinish, "", "remove the utility pod; the old data stays on the volume")
}

// rest are the members that go on without the replaced one.
type rest struct {
	cluster etcd.ID
	voters  []survey.Member
}

// others refuses unless all other members vote and are healthy. A majority of
// them could go on, but etcd takes in no member while it misses another one, and
// the removal that comes first could not be taken back.
func others(s *survey.Survey, name string) (*rest, error) {
	r := &rest{}
	for _, m := range s.Members {
		switch {
		case m.Source == nil: // listed, but nobody's pod: perhaps the replaced member's; see strangers
			continue
		case m.Source.Name == name:
			continue
		case !votes(m):
			return nil, refuse("make it healthy first, or restore all members from a snapshot",
				"replace member %s: member %s is not healthy (%s), and etcd takes in no member then", name, m.Name, because(m))
		case r.cluster != 0 && m.Status.ClusterID != r.cluster:
			return nil, refuse("restore all members from a snapshot", "replace member %s: the other members are not of one cluster (%s and %s)", name, r.cluster, m.Status.ClusterID)
		}
		r.cluster, r.voters = m.Status.ClusterID, append(r.voters, m)
	}
	if len(r.voters) == 0 {
		return nil, refuse("restore it from a snapshot, with --from", "replace member %s: no other member has its data", name)
	}
	return r, nil
}

// votes tells whether a member takes part. A CORRUPT alarm of another one does not hinder it: writes are refused then.
func votes(m survey.Member) bool {
	return m.Healthy && !m.Learner && !m.Corrupt()
}

func because(m survey.Member) string {
	switch {
	case m.Error != "":
		return m.Error
	case m.Learner:
		return "it is a learner"
	}
	return strings.Join(m.Alarms, ", ")
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
