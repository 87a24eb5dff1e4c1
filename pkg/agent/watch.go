package agent

import (
	"context"
	"slices"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/agentapi"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/frame"
)

// with dials for one request.
func with(ctx context.Context, e agentapi.Endpoint, f func(*etcd.Conn) error) error {
	c, err := dial(ctx, e)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	return f(c)
}

func puts(ctx context.Context, s *Session) error {
	var req agentapi.PutsRequest
	if err := s.Decode(&req); err != nil {
		return err
	}
	return with(ctx, req.Endpoint, func(c *etcd.Conn) error {
		key, rev, err := c.Puts(ctx, time.Duration(req.Seconds*float64(time.Second)))
		if err != nil {
			return err
		}
		return s.End(agentapi.PutsReply{Key: key, Revision: rev})
	})
}

// defragTimeout is for the largest database that is advised.
const defragTimeout = 5 * time.Minute

// fullShare of its quota, or more, and a database has to be made smaller before its alarm goes.
const fullShare = 0.8

// disarm takes back the alarms that a snapshot brought along: they name a member that no longer exists, and refuse every
// write. A database that fills its quota is made smaller also where there is no alarm yet: the first write would raise it.
func disarm(ctx context.Context, s *Session) error {
	var req agentapi.DisarmRequest
	if err := s.Decode(&req); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, defragTimeout)
	defer cancel()
	return with(ctx, req.Endpoint, func(c *etcd.Conn) error {
		did, err := Disarm(ctx, c, req.Corrupt)
		if err != nil {
			return err
		}
		return s.End(did)
	})
}

// Disarm is what RequestDisarm does.
func Disarm(ctx context.Context, c *etcd.Conn, corrupt bool) (*agentapi.DisarmReply, error) {
	alarms, err := c.Alarms(ctx)
	if err != nil {
		return nil, err
	}
	if err := disarmCorrupt(ctx, c, alarms, corrupt); err != nil { // first: until then nothing can be compacted
		return nil, err
	}
	alarms = slices.DeleteFunc(alarms, func(a etcd.Alarm) bool { return a.Type != "NOSPACE" })
	did := &agentapi.DisarmReply{Disarmed: len(alarms)}
	if did.Freed, err = shrink(ctx, c, len(alarms) > 0); err != nil {
		return nil, err
	}
	for _, a := range alarms {
		if err := c.DisarmAlarm(ctx, a); err != nil {
			return nil, err
		}
	}
	return did, nil
}

// disarmCorrupt takes back CORRUPT alarms of former members, or of none: etcd cannot always tell whose data is corrupt.
func disarmCorrupt(ctx context.Context, c *etcd.Conn, alarms []etcd.Alarm, former bool) error {
	alarms = slices.DeleteFunc(slices.Clone(alarms), func(a etcd.Alarm) bool { return a.Type != "CORRUPT" })
	if len(alarms) == 0 {
		return nil
	}
	list, err := c.Membership(ctx)
	if err != nil {
		return err
	}
	for _, a := range alarms {
		if !former || slices.ContainsFunc(list, func(m etcd.Member) bool { return m.ID == a.MemberID }) {
			return frame.Errorf(agentapi.CodeAlarm, "etcd has found data corrupt, of member %s", a.MemberID)
		}
		if err := c.DisarmAlarm(ctx, a); err != nil {
			return err
		}
	}
	return nil
}

// shrink compacts and defragments a member whose database fills its quota. Where no alarm says so, only what etcd
// itself tells of its quota counts, and nothing is refused that has room left.
func shrink(ctx context.Context, c *etcd.Conn, alarmed bool) (int64, error) {
	st, err := c.Status(ctx)
	if err != nil {
		return 0, err
	}
	share, limit := fullShare, fullShare
	if !alarmed {
		share, limit = agentapi.NearlyFull, 1
	}
	unknown := alarmed && st.DBSizeQuota == 0 // the alarm says that it was filled
	if !unknown && !agentapi.Fills(st, share) {
		return 0, nil
	}
	if err := c.Compact(ctx, st.Revision); err != nil {
		return 0, err
	}
	if err := c.Defragment(ctx); err != nil {
		return 0, err
	}
	after, err := c.Status(ctx)
	if err != nil {
		return 0, err
	}
	if agentapi.Fills(after, limit) {
		return 0, frame.Errorf(agentapi.CodeQuota, "disarm NOSPACE: the database has %d bytes of a quota of %d also after its defragmentation; raise --quota-backend-bytes", after.DBSize, after.DBSizeQuota)
	}
	return st.DBSize - after.DBSize, nil
}
