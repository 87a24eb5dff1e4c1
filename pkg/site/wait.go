package site

import (
	"context"
	"fmt"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/await"
)

// Ready waits until as many pods as the spec asks for are ready.
func (r *Site) Ready(ctx context.Context, w Workload) error {
	return await.Until(ctx, r.Timeout, w.String()+" is ready", func(ctx context.Context) (string, bool, error) {
		n, err := r.Cluster.Replicas(ctx, w)
		if err != nil {
			return "", false, err
		}
		if w == r.StatefulSet() {
			n -= int32(len(r.Shared.Skipped))
		}
		pods, err := r.PodsOf(ctx, w)
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
