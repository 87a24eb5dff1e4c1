package hosted

import (
	"context"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/await"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore/hosting"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
)

// paused is what pausing has to bring back.
type paused struct {
	site.HostedCluster
	// Until is spec.pausedUntil as it was; nil where there was none.
	Until *string `json:"until"`
}

// pause stops HyperShift's operators, and waits until that has reached the one beside the control plane.
func (r *way) pause(ctx context.Context, t *plan.Task) error {
	rec := paused{HostedCluster: *r.Shared.Hosted}
	known, err := t.Recall(&rec)
	if err != nil {
		return err
	}
	if !known {
		if rec.Until, err = r.k.PausedUntil(ctx, hosting.HostedClusters, rec.Cluster); err != nil {
			return err
		}
		if err := t.Remember(ctx, rec); err != nil {
			return err
		}
	}
	yes := "true"
	if err := r.k.SetPausedUntil(ctx, rec.Cluster, &yes); err != nil {
		return err
	}
	return await.Until(ctx, r.Timeout, "hosted control plane "+rec.ControlPlane+" is paused", func(ctx context.Context) (string, bool, error) {
		until, err := r.k.PausedUntil(ctx, hosting.HostedControlPlanes, rec.ControlPlane)
		if err != nil || until == nil || *until != yes {
			return "its spec.pausedUntil is not \"true\"; is HyperShift's operator running?", false, err
		}
		return "", true, nil
	})
}

func (r *way) unpause(ctx context.Context, step *plan.Step) error {
	if step == nil {
		return nil
	}
	var rec paused
	if known, err := step.Recall(&rec); err != nil || !known {
		return err
	}
	return r.k.SetPausedUntil(ctx, rec.Cluster, rec.Until)
}
