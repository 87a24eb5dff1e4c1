package hot

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/await"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
)

// nudging nudges until it is stopped. It does not wait for anybody's answer: to ask members that are down takes time.
// What it cannot do now it tries again; that members come up is waited for elsewhere.
func (r *way) nudging(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() {
		nudged := map[types.UID]bool{}
		tick := time.NewTicker(await.Poll)
		defer tick.Stop()
		for ctx.Err() == nil {
			_ = r.nudge(ctx, nudged)
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
		}
	})
	return func() { cancel(); done.Wait() }
}

// nudge deletes the pods of members that the kubelet leaves alone for a while since they have ended before: a new pod
// starts at once. Each is deleted once.
func (r *way) nudge(ctx context.Context, nudged map[types.UID]bool) error {
	pods, err := r.PodsOf(ctx, r.StatefulSet())
	if err != nil {
		return err
	}
	for _, p := range pods {
		if p.Backoff[r.EtcdContainer(p)] == 0 || nudged[p.UID] || len(nudged) >= nudges*len(r.Shared.Members) {
			continue
		}
		if err := r.Cluster.DeletePod(ctx, r.StatefulSet(), p, &site.EtcdGrace); err != nil {
			return err
		}
		nudged[p.UID] = true
	}
	return nil
}

// nudges is how many pods of a member may be deleted: an etcd that ends again and again has another reason.
const nudges = 2

// hotServe waits for the writers, which have lost etcd for a moment.
func (r *way) hotServe(ctx context.Context, _ *plan.Task) error {
	late, err := r.WritersReady(ctx, r.Shared.Writers)
	r.Shared.Late = late
	r.TellStopped(ctx)
	return err
}
