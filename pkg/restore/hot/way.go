// Package hot is the way of restoring a hosted control plane under running API servers: all members are frozen, their data is
// exchanged, and they are killed, so that their pods start them again.
package hot

import (
	"context"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore/exchange"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore/hosting"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
)

// way freezes etcd under running API servers, exchanges the data, and kills it, so that its pods start it again on the new data.
// Budgets, writers and the StatefulSet are not touched.
type way struct {
	*exchange.Exchange
	find func(context.Context, *restore.Run) (*restore.Scene, *hosting.Found, error)
	h    *hosting.Found
}

// New is the way in the cluster that a kubeconfig names.
func New(r *restore.Run) restore.Way { return NewIn(r, hosting.Look) }

// NewIn is the way with any other look at the cluster.
func NewIn(r *restore.Run, find func(context.Context, *restore.Run) (*restore.Scene, *hosting.Found, error)) restore.Way {
	w := &way{find: find}
	w.Exchange = &exchange.Exchange{Run: r, How: "freeze etcd on all members; when all are frozen, exchange old data and new, and kill it, so that its pods start it again",
		Otherwise: "leave out --hot", Nudge: w.nudging, Restart: func(ctx context.Context, pod string) error { return w.DeletePod(ctx, pod, "") }}
	return w
}

func (r *way) Possible() error { return site.Supported(r.Plane, r.Config.OperatorStopped) }

// Look refuses also what a hot restore is not for. With a member down there is an outage already, and nothing of its
// etcd that could be frozen.
func (r *way) Look(ctx context.Context) (sc *restore.Scene, err error) {
	if sc, r.h, err = r.find(ctx, r.Run); err != nil {
		return nil, err
	}
	if len(r.Config.Members)+len(r.Config.Skip) > 0 {
		return nil, site.Refuse("leave out --hot", "restore %s: a hot restore is one of all members", r.Plane.ID())
	}
	if sc.Exclusive != "" {
		return nil, site.Refuse("leave out --hot", "restore %s: volume claim %s is ReadWriteOncePod, and no second pod can have it while etcd runs", r.Plane.ID(), sc.Exclusive)
	}
	for _, m := range sc.Survey.Members {
		if !m.Healthy || m.Source == nil {
			return nil, site.Refuse("leave out --hot", "restore %s: member %s is not healthy (%s), and a hot restore is for members that run", r.Plane.ID(), m.Name, m.Why())
		}
	}
	return sc, nil
}

func (r *way) Share(sh *site.Shared) { r.h.Share(sh) }
func (r *way) Serve(b *plan.Builder) {
	b.Add(site.KindHotServe, "", "wait until all writers are ready; none was stopped")
}

func (r *way) Actions() map[string]plan.Action {
	all := r.Exchange.Actions()
	all[site.KindHotServe] = site.Action{Forth: r.hotServe}
	return all
}

func (r *way) Abandonable(ctx context.Context) error {
	if err := r.EtcdRuns(ctx); err != nil {
		return err
	}
	return r.ThawAll(ctx) // an agent that was ended may have left a member frozen
}
