package restore

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/await"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
)

// undoPatience is how long an undo is tried: a node or an API server that restarts takes the utility pods along, or
// the way to them, and is back by then.
var undoPatience = 3 * time.Minute

// persist does something until it succeeds, for as long as that makes sense.
func persist(ctx context.Context, patience time.Duration, do func() error) error {
	for end := time.Now().Add(patience); ; {
		err := do()
		var refusal *Refusal
		if err == nil || errors.As(err, &refusal) || errors.Is(err, plan.ErrTooLate) || errors.Is(err, plan.ErrAbandoned) || apierrors.IsForbidden(err) || time.Now().After(end) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(time.Second):
		}
	}
}

// gone waits until none of the workload's pods is left, and notices who scales it up again.
func (r *run) gone(ctx context.Context, w workload) error {
	return await.Until(ctx, r.cfg.Timeout, "the pods of "+w.String()+" are gone", func(ctx context.Context) (string, bool, error) {
		n, err := r.c.Replicas(ctx, w)
		if apierrors.IsNotFound(err) {
			return "", true, nil // deleted, and its pods with it
		}
		if err != nil {
			return "", false, err
		}
		if n != 0 {
			return "", false, await.Stop(r.putBack(ctx, w, n))
		}
		pods, err := r.podsOf(ctx, w)
		if err != nil || len(pods) == 0 {
			return "", err == nil, err
		}
		return fmt.Sprintf("%d pods, one of them %s (%s)", len(pods), pods[0].Name, pods[0].State), false, nil
	})
}

func (r *run) putBack(ctx context.Context, w workload, n int32) error {
	return refuse("pause what manages it, then restore again", "scale %s to 0: it was put back to %d by %s", w, n, r.c.Reverted(ctx, w))
}

// idle refuses when a writer is back before its time: it would write to data that is being exchanged, or read what
// may be taken back yet.
func (r *run) idle(ctx context.Context) error {
	for _, object := range r.sh.Writers {
		w, err := parseWorkload(object)
		if err != nil {
			return err
		}
		n, err := r.c.Replicas(ctx, w)
		switch {
		case apierrors.IsNotFound(err):
			continue // it was deleted, and writes nothing
		case err != nil:
			return err
		case n != 0:
			return r.putBack(ctx, w, n)
		}
		pods, err := r.podsOf(ctx, w)
		if err != nil {
			return err
		}
		if len(pods) > 0 {
			return refuse("pause what makes its pods, then restore again", "keep %s at 0: it has a pod %s (%s)", w, pods[0].Name, pods[0].State)
		}
	}
	return nil
}

// ready waits until as many pods as the spec asks for are ready.
func (r *run) ready(ctx context.Context, w workload) error {
	return await.Until(ctx, r.cfg.Timeout, w.String()+" is ready", func(ctx context.Context) (string, bool, error) {
		n, err := r.c.Replicas(ctx, w)
		if err != nil {
			return "", false, err
		}
		if w == r.etcdSet() {
			n -= int32(len(r.sh.Skipped))
		}
		pods, err := r.podsOf(ctx, w)
		if err != nil {
			return "", false, err
		}
		ready, last := int32(0), "no pod"
		for _, p := range pods {
			if p.Ready {
				ready++
			} else {
				last = "pod " + p.Name + " is " + p.State
			}
		}
		return fmt.Sprintf("%d of %d ready; %s", ready, n, last), ready >= n, nil
	})
}
