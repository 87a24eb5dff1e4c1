package etcd

import (
	"context"
	"errors"
	"fmt"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Membership lists the members as the leader knows them, so that a change that
// was acknowledged is in it. Without a leader there is no answer.
func (c *Conn) Membership(ctx context.Context) ([]Member, error) {
	r, err := c.cluster.MemberList(c.auth(ctx), &pb.MemberListRequest{Linearizable: true})
	if err != nil {
		return nil, fmt.Errorf("list members at %s: %w", c.endpoint, c.plain(err))
	}
	return members(r.Members), nil
}

// RemoveMember takes a member out of the cluster for good: its id never comes
// back, and its etcd ends by itself. One that is gone is no error.
func (c *Conn) RemoveMember(ctx context.Context, id ID) error {
	_, err := c.cluster.MemberRemove(c.auth(ctx), &pb.MemberRemoveRequest{ID: uint64(id)})
	if err != nil && status.Code(err) != codes.NotFound {
		return fmt.Errorf("remove member %s at %s: %w", id, c.endpoint, c.plain(err))
	}
	return nil
}

// AddLearner adds a member that does not vote.
func (c *Conn) AddLearner(ctx context.Context, peerURLs []string) (ID, error) {
	r, err := c.cluster.MemberAdd(c.auth(ctx), &pb.MemberAddRequest{PeerURLs: peerURLs, IsLearner: true})
	if err != nil {
		return 0, fmt.Errorf("add learner at %s: %w", c.endpoint, c.plain(err))
	}
	return ID(r.Member.GetID()), nil
}

// PromoteMember gives a learner its vote. The leader refuses while it lags.
func (c *Conn) PromoteMember(ctx context.Context, id ID) error {
	if _, err := c.cluster.MemberPromote(c.auth(ctx), &pb.MemberPromoteRequest{ID: uint64(id)}); err != nil {
		return fmt.Errorf("promote member %s at %s: %w", id, c.endpoint, c.plain(err))
	}
	return nil
}

// MoveLeader hands the leadership over, within milliseconds. Only the leader can.
func (c *Conn) MoveLeader(ctx context.Context, to ID) error {
	if _, err := c.maint.MoveLeader(c.auth(ctx), &pb.MoveLeaderRequest{TargetID: uint64(to)}); err != nil {
		return fmt.Errorf("move leadership from %s to %s: %w", c.endpoint, to, c.plain(err))
	}
	return nil
}

func members(list []*pb.Member) []Member {
	var ms []Member
	for _, m := range list {
		ms = append(ms, Member{ID: ID(m.ID), Name: m.Name, PeerURLs: m.PeerURLs, ClientURLs: m.ClientURLs, IsLearner: m.IsLearner})
	}
	return ms
}

// IsNotFound tells whether etcd knows no such member.
func IsNotFound(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == codes.NotFound
}

// IsNotNow tells whether a change of the members was refused for a reason that
// goes by itself: a learner that is behind, members that have just connected, a leader that is being elected.
func IsNotNow(err error) bool {
	var e *Error
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return true
	case !errors.As(err, &e):
		return false
	case e.Code == codes.Unavailable, strings.Contains(e.Message, "proposal dropped"):
		return true
	}
	for _, passing := range []error{rpctypes.ErrGRPCLearnerNotReady, rpctypes.ErrGRPCMemberNotEnoughStarted} {
		if e.Message == message(rpctypes.ErrorDesc(passing)) {
			return true
		}
	}
	return false
}
