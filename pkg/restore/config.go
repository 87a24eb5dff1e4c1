// Package restore brings an etcd back from a snapshot. What it will do is a plan
// before it is done (see package plan): every step is journalled in the cluster,
// can be resumed by any client, and can be undone until the first API server has
// started on the new data.
package restore

import (
	"errors"
	"fmt"
	"strings"
	"time"

	appsv1client "k8s.io/client-go/kubernetes/typed/apps/v1"
	policyv1client "k8s.io/client-go/kubernetes/typed/policy/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/operation"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/userapi"
)

// Config is what to restore, and where from.
type Config struct {
	Plane controlplane.ControlPlane
	// Members are those to replace, or to restore where quorum is lost: each an ordinal, the name of a pod or of a member.
	Members []string
	// Skip are members that are gone, and that a restore goes on without.
	Skip []string
	// From is the snapshot's file: plain, compressed, or raw. Or it is member/NAME: what that member has.
	From string
	// Raw accepts a database file without etcd's trailer.
	Raw bool
	// Hot freezes, exchanges and kills etcd under running API servers, instead of stopping them and the StatefulSet.
	Hot bool
	// FromOtherCluster accepts a snapshot of another cluster.
	FromOtherCluster bool
	// Bump is added to the snapshot's revision; negative computes it.
	Bump int64
	// Writers are more workloads to stop, as KIND/NAME in the control plane's namespace, or as NAMESPACE/KIND/NAME.
	Writers []string
	// NotWriters are workloads that look like writers and are none, named alike.
	NotWriters []string
	// FormerWriters were stopped by an earlier restore; one that is gone is no error. Again says that there was one: what it
	// let run may run.
	FormerWriters []string
	Again         bool
	// Recreate accepts that an OrderedReady StatefulSet is deleted without its pods, and created anew.
	Recreate bool
	// OperatorStopped says that what owns the StatefulSet has been stopped, and puts nothing back.
	OperatorStopped bool
	// TakeInto is the folder for what is taken of a member that From names; Safety where it is empty.
	TakeInto string
	// LimitRate bounds each upload, in bytes on the wire per second; 0 does not.
	LimitRate int64
	// DiscardOld deletes the old data before the new is built, on volumes that have no room for both.
	DiscardOld bool
	// KeepBudgets leaves disruption budgets alone.
	KeepBudgets bool
	// Safety is the folder for the backup that is taken of what still answers; empty takes none.
	Safety string
	// Timeout bounds each wait for pods.
	Timeout time.Duration
	Reach   reach.Options
}

// Deps are what a restore needs of the world.
type Deps struct {
	Clients *reach.Clients
	Apps    appsv1client.AppsV1Interface
	Policy  policyv1client.PolicyV1Interface
	Place   operation.Place // where journals and locks are kept
	Report  Reporter
	Now     func() time.Time
	Tool    string // name and version
	Holder  string // who holds the lock, for people: user@machine
}

func (d Deps) planes() controlplane.Client {
	return controlplane.Client{Core: d.Clients.Core, Apps: d.Apps}
}

// locker takes the locks of control planes.
func (d Deps) locker() operation.Locker {
	return operation.Locker{Place: d.Place, Holder: d.Holder, Now: d.Now, Step: d.Report.Step}
}

// Reporter is told how a restore goes.
type Reporter interface {
	plan.Reporter
	Step(format string, args ...any)
	Warn(format string, args ...any)
	// Progress of an upload or a download: bytes done of total.
	Progress(what string, done, total int64)
}

