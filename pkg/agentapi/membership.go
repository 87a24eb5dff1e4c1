package agentapi

import "github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"

// Names of the requests with which one member of a running cluster is replaced.
const (
	RequestMembership = "membership" // MembershipRequest → MembershipReply
	RequestSeed       = "seed"       // datadir.SeedRequest → datadir.Built; progress: strings
)

// The changes of a MembershipRequest; none lists the members only.
const (
	MemberRemove  = "remove"      // ID, and its alarms
	MemberAdd     = "add-learner" // PeerURLs
	MemberPromote = "promote"     // ID
	LeaderMove    = "move-leader" // to ID; only the leader can be asked
)

// CodeMembership: etcd refuses the change, and will go on doing so.
const CodeMembership = "membership-refused"

// MembershipRequest changes the members of a cluster. Every change can be asked
// again: what is so already is success.
type MembershipRequest struct {
	Endpoint
	Change   string   `json:"change,omitempty"`
	ID       etcd.ID  `json:"id,omitempty"`
	PeerURLs []string `json:"peerURLs,omitempty"`
}

// MembershipReply is how it is afterwards.
type MembershipReply struct {
	Members []etcd.Member `json:"members"`
	// ID is that of the learner that was added, or was there.
	ID etcd.ID `json:"id,omitempty"`
	// NotNow is etcd's reason to refuse for the moment: ask again.
	NotNow string `json:"notNow,omitempty"`
}
