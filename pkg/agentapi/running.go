package agentapi

// Names of the requests that a restore has for a running etcd.
const (
	RequestPuts     = "puts"     // PutsRequest → PutsReply
	RequestIdentity = "identity" // IdentityRequest → IdentityReply
	RequestDisarm   = "disarm"   // DisarmRequest → DisarmReply
)

// CodeQuota: the database fills its quota even after it has been defragmented.
const CodeQuota = "quota"

// CodeAlarm: etcd has found the data of one of its members corrupt.
const CodeAlarm = "alarm"

// PutsRequest watches for writers.
type PutsRequest struct {
	Endpoint
	Seconds float64 `json:"seconds"`
}

// PutsReply names the first key that was written; none when it is empty.
type PutsReply struct {
	Key      string `json:"key,omitempty"`
	Revision int64  `json:"revision,omitempty"`
}

// DisarmRequest asks for an etcd without alarms.
type DisarmRequest struct {
	Endpoint
	// Corrupt: CORRUPT alarms that name none of its members came with the snapshot. Without it they are new, and stay.
	Corrupt bool `json:"corrupt,omitempty"`
}

// DisarmReply says what was done about NOSPACE alarms: bytes that were given back by compaction and defragmentation come first.
type DisarmReply struct {
	Disarmed int   `json:"disarmed"`
	Freed    int64 `json:"freed,omitempty"`
}

// IdentityRequest asks an etcd whose data it holds. Prefixes are those that the caller knows already.
type IdentityRequest struct {
	Endpoint
	Prefixes []string `json:"prefixes,omitempty"`
}

// IdentityReply has the UID of each kube-system namespace by the prefix of its control plane, which is /registry mostly. Those
// that are encrypted are not in it.
type IdentityReply struct {
	KubeSystemUIDs map[string]string `json:"kubeSystemUIDs,omitempty"`
}
