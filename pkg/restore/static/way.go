// Package static is the way of restoring an etcd that kubelets run from files, as the one under the very API server that is talked to. There is
// nobody who could start what was stopped, so nothing is: all members are frozen, their data is exchanged, and they are killed, so that their
// kubelets start them again. The API servers lie on that etcd: after the exchange they know nothing of what happened since the snapshot.
package static

import (
	"context"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore/exchange"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
)

// The kinds of steps of this way only.
const (
	kindServe   = "static-serve"
	kindRestart = "static-restart"
	kindNote    = "static-note"
)

type way struct {
	*exchange.Exchange
	look  func(context.Context) (*restore.Scene, *site.Static, error)
	alone func(controlplane.ControlPlane, time.Time) time.Duration
	h     *site.Static
	open  func(ctx context.Context, beside *corev1.Pod, paths []reach.HostPath) (nodeReader, error)
	// had are the nodes that there were, and whether each was ready; nil where they are not known.
	had map[string]bool
}

// New is the way in the cluster that a kubeconfig names.
func New(r *restore.Run) restore.Way {
	w := newWay(r)
	w.look, w.alone, w.open = w.lookAt, aloneFor, w.openNode
	r.Afterwards, w.APIServes = w.settled, w.apiServes
	return w
}

// apiServes reads one object as etcd has it: while the members have no majority, no API server can.
func (r *way) apiServes(ctx context.Context) error {
	_, err := r.Deps.Clients.Core.Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
	return err
}

// NewIn is the way with any other look at the cluster, and with that much time for each member to vote.
func NewIn(r *restore.Run, look func(context.Context, *restore.Run) (*restore.Scene, *site.Static, error), alone time.Duration) restore.Way {
	w := newWay(r)
	w.look = func(ctx context.Context) (*restore.Scene, *site.Static, error) { return look(ctx, r) }
	w.alone = func(controlplane.ControlPlane, time.Time) time.Duration { return alone }
	return w
}

func newWay(r *restore.Run) *way {
	w := &way{}
	w.Exchange = &exchange.Exchange{Run: r, How: "on one node after the other: freeze etcd, exchange old data and new, and kill it, so that its kubelet starts it again",
		Staggered: true, Before: w.before, Otherwise: "without that it has to be done by hand, on the nodes"}
	r.Restart = w.restartServer
	return w
}

// Look reads everything that the plan depends on, and refuses what cannot be restored.
func (r *way) Look(ctx context.Context) (sc *restore.Scene, err error) {
	sc, r.h, err = r.look(ctx)
	return sc, err
}

func (r *way) Share(sh *site.Shared) { sh.Static = r.h }

func (r *way) Serve(b *plan.Builder) {
	b.Add(kindServe, "", "wait until every API server is ready; remove what is of kubectl etcd and came back with the snapshot")
}

func (r *way) After(b *plan.Builder) {
	var names []string
	for _, c := range r.Shared.Static.Controllers {
		names = append(names, c.Pod)
	}
	if len(names) > 0 {
		b.Add(kindRestart, "", "restart "+strings.Join(names, ", ")+", so that they read everything anew")
	}
	b.Add(kindNote, "", "note beside each member's data that the restore is done")
}

func (r *way) Actions() map[string]plan.Action {
	all := r.Exchange.Actions()
	all[site.KindHotCheck], all[site.KindHotUp] = site.Action{Forth: r.check}, site.Action{Forth: r.up}
	all[site.KindHotSwitch] = site.Action{Forth: r.Switch, Back: r.back}
	all[kindServe], all[kindRestart] = site.Action{Forth: r.serve}, site.Action{Forth: r.restart}
	all[kindNote] = site.Action{Forth: func(ctx context.Context, _ *plan.Task) error { return r.noteAs(ctx, plan.Succeeded) }}
	return all
}

// Abandonable refuses where no etcd serves. It has also an etcd run on that an agent left frozen which was ended; a node that is gone is no reason
// not to give up.
func (r *way) Abandonable(ctx context.Context) error {
	if err := r.ThawAll(ctx); err != nil {
		r.Deps.Report.Warn("%v", err)
	}
	s, err := r.Survey(ctx)
	if err != nil {
		return err
	}
	serving := map[string]int{}
	most := 0
	for _, m := range s.Members {
		if m.Healthy {
			serving[m.Status.ClusterID.String()]++
			most = max(most, serving[m.Status.ClusterID.String()])
		}
	}
	if most < len(r.Shared.Members)/2+1 {
		return site.Refuse(site.GoOn(r.Operation, r.Shared.Namespace), "abandon operation %s: no majority of its members serves", r.Operation.ID)
	}
	if err := r.noteAs(ctx, plan.Abandoned); err != nil {
		r.Deps.Report.Warn("%v", err)
	}
	return nil
}

func (r *way) Undone(context.Context) { r.dropHere() }
