package hosted

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/await"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
)

// gone waits until none of the workload's pods is left, and notices who scales it up again.
func (r *way) gone(ctx context.Context, w site.Workload) error {
	return await.Until(ctx, r.Timeout, "the pods of "+w.String()+" are gone", func(ctx context.Context) (string, bool, error) {
		n, err := r.Cluster.Replicas(ctx, w)
		if apierrors.IsNotFound(err) {
			return "", true, nil // deleted, and its pods with it
		}
		if err != nil {
			return "", false, err
		}
		if n != 0 {
			return "", false, await.Stop(r.putBack(ctx, w, n))
		}
		pods, err := r.PodsOf(ctx, w)
		if err != nil || len(pods) == 0 {
			return "", err == nil, err
		}
		return fmt.Sprintf("%d pods, one of them %s (%s)", len(pods), pods[0].Name, pods[0].State), false, nil
	})
}

func (r *way) putBack(ctx context.Context, w site.Workload, n int32) error {
	return site.Refuse("pause what manages it, then restore again", "scale %s to 0: it was put back to %d by %s", w, n, r.Cluster.Reverted(ctx, w))
}

// idle refuses when a writer is back before its time: it would write to data that is being exchanged, or read what
// may be taken back yet.
func (r *way) idle(ctx context.Context) error {
	for _, object := range r.Shared.Writers {
		w, err := site.ParseWorkload(object)
		if err != nil {
			return err
		}
		n, err := r.Cluster.Replicas(ctx, w)
		switch {
		case apierrors.IsNotFound(err):
			continue // it was deleted, and writes nothing
		case err != nil:
			return err
		case n != 0:
			return r.putBack(ctx, w, n)
		}
		pods, err := r.PodsOf(ctx, w)
		if err != nil {
			return err
		}
		if len(pods) > 0 {
			return site.Refuse("pause what makes its pods, then restore again", "keep %s at 0: it has a pod %s (%s)", w, pods[0].Name, pods[0].State)
		}
	}
	return nil
}
