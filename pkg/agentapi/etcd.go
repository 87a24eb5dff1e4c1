// Package agentapi is what is asked of the agent: the names of requests with their bodies, replies and codes of refusal.
// Clients and the agent's server (package agent) both stand on it, and neither on the other. How it travels is package
// frame's, and the requests about files at rest, which have nothing to do with etcd, are declared there.
package agentapi

import (
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/snapshot"
)

// Names of the requests about etcd; the bodies and replies are the types below.
const (
	RequestQuery    = "query"
	RequestSnapshot = "snapshot"
	RequestRaw      = "raw"
	RequestRehearse = "rehearse"
)

// Endpoint is how the agent reaches etcd: paths are inside its own pod.
// The request travels on stdin, so a password is never in a command line.
type Endpoint struct {
	URL        string `json:"url"`
	ServerName string `json:"serverName,omitempty"`
	CA         string `json:"ca,omitempty"`
	Cert       string `json:"cert,omitempty"`
	Key        string `json:"key,omitempty"`
	// Alternatives are tried in order when those files are not there, or etcd refuses them.
	Alternatives []Files `json:"alternatives,omitempty"`
	// Given is used instead of such files, as far as it says something.
	Given    *etcd.TLS `json:"given,omitempty"`
	Username string    `json:"username,omitempty"`
	Password string    `json:"password,omitempty"`
}

// Files are the paths of a client's TLS files.
type Files struct {
	CA   string `json:"ca,omitempty"`
	Cert string `json:"cert,omitempty"`
	Key  string `json:"key,omitempty"`
}

// QueryRequest asks for what reads nothing but etcd's answers.
type QueryRequest struct {
	Endpoint
	Status  bool   `json:"status,omitempty"`
	Members bool   `json:"members,omitempty"`
	Alarms  bool   `json:"alarms,omitempty"`
	HashAt  *int64 `json:"hashAt,omitempty"` // revision; 0: the current one
}

// QueryReply holds what was asked for.
type QueryReply struct {
	Status  *etcd.Status  `json:"status,omitempty"`
	Members []etcd.Member `json:"members,omitempty"`
	Alarms  []etcd.Alarm  `json:"alarms,omitempty"`
	Hash    *etcd.HashKV  `json:"hash,omitempty"`
	// NotNow: the hash could not be given at this revision now; ask again.
	NotNow bool `json:"notNow,omitempty"`
}

// SnapshotRequest asks for the snapshot stream as data.
type SnapshotRequest struct {
	Endpoint
	Compress bool `json:"compress"`
}

// RawRequest asks for member/snap/db of a member that does not run.
type RawRequest struct {
	DataDir  string `json:"dataDir"`
	Compress bool   `json:"compress"`
}

// SnapshotReply says what the data was. Plain is proven by etcd's trailer,
// except after a raw request, where there is none.
type SnapshotReply struct {
	Plain      snapshot.Proof `json:"plain"`
	Compressed bool           `json:"compressed"`
	Before     *etcd.Status   `json:"before,omitempty"`
	After      *etcd.Status   `json:"after,omitempty"`
	Version    string         `json:"version,omitempty"` // of the server; from etcd 3.6
	Usage      Usage          `json:"usage"`
}

// Usage is what the agent's process used so far.
type Usage struct {
	PeakRSS int64         `json:"peakRSS"` // bytes
	CPU     time.Duration `json:"cpu"`     // user and system, nanoseconds
}

// SnapshotProgress is sent while a snapshot runs. Sizes are plain bytes.
type SnapshotProgress struct {
	Done  int64 `json:"done"`
	Total int64 `json:"total"` // 0: not known yet
}

// RehearseRequest asks for a rehearsal (see package rehearse) of a snapshot in
// the agent's pod; the reply is a rehearse.Result, the progress its steps.
type RehearseRequest struct {
	Path       string `json:"path"`
	Raw        bool   `json:"raw,omitempty"`
	QuotaBytes int64  `json:"quotaBytes,omitempty"`
}

// NearlyFull is the share of its quota from which on RequestDisarm makes a database smaller, also where there is no alarm.
const NearlyFull = 0.9

// Calm tells from its status that a member gives RequestDisarm nothing to do.
func Calm(st *etcd.Status) bool { return len(st.Errors) == 0 && !Fills(st, NearlyFull) }

// Fills tells whether a database has that share of its quota. etcd 3.5 does not tell its quota.
func Fills(st *etcd.Status, share float64) bool {
	return st.DBSizeQuota > 0 && float64(st.DBSize) >= share*float64(st.DBSizeQuota)
}
