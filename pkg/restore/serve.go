package restore

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
)

// restart deletes the pods of a controller, which has others made. Those that
// are there now are remembered: another try must not delete their successors.
func (r *run) restart(ctx context.Context, t *plan.Task) error {
	w, err := parseWorkload(t.Object)
	if err != nil {
		return err
	}
	old := map[string]types.UID{}
	known, err := t.Recall(&old)
	if err != nil {
		return err
	}
	if !known {
		pods, err := r.podsOf(ctx, w)
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
		if err := r.c.DeletePod(ctx, w, pod{Name: name, UID: uid}, nil); err != nil {
			return err
		}
	}
	return nil
}

// serve waits for the writers that were scaled up.
func (r *run) serve(ctx context.Context, _ *plan.Task) error {
	var up []string
	for _, s := range r.op.Steps {
		if s.Kind == kindWriterUp {
			up = append(up, s.Object)
		}
	}
	late, err := r.writersReady(ctx, up)
	if err != nil {
		return err
	}
	r.sh.Late = late
	r.tellStopped(ctx)
	if len(late) == 0 && (len(up) > 0 || len(r.sh.Stopped) == 0) { // else nobody knows when it does
		r.outageEnds()
	}
	return nil
}

// serveAgain waits, after an undo, until what was stopped is there again: only then all is as it was.
func (r *run) serveAgain(ctx context.Context) {
	if r.sh.Live == 0 {
		return // they did not serve before either
	}
	ctx, cancel := context.WithTimeout(ctx, againWithin)
	defer cancel()
	var down []string
	for _, s := range r.op.Steps {
		if s.Kind == kindWriterDown && len(s.Record) > 0 {
			down = append(down, s.Object)
		}
	}
	if _, err := r.writersReady(ctx, down); err != nil {
		r.d.Report.Warn("%v", err)
	}
}

// againWithin is less than a user waits for one workload: this comes after everything else.
const againWithin = 2 * time.Minute

// writersReady waits for writers. Which are late now is told, and undoes nothing.
func (r *run) writersReady(ctx context.Context, objects []string) (late []string, err error) {
	for _, object := range objects {
		w, err := parseWorkload(object)
		if err != nil {
			return nil, err
		}
		if err := r.ready(ctx, w); err != nil {
			if ctx.Err() != nil {
				return nil, err
			}
			late = append(late, w.String())
			r.d.Report.Warn("%v", err)
		}
	}
	return late, nil
}
