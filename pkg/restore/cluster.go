package restore

import (
	"context"
	"fmt"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/agentapi"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/datadir"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/survey"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/userapi"
)

// cluster is all that the steps of a restore do to the world. It is one
// interface so that the steps can be interrupted everywhere, in minutes, on real
// etcd processes without a kubelet.
type cluster interface {
	// Replicas is how many a workload's spec asks for.
	Replicas(ctx context.Context, w workload) (int32, error)
	// Scale sets the replicas and nothing else.
	Scale(ctx context.Context, w workload, n int32) error
	Pods(ctx context.Context, w workload) ([]pod, error)
	// DeletePod deletes that very pod, with at most that many seconds of grace, or with its own; one that is gone is no error.
	DeletePod(ctx context.Context, w workload, p pod, grace *int64) error
	// Reverted names who may have changed a workload's replicas last.
	Reverted(ctx context.Context, w workload) string

	// Budget returns nil when there is none of that name.
	Budget(ctx context.Context, namespace, name string) (*policyv1.PodDisruptionBudget, error)
	DeleteBudget(ctx context.Context, b *policyv1.PodDisruptionBudget) error
	// CreateBudget does nothing when there is one, and returns a leavingError when that one is being deleted.
	CreateBudget(ctx context.Context, b *policyv1.PodDisruptionBudget) error

	Retention(ctx context.Context, w workload) (*appsv1.StatefulSetPersistentVolumeClaimRetentionPolicy, error)
	SetRetention(ctx context.Context, w workload, scaled appsv1.PersistentVolumeClaimRetentionPolicyType) error
	// Leaving names a volume claim that goes when its pod goes, or is going; "" when none does.
	Leaving(ctx context.Context, namespace string, pods []string) (string, error)

	// Set returns nil when there is no such StatefulSet; DeleteSet leaves its pods alone.
	Set(ctx context.Context, w workload) (*appsv1.StatefulSet, error)
	DeleteSet(ctx context.Context, s *appsv1.StatefulSet) error
	CreateSet(ctx context.Context, s *appsv1.StatefulSet) error

	// PausedUntil is spec.pausedUntil of one of HyperShift's objects, SetPausedUntil changes a HostedCluster's; nil is none.
	PausedUntil(ctx context.Context, resource, id string) (*string, error)
	SetPausedUntil(ctx context.Context, id string, until *string) error

	// Cached asks one pod of an API server for the revisions of its caches, by kind.
	Cached(ctx context.Context, a userapi.Access, namespace, pod string, port int) (map[string]int64, error)
	// Objects asks it how many objects of some kinds there were at a revision.
	Objects(ctx context.Context, a userapi.Access, namespace, pod string, port int, rev int64, kinds []string) (map[string]int64, error)

	// Stage opens a place to work at a member's volume, Asker one without the volume; Unstage closes all that an operation has, whoever opened them.
	Stage(ctx context.Context, m controlplane.Member, operation string) (stage, error)
	Asker(ctx context.Context, m controlplane.Member, operation string) (stage, error)
	Unstage(ctx context.Context, namespace, operation string) error

	// Log is what a container has said since then; of a long log the end.
	Log(ctx context.Context, namespace, pod, container string, since time.Time) (string, error)

	// Plane finds the control plane as it is now.
	Plane(ctx context.Context, namespace, name string) (controlplane.ControlPlane, error)
	Survey(ctx context.Context, p controlplane.ControlPlane, hashes bool) (*survey.Survey, error)
	// Backup takes a backup into a folder, and returns the file; of the named member if there is one, and with raw of
	// what is on its volume. A utility pod that it makes is the operation's, if there is one: it goes with the others.
	Backup(ctx context.Context, p controlplane.ControlPlane, operation, folder, member string, raw bool) (string, error)

	journal(namespace string, sh *Shared) plan.Journal
}

// stage is a place from which a member's volume can be written; reach.Stage is the real one.
type stage interface {
	Alive(ctx context.Context) bool
	Follow(m controlplane.Member)
	Inspect(ctx context.Context) (*datadir.State, error)
	// InspectKept looks at what the operation has set aside.
	InspectKept(ctx context.Context) (*datadir.State, error)
	Prepare(ctx context.Context, size int64) (*datadir.Prepared, error)
	Upload(ctx context.Context, c reach.Content, progress func(done, total int64)) error
	Build(ctx context.Context, r datadir.BuildRequest, progress func(step string)) (*datadir.Built, error)
	Exchange(ctx context.Context, r datadir.ExchangeRequest) (*datadir.Exchanged, error)
	Discard(ctx context.Context, op string) (int64, error)
	Drop(ctx context.Context, r datadir.DropRequest) (*datadir.Discarded, error)
	Puts(ctx context.Context, during time.Duration) (key string, revision int64, err error)
	KubeSystemUIDs(ctx context.Context, prefixes []string) (map[string]string, error)
	// Disarm takes back alarms; with corrupt, also those of data that came with the snapshot.
	Disarm(ctx context.Context, corrupt bool) (*agentapi.DisarmReply, error)
	Seed(ctx context.Context, r datadir.SeedRequest) (*datadir.Built, error)
	// Membership is asked of another member than the stage's.
	Membership(ctx context.Context, of controlplane.Member, r agentapi.MembershipRequest) (*agentapi.MembershipReply, error)
	// HotCheck tells whether Hot could begin. Hot exchanges the data under a running etcd, in steps that are ordered;
	// Thaw has an etcd run on that it left frozen.
	HotCheck(ctx context.Context) (*datadir.HotState, error)
	Hot(ctx context.Context, r datadir.HotRequest, orders <-chan datadir.Order, tell func(datadir.HotState)) (*datadir.Switched, error)
	Thaw(ctx context.Context) (*datadir.Thawed, error)
	Close(ctx context.Context) error
}

// pod is as much of a pod as the steps look at.
type pod struct {
	Name  string
	UID   types.UID
	State string // for people
	Ready bool
	// Backoff is for how long the kubelet leaves containers of it alone that have ended before.
	Backoff map[string]time.Duration
}

// workload is a StatefulSet or a Deployment that is scaled.
type workload struct {
	kind, namespace, name string
}

// parseWorkload reads a step's object: NAMESPACE/KIND/NAME.
func parseWorkload(object string) (workload, error) {
	parts := strings.Split(object, "/")
	if len(parts) != 3 {
		return workload{}, fmt.Errorf("read step: %q is not NAMESPACE/KIND/NAME", object)
	}
	return workload{parts[1], parts[0], parts[2]}, nil
}

func (w workload) String() string { return w.kind + " " + w.namespace + "/" + w.name }
