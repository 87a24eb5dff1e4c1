package verify

import (
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/snapshot"
)

// ReportKind is the kind field of a Report; its apiVersion is snapshot.APIVersion.
const ReportKind = "SnapshotReport"

// Report is what was found in a snapshot. As JSON it is stable: fields are only ever added.
type Report struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`

	// File is the path that was asked for.
	File string `json:"file"`
	// Size and SHA256 are of the file as stored. DB leaves SHA256 empty: it does not hash again.
	Size        int64                `json:"size"`
	SHA256      string               `json:"sha256,omitempty"`
	Compression snapshot.Compression `json:"compression"`
	// Plain is the decompressed snapshot, trailer included. DB leaves its hash empty.
	Plain snapshot.Plain `json:"plain"`

	// Trailer is true when etcd's own hash at the end of the snapshot was compared and matches.
	Trailer bool `json:"trailer"`
	// Raw is true for a database without a trailer: nothing in the file proves values against changed bytes.
	Raw bool `json:"raw"`
	// Proof is "full", or "unproven" for a raw database. A sidecar does not change that: it was written after the copy,
	// and says nothing about how the copy came about.
	Proof snapshot.ProofLevel `json:"proof"`
	// Sidecar is the path of the sidecar that agrees with all of this; empty when there is none.
	Sidecar string `json:"sidecar,omitempty"`

	// Content holds revision, compactRevision, totalKeys, liveKeys, hash and dbSize, on the top level in JSON.
	snapshot.Content
	// HashKV is what a member with this very data answers to the HashKV request for Revision. It is left out when a
	// compaction was under way, since what the answer covers then is not decided by the data alone; by DB, which reads
	// the database once only; and where a million keys or more were written since the last compaction.
	HashKV uint32 `json:"hashKV,omitempty"`
	// ScheduledCompactRevision is above CompactRevision when a compaction was under way.
	ScheduledCompactRevision int64 `json:"scheduledCompactRevision"`
	// Tombstones is how many of TotalKeys are deletions.
	Tombstones int64 `json:"tombstones"`
	// MetaDamaged is true when one of the two pages that say where everything is was damaged: the database was read as the
	// other one has it, which may be the older one.
	MetaDamaged bool `json:"metaDamaged,omitempty"`
	// Entries counts those of all buckets, members and metadata too: totalKey of `etcdutl snapshot status` before etcd 3.6.
	Entries int64 `json:"entries"`
	// InUse is the number of bytes of DBSize in pages that hold data; the rest is free pages.
	InUse int64 `json:"dbSizeInUse"`

	// StorageVersion is that of the database's schema: it is empty before etcd 3.6, and no older etcd reads it; ClusterVersion is what the members agreed on.
	StorageVersion string `json:"storageVersion,omitempty"`
	ClusterVersion string `json:"clusterVersion,omitempty"`
	// Members are those of the cluster the snapshot was taken from. (The cluster's own id is not in a database.)
	Members []Member `json:"members,omitempty"`

	// Alarms are those that were raised; a restore brings them back, and disarms them.
	Alarms []Alarm `json:"alarms,omitempty"`
	// AuthEnabled is true when etcd's own authentication is on: an etcd on this data answers only to its users.
	AuthEnabled bool `json:"authEnabled,omitempty"`
	// AuthUsers are etcd's users, also while authentication is off.
	AuthUsers []User `json:"authUsers,omitempty"`

	// KubeSystemUID identifies the Kubernetes cluster; empty when there is none or its namespaces are encrypted.
	KubeSystemUID string `json:"kubeSystemUID,omitempty"`
	// Kubernetes lists every prefix with a kube-system namespace: several when control planes share this etcd.
	Kubernetes []Kubernetes `json:"kubernetes,omitempty"`

	// Objects counts what exists by kind, as keys name it beneath the prefix of the control plane: pods, services/specs,
	// stable.example.com/crontabs. It is left out where there are several control planes, or none; where the prefix has
	// several parts; and with very many keys or kinds.
	Objects map[string]int64 `json:"objects,omitempty"`

	// Kept holds what Options.Keep has chosen, by key; nil where that was very much.
	Kept map[string]Kept `json:"-"`

	// Encrypted tells what can be read with which key only, by prefix and kind; of what exists, not of history.
	Encrypted []Encryption `json:"encrypted,omitempty"`

	// Notes are observations that do not make the snapshot bad.
	Notes []string `json:"notes,omitempty"`
	// Duration is how long the verification took.
	Duration time.Duration `json:"durationNanoseconds"`
}

// NoteMeta is the note of what is MetaDamaged.
const NoteMeta = "one of the database's two meta pages is damaged, so that it was read as the other one has it: what was written last may be missing"

// Kubernetes is one control plane's data in the snapshot.
type Kubernetes struct {
	// Prefix is what its keys start with: /registry unless changed by --etcd-prefix.
	Prefix string `json:"prefix"`
	// KubeSystemUID is empty when the namespace is stored encrypted.
	KubeSystemUID string `json:"kubeSystemUID,omitempty"`
	// Encrypted is true when the namespace is stored encrypted.
	Encrypted bool `json:"encrypted,omitempty"`
}

// Room is what starting an etcd on the snapshot takes where it is uploaded, in bytes: the snapshot as it is, unpacked, and restored; then
// etcd's log besides.
func (r *Report) Room() int64 { return r.Size + 2*r.Plain.Size + 512<<20 }
