package backup

import (
	"context"
	"fmt"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
)

// ErrOtherMember says that the connection which was to give the snapshot, or
// gave it, is another member's than the one that was asked and chosen.
type ErrOtherMember struct {
	Member   string // that was chosen
	Endpoint string // of it, as it was given; "" for a pod's
	Answers  string // the name or the id of the one that answers
}

func (e *ErrOtherMember) Error() string {
	at := ""
	if e.Endpoint != "" {
		at = " at " + e.Endpoint
	}
	return fmt.Sprintf("another member answers%s: %s instead of %s", at, e.Answers, e.Member)
}

// Hint is the way out.
func (e *ErrOtherMember) Hint() string {
	if e.Endpoint == "" {
		return "the member was replaced meanwhile; take the backup again"
	}
	return "a load balancer, or a name with several addresses, stands before several members; name each member's own endpoint: --endpoint URL --endpoint URL …"
}

// sameMember compares who answers with the member that was chosen by what it
// said of itself: its health and the hash of its data are no other's.
func (r *run) sameMember(got *etcd.Status) error {
	if r.memberID == 0 || got == nil || got.MemberID == r.memberID {
		return nil
	}
	e := &ErrOtherMember{Member: r.member.Name, Answers: got.MemberID.String()}
	for _, m := range r.survey.Members {
		if m.ID == got.MemberID {
			e.Answers = m.Name
		}
	}
	if len(r.cfg.Direct) > 0 {
		e.Endpoint = r.member.Endpoint
	}
	return e
}

// askAgain finds out before anything is written who is behind an endpoint; in
// the cluster, a pod is nobody else's.
func (r *run) askAgain(ctx context.Context, link reach.Link) error {
	if len(r.cfg.Direct) == 0 {
		return nil
	}
	reply, err := link.Query(ctx, reach.Question{Status: true})
	if err != nil {
		return err
	}
	return r.sameMember(reply.Status)
}