// Shared is what all steps of a restore share; it is part of the journal.
type Shared struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// StatefulSet and Replicas are what runs the members.
	StatefulSet string         `json:"statefulSet"`
	Replicas    int32          `json:"replicas"`
	Snapshot    SnapshotRecord `json:"snapshot"`
	// Live is the members' revision when the plan was made; 0: none answered.
	Live int64 `json:"live,omitempty"`
	// Highest is the highest revision that any client can have seen: of living members, of data on disk, of backups, of
	// earlier restores. Bump is what is added to the snapshot's so that the restored one is above it. Negative: not
	// computed yet.
	Highest int64 `json:"highest"`
	Bump    int64 `json:"bump"`
	// BumpAsked says that the user chose the bump.
	BumpAsked bool `json:"bumpAsked,omitempty"`
	// Safety is the folder for the safety backup, FromOtherCluster that another cluster's snapshot was accepted: what the
	// user chose holds for whoever goes on, too.
	Safety           string `json:"safety,omitempty"`
	FromOtherCluster bool   `json:"fromOtherCluster,omitempty"`
	// Hot says that the data is exchanged under running API servers; its utility pods have hostPID.
	Hot bool `json:"hot,omitempty"`
	// Writers are all workloads that must be at 0 while etcd is exchanged, as NAMESPACE/KIND/NAME: also those that were
	// at 0 before.
	Writers []string `json:"writers,omitempty"`
	// LimitRate bounds each upload, in bytes on the wire per second.
	LimitRate int64 `json:"limitRate,omitempty"`
	// DiscardOld says that the old data is deleted, and not set aside.
	DiscardOld bool `json:"discardOld,omitempty"`
	// StageLate says that the new data is built after etcd has stopped: its volumes are one pod's at a time.
	StageLate bool `json:"stageLate,omitempty"`
	// NotWriters were said to be none, and ran on.
	NotWriters []string `json:"notWriters,omitempty"`
	// OperatorStopped says that the operator that owns the StatefulSet was said to be stopped.
	OperatorStopped bool `json:"operatorStopped,omitempty"`
	// Hosted is the HostedCluster of a HyperShift control plane, which is paused meanwhile.
	Hosted *hostedCluster `json:"hosted,omitempty"`
	// Access is how the restored cluster's own API is asked; nil: not at all.
	Access *userapi.Access `json:"access,omitempty"`
	// CorruptAlarm says that etcd had found data corrupt when the snapshot was taken.
	CorruptAlarm bool `json:"corruptAlarm,omitempty"`
	// Quota is etcd's, in bytes, where it is known.
	Quota int64 `json:"quota,omitempty"`
	// Differs says, after the restore, how the members' data differs; it never should.
	Differs string `json:"differs,omitempty"`
	// Miscounted says, after the restore, of what the API shows another number than the snapshot has; it never should.
	Miscounted string `json:"miscounted,omitempty"`
	// Stopped are the writers that were at 0 replicas before the restore, and still are.
	Stopped []string `json:"stopped,omitempty"`
	// Late are the writers that were not ready in time after the restore.
	Late           []string       `json:"late,omitempty"`
	Token          string         `json:"token"`
	InitialCluster string         `json:"initialCluster"`
	Members        []MemberRecord `json:"members"`
	// Skipped are the members, of the same cluster, that are not restored.
	Skipped []MemberRecord `json:"skipped,omitempty"`
	// ClusterID is what the restored cluster will be called, hex; known when the first member is built.
	ClusterID string `json:"clusterID,omitempty"`
	// OldClusterID was the cluster's before.
	OldClusterID string `json:"oldClusterID,omitempty"`
	// Replace is set when one member is replaced, and nothing restored.
	Replace     *Replacement `json:"replace,omitempty"`
	OutageBegan time.Time    `json:"outageBegan,omitzero"`
	OutageEnded time.Time    `json:"outageEnded,omitzero"`
}

// SnapshotRecord identifies the snapshot.
type SnapshotRecord struct {
	File     string `json:"file"`
	Size     int64  `json:"size"` // plain bytes
	SHA256   string `json:"sha256"`
	Raw      bool   `json:"raw,omitempty"`
	Revision int64  `json:"revision"`
	LiveKeys int64  `json:"liveKeys"`
	// Objects counts those that the restored cluster's own API will be asked for, by kind.
	Objects map[string]int64 `json:"objects,omitempty"`
}

// MemberRecord is a member and what was found and made on its volume.
type MemberRecord struct {
	Name     string `json:"name"`
	PodName  string `json:"podName"`
	Node     string `json:"node,omitempty"`
	PeerURLs string `json:"peerURLs"`
	// Inspected: the three below are known.
	Inspected bool   `json:"inspected,omitempty"`
	HadData   bool   `json:"hadData,omitempty"`
	OldInode  uint64 `json:"oldInode,omitempty"`
	OldSize   int64  `json:"oldSize,omitempty"` // bytes
	// NewInode is of the built data's member folder; 0: not built.
	NewInode uint64 `json:"newInode,omitempty"`
}

func (s *Shared) member(name string) *MemberRecord {
	for i := range s.Members {
		if s.Members[i].Name == name {
			return &s.Members[i]
		}
	}
	return nil
}

// ErrDiffers says that the restored members do not hold the same data.
var ErrDiffers = errors.New("the members' data differs")

// ErrMiscounted says that the restored cluster's API shows other objects than the snapshot has.
var ErrMiscounted = errors.New("the API does not show what the snapshot has")

// ErrLate says that the data is restored, and that something that was stopped for it did not come back.
var ErrLate = errors.New("not ready in time")

// Flaw is why a restore that has ended did not end well, or nil: ErrDiffers where the members were compared and found
// different, ErrMiscounted where their objects were counted and are others, ErrLate where a writer is not back.
func (s *Shared) Flaw() error {
	switch {
	case s.Differs != "":
		return fmt.Errorf("compare members: %w: %s", ErrDiffers, s.Differs)
	case s.Miscounted != "":
		return fmt.Errorf("count objects: %w: %s", ErrMiscounted, s.Miscounted)
	case len(s.Late) > 0:
		return fmt.Errorf("start what was stopped: %w: %s", ErrLate, strings.Join(s.Late, ", "))
	}
	return nil
}

func decodeShared(o *plan.Operation) (*Shared, error) {
	s := &Shared{}
	if err := operation.Strict(o.Data, s); err != nil {
		return nil, fmt.Errorf("read journal of operation %s: %w", o.ID, err)
	}
	return s, nil
}

// Refusal is a reason not to begin, with a way out where there is one.
type Refusal struct {
	Reason string
	Way    string // the way out; "": none
}

func (e *Refusal) Error() string { return e.Reason }

// Hint says the way out.
func (e *Refusal) Hint() string { return e.Way }

func refuse(hint, format string, args ...any) error {
	return &Refusal{Reason: fmt.Sprintf(format, args...), Way: hint}
}

// margin is how far the restored revision is put above the highest that is
// known: writes go on between that question and the switch.
const margin = 1_000_000_000
