package etcd

import (
	"fmt"
	"strconv"
	"time"
)

// ID is a cluster or member id. It prints as etcdctl prints it: hexadecimal, no prefix.
type ID uint64

func (id ID) String() string { return strconv.FormatUint(uint64(id), 16) }

// MarshalText writes the hexadecimal form, so that JSON readers never round a 64-bit number.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads the hexadecimal form.
func (id *ID) UnmarshalText(b []byte) error {
	n, err := strconv.ParseUint(string(b), 16, 64)
	if err != nil {
		return fmt.Errorf("parse id %q: %w", b, err)
	}
	*id = ID(n)
	return nil
}

// Status is what one member says of itself. Sizes are bytes.
type Status struct {
	ClusterID        ID       `json:"clusterID"`
	MemberID         ID       `json:"memberID"`
	Version          string   `json:"version"`
	StorageVersion   string   `json:"storageVersion,omitempty"` // from etcd 3.6
	DBSize           int64    `json:"dbSize"`
	DBSizeInUse      int64    `json:"dbSizeInUse"`
	DBSizeQuota      int64    `json:"dbSizeQuota,omitempty"` // from etcd 3.6; 0 where it is not told
	Leader           ID       `json:"leader"`                // 0: there is none
	IsLearner        bool     `json:"isLearner"`
	Revision         int64    `json:"revision"`
	RaftTerm         uint64   `json:"raftTerm"`
	RaftIndex        uint64   `json:"raftIndex"`
	RaftAppliedIndex uint64   `json:"raftAppliedIndex"`
	Errors           []string `json:"errors,omitempty"`
	// Latency is how long a linearizable read through this member took; 0 where it was not asked.
	Latency time.Duration `json:"latency"`
}

// HashKV is the hash of a member's keys up to Revision. Two members' hashes
// can be compared only when Revision and CompactRevision are equal, and only
// between equal minor versions: what a compaction keeps has changed between releases.
type HashKV struct {
	Hash            uint32 `json:"hash"`
	Revision        int64  `json:"revision"`
	CompactRevision int64  `json:"compactRevision"`
}

// Member is an entry of the member list.
type Member struct {
	ID         ID       `json:"id"`
	Name       string   `json:"name"` // empty until the member has started
	PeerURLs   []string `json:"peerURLs"`
	ClientURLs []string `json:"clientURLs"`
	IsLearner  bool     `json:"isLearner"`
}

// Alarm is an active alarm: NOSPACE or CORRUPT.
type Alarm struct {
	MemberID ID     `json:"memberID"`
	Type     string `json:"type"`
}
