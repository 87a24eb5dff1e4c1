package agent

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/frame"
)

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

func membership(ctx context.Context, s *Session) error {
	var req MembershipRequest
	if err := s.Decode(&req); err != nil {
		return err
	}
	return with(ctx, req.Endpoint, func(c *etcd.Conn) error {
		reply, err := Membership(ctx, c, req)
		if err != nil {
			return err
		}
		return s.End(reply)
	})
}

// membershipTimeout is a little longer than an election takes: a change that was
// under way then is lost without an answer, and has to be asked for again.
const membershipTimeout = 8 * time.Second

// Membership asks c for what req names.
func Membership(ctx context.Context, c *etcd.Conn, req MembershipRequest) (*MembershipReply, error) {
	ctx, cancel := context.WithTimeout(ctx, membershipTimeout)
	defer cancel()
	r := &MembershipReply{}
	err := change(ctx, c, req, r)
	if err == nil {
		r.Members, err = c.Membership(ctx)
	}
	switch {
	case err == nil:
		return r, nil
	// The id of a new member depends on its URLs and the second: where one was removed that had been added in this
	// second, etcd calls the id removed.
	case etcd.IsNotNow(err), req.Change == MemberAdd && etcd.IsNotFound(err):
		r.NotNow = err.Error()
		return r, nil
	}
	var refused *frame.Error
	if errors.As(err, &refused) {
		return nil, err
	}
	return nil, frame.Errorf(CodeMembership, "%v", err)
}

// change does what req asks, and notes the learner in r.
func change(ctx context.Context, c *etcd.Conn, req MembershipRequest, r *MembershipReply) error {
	switch req.Change {
	case "":
		return nil
	case MemberRemove:
		if err := c.RemoveMember(ctx, req.ID); err != nil {
			return err
		}
		return disarmOf(ctx, c, req.ID)
	case MemberAdd:
		var err error
		r.ID, err = addLearner(ctx, c, req.PeerURLs)
		return err
	case MemberPromote:
		return promote(ctx, c, req.ID)
	case LeaderMove:
		return c.MoveLeader(ctx, req.ID)
	}
	return frame.Errorf(frame.CodeBadRequest, "%q is no change of the members", req.Change)
}

// disarmOf takes back the alarms of a member that is no more: they would refuse
// every write, or everything, for ever.
func disarmOf(ctx context.Context, c *etcd.Conn, id etcd.ID) error {
	alarms, err := c.Alarms(ctx)
	if err != nil {
		return err
	}
	for _, a := range alarms {
		if a.MemberID != id || id == 0 {
			continue
		}
		if err := c.DisarmAlarm(ctx, a); err != nil {
			return err
		}
	}
	return nil
}

// addLearner takes a learner that has these URLs already for the one that was asked for.
func addLearner(ctx context.Context, c *etcd.Conn, peerURLs []string) (etcd.ID, error) {
	list, err := c.Membership(ctx)
	if err != nil {
		return 0, err
	}
	want := slices.Sorted(slices.Values(peerURLs))
	for _, m := range list {
		if m.IsLearner && slices.Equal(slices.Sorted(slices.Values(m.PeerURLs)), want) {
			return m.ID, nil
		}
	}
	return c.AddLearner(ctx, peerURLs)
}

func promote(ctx context.Context, c *etcd.Conn, id etcd.ID) error {
	list, err := c.Membership(ctx)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(list, func(m etcd.Member) bool { return m.ID == id && !m.IsLearner }) {
		return nil
	}
	return c.PromoteMember(ctx, id)
}
