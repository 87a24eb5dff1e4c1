package static

import (
	"fmt"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/program"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
)

const (
	// startFor is how long an etcd may take to start and to vote, its kubelet's part included; silentPeer is how long etcd's initial corruption
	// check waits for a peer that says nothing.
	startFor   = 45 * time.Second
	silentPeer = 7 * time.Second
	// A kubelet starts a container at once that has ended, and leaves it alone ever longer if that happens again within backoffReset.
	backoffReset = 10 * time.Minute
	firstBackoff = 10 * time.Second
)

// aloneFor is how long a member's agent waits for its member's vote before it goes back by itself: the first one votes when as many others have
// come up, one after the other, as make a quorum.
func aloneFor(p controlplane.ControlPlane, now time.Time) time.Duration {
	longest := time.Duration(0)
	for _, m := range p.Members {
		longest = max(longest, backoff(m, now))
	}
	quorum := time.Duration(len(p.Members)/2 + 1)
	return quorum*(startFor+longest) + time.Duration(len(p.Members)-1)*silentPeer
}

// backoff is how long a member's kubelet will leave its etcd alone, should it end now; 0: it starts it at once.
func backoff(m controlplane.Member, now time.Time) time.Duration {
	if m.Object == nil {
		return 0
	}
	status := program.StatusOf(m.Object, m.Container)
	if status == nil || status.LastTerminationState.Terminated == nil {
		return 0
	}
	if now.Sub(status.LastTerminationState.Terminated.FinishedAt.Time) > backoffReset {
		return 0
	}
	wait := firstBackoff
	for range min(max(status.RestartCount-1, 0), 6) { // some of these may be long ago: then it is less
		wait *= 2
	}
	return min(wait, site.LongestBackoff)
}

// restarted tells what a kubelet's patience will cost.
func restarted(p controlplane.ControlPlane, now time.Time) (notes []string) {
	for _, m := range p.Members {
		if wait := backoff(m, now); wait > 0 {
			ended := program.StatusOf(m.Object, m.Container).LastTerminationState.Terminated.FinishedAt.Time
			notes = append(notes, fmt.Sprintf("etcd of member %s has ended %s ago, and its kubelet will leave it alone for up to %s when it ends again: the outage is that much longer; after %s it starts it at once",
				m.Name, now.Sub(ended).Round(time.Second), wait, ended.Add(backoffReset).Local().Format(time.TimeOnly)))
		}
	}
	return notes
}
