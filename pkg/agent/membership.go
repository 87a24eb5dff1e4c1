package agent

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/agentapi"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/frame"
)

func membership(ctx context.Context, s *Session) error {
	var req agentapi.MembershipRequest
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
func Membership(ctx context.Context, c *etcd.Conn, req agentapi.MembershipRequest) (*agentapi.MembershipReply, error) {
	ctx, cancel := context.WithTimeout(ctx, membershipTimeout)
	defer cancel()
	r := &agentapi.MembershipReply{}
	err := change(ctx, c, req, r)
	if err == nil {
		r.Members, err = c.Membership(ctx)
	}
	switch {
	case err == nil:
		return r, nil
	// The id of a new member depends on its URLs and the second: where one was removed that had been added in this
	// second, etcd calls the id removed.
	case etcd.IsNotNow(err), req.Change == agentapi.MemberAdd && etcd.IsNotFound(err):
		r.NotNow = err.Error()
		return r, nil
	}
	var refused *frame.Error
	if errors.As(err, &refused) {
		return nil, err
	}
	return nil, frame.Errorf(agentapi.CodeMembership, "%v", err)
}

// change does what req asks, and notes the learner in r.
func change(ctx context.Context, c *etcd.Conn, req agentapi.MembershipRequest, r *agentapi.MembershipReply) error {
	switch req.Change {
	case "":
		return nil
	case agentapi.MemberRemove:
		if err := c.RemoveMember(ctx, req.ID); err != nil {
			return err
		}
		return disarmOf(ctx, c, req.ID)
	case agentapi.MemberAdd:
		var err error
		r.ID, err = addLearner(ctx, c, req.PeerURLs)
		return err
	case agentapi.MemberPromote:
		return promote(ctx, c, req.ID)
	case agentapi.LeaderMove:
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
