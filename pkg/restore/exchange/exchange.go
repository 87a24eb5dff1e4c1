// Package exchange exchanges the data of all members of an etcd while it runs: each is frozen, and when all are, old data and new are exchanged
// and etcd is killed, so that whatever runs it starts it on the new data. The ways that leave API servers running stand on it.
package exchange

import (
	"context"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
)

// Exchange is one, under way: what the ways that leave API servers running have alike of a restore.Way. A way adds how it looks, what serves
// again afterwards, and what it shares.
type Exchange struct {
	*restore.Run
	// How says what is done to the members, for people.
	How string
	// Otherwise is what to do where a member cannot be frozen.
	Otherwise string
	// Alone is for how long an agent waits for its member's vote, whatever becomes of its client, before it exchanges back by itself; 0:
	// it never does.
	Alone time.Duration
	// Staggered has members exchanged one after the other, as many as the old cluster can lack without an outage first, and only then the next,
	// each when the one before serves its peers: members that start together wait for each other's initial corruption check. Otherwise all
	// are at once.
	Staggered bool
	// Before, if set, is done before any member is frozen.
	Before func(ctx context.Context) error
	// Restart has whatever runs a member start it anew, if its etcd did not run when the data was exchanged: one that was just starting
	// may hold what is not its data any more. nil: it does so by itself.
	Restart func(ctx context.Context, pod string) error
	// Nudge looks after members that are waited for, until it is stopped; nil: nothing can be done for them.
	Nudge func(ctx context.Context) (stop func())
	// APIServes reads through the API that this etcd is behind, consistently; nil: that API is not ours to ask.
	APIServes func(ctx context.Context) error

	quorum *quorum // from when a majority has been exchanged until all are up
}

func (r *Exchange) restart(ctx context.Context, pod string) error {
	if r.Restart == nil {
		return nil
	}
	return r.Restart(ctx, pod)
}

func (r *Exchange) watch(ctx context.Context) (stop func()) {
	if r.Nudge == nil {
		return func() {}
	}
	return r.Nudge(ctx)
}

// Serving implements restore.Way.
func (r *Exchange) Serving() bool { return true }

// Check implements restore.Way.
func (r *Exchange) Check(b *plan.Builder) {
	b.Add(site.KindHotCheck, "", "find each member's etcd among its node's processes; try whether its file system can exchange folders at once")
}

// Stop implements restore.Way.
func (r *Exchange) Stop(b *plan.Builder) {
	b.Add(site.KindHotSwitch, "", r.How, plan.Back("exchange them back, as long as the new cluster has not had a leader; after that, only forward"), plan.Outage)
}

// Start implements restore.Way.
func (r *Exchange) Start(b *plan.Builder) {
	b.Add(site.KindHotUp, "", "wait until all members are one healthy cluster; from its first leader on, only forward", plan.Outage)
}

// After implements restore.Way.
func (r *Exchange) After(*plan.Builder) {}

// Actions implements restore.Way.
func (r *Exchange) Actions() map[string]plan.Action {
	return map[string]plan.Action{
		site.KindHotCheck:  site.Action{Forth: r.Try},
		site.KindHotSwitch: site.Action{Forth: r.Switch, Back: r.Back},
		site.KindHotUp:     site.Action{Forth: r.Up},
	}
}

// Gives implements restore.Way.
func (r *Exchange) Gives(plan.Step) bool { return false }

// Down implements restore.Way.
func (r *Exchange) Down(s plan.Step, ended func(kind, object string) bool) string {
	if s.Kind == site.KindHotSwitch && !ended(site.KindHotUp, "") {
		return "etcd (frozen, or starting)"
	}
	return ""
}

// Undone implements restore.Way.
func (r *Exchange) Undone(context.Context) {}
