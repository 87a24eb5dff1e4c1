package site

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/operation"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/userapi"
)

// Target is what an operation is about, and how it is reached.
type Target struct {
	Plane controlplane.ControlPlane
	// Timeout bounds each wait for pods.
	Timeout time.Duration
	Reach   reach.Options
}

// Shared is what all steps of an operation share; it is part of the journal, and what is shown of an operation. A kind of control plane
// has its own record in it, as Hosting is; what is only in memory is in Site and in what embeds it.
type Shared struct {
	Hosting
	Outcome
	// Static is set for an etcd that kubelets run from files.
	Static    *Static        `json:"static,omitempty"`
	Namespace string         `json:"namespace"`
	Name      string         `json:"name"`
	Snapshot  SnapshotRecord `json:"snapshot"`
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
	// LimitRate bounds each upload, in bytes on the wire per second.
	LimitRate int64 `json:"limitRate,omitempty"`
	// DiscardOld says that the old data is deleted, and not set aside.
	DiscardOld bool `json:"discardOld,omitempty"`
	// StageLate says that the new data is built after etcd has stopped: its volumes are one pod's at a time.
	StageLate bool `json:"stageLate,omitempty"`
	// Access is how the restored cluster's own API is asked; nil: not at all.
	Access *userapi.Access `json:"access,omitempty"`
	// Quota is etcd's, in bytes, where it is known.
	Quota          int64          `json:"quota,omitempty"`
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
	Replace *Replacement `json:"replace,omitempty"`
}

// Hosting is what the ways of restoring a hosted control plane need to know of it, and whoever replaces a member of one.
type Hosting struct {
	// StatefulSet and Replicas are what runs the members.
	StatefulSet string `json:"statefulSet"`
	Replicas    int32  `json:"replicas"`
	// Writers are all workloads that must be at 0 while etcd is exchanged, as NAMESPACE/KIND/NAME: also those that were
	// at 0 before.
	Writers []string `json:"writers,omitempty"`
	// NotWriters were said to be none, and ran on.
	NotWriters []string `json:"notWriters,omitempty"`
	// OperatorStopped says that the operator that owns the StatefulSet was said to be stopped.
	OperatorStopped bool `json:"operatorStopped,omitempty"`
	// Hosted is the HostedCluster of a HyperShift control plane, which is paused meanwhile.
	Hosted *HostedCluster `json:"hosted,omitempty"`
}

// Static is what is known of the static pods beside the members.
type Static struct {
	Servers     []StaticPod `json:"servers,omitempty"`     // API servers
	Controllers []StaticPod `json:"controllers,omitempty"` // controller managers and schedulers
	// Alone is how long an agent waits for its member's vote before it goes back without anybody's word.
	Alone time.Duration `json:"alone"`
}

// StaticPod is one of a node's, by the name of its mirror.
type StaticPod struct {
	Pod  string `json:"pod"`
	Node string `json:"node"`
	Hash string `json:"hash"` // of its manifest, by which the kubelet names its processes' group
}

// Outcome is what is told of an operation that has ended.
type Outcome struct {
	// CorruptAlarm says that etcd had found data corrupt when the snapshot was taken.
	CorruptAlarm bool `json:"corruptAlarm,omitempty"`
	// Differs says, after the restore, how the members' data differs; it never should.
	Differs string `json:"differs,omitempty"`
	// Miscounted says, after the restore, of what the API shows another number than the snapshot has; it never should.
	Miscounted string `json:"miscounted,omitempty"`
	// Stopped are the writers that were at 0 replicas before the restore, and still are.
	Stopped []string `json:"stopped,omitempty"`
	// Late are the writers that were not ready in time after the restore.
	Late        []string  `json:"late,omitempty"`
	OutageBegan time.Time `json:"outageBegan,omitzero"`
	OutageEnded time.Time `json:"outageEnded,omitzero"`
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

// Member is the record of a member of that name; nil where there is none.
func (s *Shared) Member(name string) *MemberRecord {
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

// ReadShared reads what the steps of an operation share from its journal, and refuses what this version does not know.
func ReadShared(o *plan.Operation) (*Shared, error) {
	s := &Shared{}
	if err := operation.Strict(o.Data, s); err != nil {
		return nil, fmt.Errorf("read journal of operation %s: %w", o.ID, err)
	}
	return s, nil
}

// HostedCluster names a HostedCluster, and the HostedControlPlane in the control plane's own namespace that follows it.
type HostedCluster struct {
	Cluster      string `json:"cluster"`      // NAMESPACE/NAME
	ControlPlane string `json:"controlPlane"` // NAMESPACE/NAME
}

// Below warns where the restored revision is not above what clients may have seen; "" where it is.
func (s *Shared) Below() string {
	target := s.Snapshot.Revision + s.Bump
	if target > s.Highest {
		return ""
	}
	return fmt.Sprintf("the restored revision %d will not be above %d, which clients may have seen: they can go on serving what no longer exists", target, s.Highest)
}

// StoppedWriters says of each writer that is still at 0 replicas how to start it.
func (s *Shared) StoppedWriters() (notes []string) {
	for _, object := range s.Stopped {
		if w, err := ParseWorkload(object); err == nil {
			notes = append(notes, AtZero(w))
		}
	}
	return notes
}

// AtZero says of a writer that is at 0 replicas how to start it.
func AtZero(w Workload) string {
	return fmt.Sprintf("%s, which uses this etcd, is at 0 replicas; start it with: kubectl -n %s scale %s/%s --replicas=NUMBER", w, w.Namespace, strings.ToLower(w.Kind), w.Name)
}

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
	// Pod is the member's where a kubelet runs it from a file. Strayed says that its etcd had founded a cluster of its own, with which the API
	// server and the controllers of its node have worked.
	Pod     *StaticPod `json:"pod,omitempty"`
	Strayed bool       `json:"strayed,omitempty"`
}
