package hosted

import (
	"context"
	"errors"

	appsv1 "k8s.io/api/apps/v1"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/await"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
)

func (r *way) etcdDown(ctx context.Context, _ *plan.Task) error {
	if err := r.idle(ctx); err != nil {
		return err
	}
	return r.stopEtcd(ctx)
}

func (r *way) stopEtcd(ctx context.Context) error {
	// Right before: somebody may have put the policy back that deletes volumes with their pods.
	policy, err := r.k.Retention(ctx, r.StatefulSet())
	if err != nil {
		return err
	}
	if policy != nil && policy.WhenScaled == appsv1.DeletePersistentVolumeClaimRetentionPolicyType {
		return site.Refuse("pause what manages it, then restore again", "scale %s to 0: its retention policy would delete the volumes; it was put there by %s", r.StatefulSet(), r.Cluster.Reverted(ctx, r.StatefulSet()))
	}
	return r.endAndWait(ctx, r.StatefulSet(), &site.EtcdGrace)
}

// etcdUnstart stops the members on the new data. A writer that came back by itself may have seen revisions that are
// about to vanish, and has to read everything anew: its pods go, too.
func (r *way) etcdUnstart(ctx context.Context, _ *plan.Task) error {
	if err := r.stopEtcd(ctx); err != nil {
		return err
	}
	for _, object := range r.Shared.Writers {
		w, err := site.ParseWorkload(object)
		if err != nil {
			return err
		}
		pods, err := r.PodsOf(ctx, w)
		if err != nil && !apierrors.IsNotFound(err) {
			return err
		}
		for _, p := range pods {
			if err := r.Cluster.DeletePod(ctx, w, p, &writerGrace); err != nil {
				return err
			}
		}
	}
	return nil
}

// etcdBack starts the old members again. That they get healthy is waited for,
// but members that were not healthy before are no reason to stop.
func (r *way) etcdBack(ctx context.Context, _ *plan.Task) error {
	if err := r.Cluster.Scale(ctx, r.StatefulSet(), r.Shared.Replicas); err != nil {
		return err
	}
	if err := r.Ready(ctx, r.StatefulSet()); err != nil {
		r.Deps.Report.Warn("the members run on their old data again, but: %v", err)
	}
	return nil
}

// etcdUp starts the members on the new data. Success is that all are one
// healthy cluster, the predicted one, above the old revision.
func (r *way) etcdUp(ctx context.Context, _ *plan.Task) error {
	if err := r.Cluster.Scale(ctx, r.StatefulSet(), r.Shared.Replicas); err != nil {
		return err
	}
	return await.Until(ctx, r.Timeout, "the restored members are one healthy cluster", func(ctx context.Context) (string, bool, error) {
		var back *site.Refusal
		if err := r.idle(ctx); errors.As(err, &back) {
			return "", false, await.Stop(err)
		} else if err != nil {
			return "", false, err
		}
		p, err := r.FindPlane(ctx)
		if err != nil {
			return "", false, err
		}
		s, err := r.Cluster.Survey(ctx, p, false)
		if err != nil {
			return "", false, err
		}
		seen, ok, err := r.Restored(s)
		r.Relieve(ctx, p, s)
		if ok {
			r.Follow(p)
		}
		return seen, ok, err
	})
}
