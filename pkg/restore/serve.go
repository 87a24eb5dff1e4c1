package restore

import (
	"context"

	"k8s.io/apimachinery/pkg/types"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
)

// restart deletes the pods of a controller, which has others made. Those that
// are there now are remembered: another try must not delete their successors.
func (r *Run) restart(ctx context.Context, t *plan.Task) error {
	w, err := site.ParseWorkload(t.Object)
	if err != nil {
		return err
	}
	old := map[string]types.UID{}
	known, err := t.Recall(&old)
	if err != nil {
		return err
	}
	if !known {
		pods, err := r.PodsOf(ctx, w)
		if err != nil {
			return err
		}
		for _, p := range pods {
			old[p.Name] = p.UID
		}
		if err := t.Remember(ctx, old); err != nil {
			return err
		}
	}
	for name, uid := range old {
		if err := r.Cluster.DeletePod(ctx, w, site.Pod{Name: name, UID: uid}, nil); err != nil {
			return err
		}
	}
	return nil
}

// WritersReady waits for writers. Which are late now is told, and undoes nothing.
func (r *Run) WritersReady(ctx context.Context, objects []string) (late []string, err error) {
	for _, object := range objects {
		w, err := site.ParseWorkload(object)
		if err != nil {
			return nil, err
		}
		if err := r.Ready(ctx, w); err != nil {
			if ctx.Err() != nil {
				return nil, err
			}
			late = append(late, w.String())
			r.Deps.Report.Warn("%v", err)
		}
	}
	return late, nil
}

// stopped tells of writers that are at 0 replicas already: whoever has stopped them, a restore leaves them so.
func (sc *Scene) stopped() (notes []string) {
	for _, w := range sc.Writers {
		if w.Replicas == 0 {
			notes = append(notes, site.AtZero(site.Workload{Kind: w.Kind, Namespace: w.Namespace, Name: w.Name})+"; the restore leaves it so")
		}
	}
	return notes
}

// TellStopped finds writers that nobody has started again; one that cannot be looked at is not told.
func (r *Run) TellStopped(ctx context.Context) {
	r.Shared.Stopped = nil
	for _, object := range r.Shared.Writers {
		w, err := site.ParseWorkload(object)
		if err != nil {
			continue
		}
		if n, err := r.Cluster.Replicas(ctx, w); err == nil && n == 0 {
			r.Shared.Stopped = append(r.Shared.Stopped, object)
		}
	}
}
