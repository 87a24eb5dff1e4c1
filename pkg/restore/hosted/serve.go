package hosted

import (
	"context"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
)

// served waits for the writers that were scaled up.
func (r *way) served(ctx context.Context, _ *plan.Task) error {
	var up []string
	for _, s := range r.Operation.Steps {
		if s.Kind == site.KindWriterUp {
			up = append(up, s.Object)
		}
	}
	late, err := r.WritersReady(ctx, up)
	if err != nil {
		return err
	}
	r.Shared.Late = late
	r.TellStopped(ctx)
	if len(late) == 0 && (len(up) > 0 || len(r.Shared.Stopped) == 0) { // else nobody knows when it does
		r.OutageEnds(r.Deps.Now())
	}
	return nil
}
