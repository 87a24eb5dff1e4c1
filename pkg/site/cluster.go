package site

import (
	"context"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/agentapi"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/datadir"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/survey"
)

// Cluster is what the steps of any operation do to the world. It is an
// interface so that the steps can be interrupted everywhere, in minutes, on real
// etcd processes without a kubelet.
type Cluster interface {
	// Replicas is how many a workload's spec asks for.
	Replicas(ctx context.Context, w Workload) (int32, error)
	// Scale sets the replicas and nothing else.
	Scale(ctx context.Context, w Workload, n int32) error
	Pods(ctx context.Context, w Workload) ([]Pod, error)
	// DeletePod deletes that very pod, with at most that many seconds of grace, or with its own; one that is gone is no error.
	DeletePod(ctx context.Context, w Workload, p Pod, grace *int64) error
	// Reverted names who may have changed a workload's replicas last.
	Reverted(ctx context.Context, w Workload) string

	// Stage opens a place to work at a member's volume, Asker one without the volume; Unstage closes all that an operation has, whoever opened them.
	Stage(ctx context.Context, m controlplane.Member, operation string) (Stage, error)
	Asker(ctx context.Context, m controlplane.Member, operation string) (Stage, error)
	Unstage(ctx context.Context, namespace, operation string) error

	// Log is what a container has said since then; of a long log the end.
	Log(ctx context.Context, namespace, pod, container string, since time.Time) (string, error)

	// Plane finds the control plane as it is now.
	Plane(ctx context.Context, namespace, name string) (controlplane.ControlPlane, error)
	Survey(ctx context.Context, p controlplane.ControlPlane, hashes bool) (*survey.Survey, error)
	// Backup takes a backup into a folder, and returns the file; of the named member if there is one, and with raw of
	// what is on its volume. A utility pod that it makes is the operation's, if there is one: it goes with the others.
	Backup(ctx context.Context, p controlplane.ControlPlane, operation, folder, member string, raw bool) (string, error)

	Journal(namespace string, sh *Shared) plan.Journal
}

// Stage is a place from which a member's volume can be written; reach.Stage is the real one.
type Stage interface {
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
	// Note keeps the operation's journal beside the member's data.
	Note(ctx context.Context, journal []byte) error
	// EndPod ends the processes of a static pod of the stage's node, which its kubelet starts again; they have that long to end by themselves.
	EndPod(ctx context.Context, hash string, grace time.Duration) (*agentapi.EndPodReply, error)
	Close(ctx context.Context) error
}

// Pod is as much of a pod as the steps look at.
type Pod struct {
	Name  string
	UID   types.UID
	State string // for people
	Ready bool
	// Backoff is for how long the kubelet leaves containers of it alone that have ended before.
	Backoff map[string]time.Duration
}

// StaticPods is the kind of a Workload of static pods: those of several nodes that have a name in common. It is not scaled.
const StaticPods = "StaticPod"

// Workload is a StatefulSet or a Deployment that is scaled; or what StaticPods says.
type Workload struct {
	Kind, Namespace, Name string
}

// ParseWorkload reads a step's object: NAMESPACE/KIND/NAME.
func ParseWorkload(object string) (Workload, error) {
	parts := strings.Split(object, "/")
	if len(parts) != 3 {
		return Workload{}, fmt.Errorf("read step: %q is not NAMESPACE/KIND/NAME", object)
	}
	return Workload{Kind: parts[1], Namespace: parts[0], Name: parts[2]}, nil
}

func (w Workload) String() string { return w.Kind + " " + w.Namespace + "/" + w.Name }
