package hosted

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/await"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore/hosting"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
)

// replicasRecord is what a scaled workload had.
type replicasRecord struct {
	Replicas int32 `json:"replicas"`
}

// scaleDown remembers the replicas as they are now, not as they were when the
// plan was made: an autoscaler may have been at work.
func (r *way) scaleDown(ctx context.Context, t *plan.Task) error {
	w, err := site.ParseWorkload(t.Object)
	if err != nil {
		return err
	}
	var rec replicasRecord
	known, err := t.Recall(&rec)
	if err != nil {
		return err
	}
	n, err := r.Cluster.Replicas(ctx, w)
	if err != nil {
		return err
	}
	if n > 0 && (!known || n != rec.Replicas) {
		if err := t.Remember(ctx, replicasRecord{n}); err != nil {
			return err
		}
	}
	return r.end(ctx, w, &writerGrace) // all writers end at the same time: quiet waits for them
}

// writerGrace is how many seconds a writer gets to end (a kubelet makes two of one). An API server with watchers
// takes all of its 30, for nothing: what it could still write will be gone.
var writerGrace = int64(1)

// end scales a workload to 0. Its pods are deleted
// at once: a StatefulSet would end them one after the other.
//
// A kubelet that has begun to end a pod takes note of a shorter grace only ten
// seconds later, so where it is shorter the pods have to be deleted before their
// StatefulSet does so. It makes none of that name while one still ends, and is
// scaled by then. A Deployment would have made others.
func (r *way) end(ctx context.Context, w site.Workload, grace *int64) error {
	r.OutageBegins()
	if grace != nil && w.Kind == "StatefulSet" {
		if err := r.deletePods(ctx, w, grace); err != nil {
			return err
		}
	}
	if err := r.Cluster.Scale(ctx, w, 0); err != nil {
		return err
	}
	return r.deletePods(ctx, w, grace)
}

// endAndWait ends a workload, and waits until its pods are gone.
func (r *way) endAndWait(ctx context.Context, w site.Workload, grace *int64) error {
	if err := r.end(ctx, w, grace); err != nil {
		return err
	}
	return r.gone(ctx, w)
}

func (r *way) deletePods(ctx context.Context, w site.Workload, grace *int64) error {
	pods, err := r.PodsOf(ctx, w)
	if err != nil {
		return err
	}
	for _, p := range pods {
		if err := r.Cluster.DeletePod(ctx, w, p, grace); err != nil {
			return err
		}
	}
	return nil
}

// quiet proves that nobody writes any more, and that the bump still suffices.
func (r *way) quiet(ctx context.Context, _ *plan.Task) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := r.writersGone(ctx); err != nil {
			stop(err)
		}
	}()
	if err := r.silent(ctx, ended); err != nil {
		stop(err)
	}
	<-ended
	return context.Cause(ctx)
}

func (r *way) writersGone(ctx context.Context) error {
	for _, object := range r.Shared.Writers {
		w, err := site.ParseWorkload(object)
		if err != nil {
			return err
		}
		if err := r.gone(ctx, w); err != nil {
			return err
		}
	}
	return nil
}

// silent watches from when the writers were told to end: the seconds in which they still do, and write nothing any more,
// count. The revision is asked then, too: what they still write is far less than the margin.
func (r *way) silent(ctx context.Context, ended <-chan struct{}) error {
	s, err := r.Cluster.Survey(ctx, r.Plane, false)
	if err != nil {
		return err
	}
	live := int64(0)
	asked := ""
	for _, m := range s.Members {
		if m.Status != nil {
			live = max(live, m.Status.Revision)
		}
		if m.Healthy && !m.Learner && m.Source != nil {
			asked = m.Source.Name
		}
	}
	if !r.Shared.BumpAsked && live >= r.Shared.Snapshot.Revision+r.Shared.Bump {
		return fmt.Errorf("check revision: it is %d now, and the restored one would be %d; restore again", live, r.Shared.Snapshot.Revision+r.Shared.Bump)
	}
	if asked == "" {
		r.Deps.Report.Warn("no member is healthy, so that none can be watched for writers that are not known; without a quorum nothing can be written")
		return nil
	}
	st, err := r.Asker(ctx, asked)
	if err != nil {
		return err
	}
	for {
		alone := isClosed(ended) // before the watch begins: whatever it sees is a stranger's
		key, rev, err := st.Puts(ctx, quietFor)
		switch {
		case err != nil:
			return fmt.Errorf("watch for writers: %w", err)
		case key == "" && isClosed(ended):
			return nil
		case key == "": // a writer that still ends may write yet
			<-ended
		case alone:
			if err := r.idle(ctx); err != nil { // a writer that is known is back
				return err
			}
			return site.Refuse("find what writes it, and name it with --writer KIND/NAME", "wait for silence: something still writes to this etcd: key %s at revision %d", key, rev)
		default:
			time.Sleep(await.Poll)
		}
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// quietFor is how long nobody may write: controllers that come by now and then do so every few seconds.
const quietFor = 10 * time.Second

// scaleBack gives a writer back what the step took from it.
func (r *way) scaleBack(ctx context.Context, down *plan.Step) error {
	w, err := site.ParseWorkload(down.Object)
	if err != nil {
		return err
	}
	var rec replicasRecord
	if known, err := down.Recall(&rec); err != nil || !known {
		return err
	}
	err = r.Cluster.Scale(ctx, w, rec.Replicas)
	if apierrors.IsNotFound(err) { // deleted meanwhile: nothing of ours stands in its owner's way
		r.Deps.Report.Warn("%s does not exist any more: it had %d replicas", w, rec.Replicas)
		return nil
	}
	return err
}

// scaleUp gives a writer back what its scaleDown took.
func (r *way) scaleUp(ctx context.Context, t *plan.Task) error {
	down := other(r.Operation, t.Step, site.KindWriterDown)
	if down == nil {
		return fmt.Errorf("read journal: step %s has no record of how many replicas there were", t.ID)
	}
	return r.scaleBack(ctx, down)
}

// budgetAway saves a budget and deletes it. One that is gone was deleted by an
// earlier try, or by its owner.
func (r *way) budgetAway(ctx context.Context, t *plan.Task) error {
	ns, name, _ := strings.Cut(t.Object, "/")
	b, err := r.k.Budget(ctx, ns, name)
	if err != nil || b == nil || b.DeletionTimestamp != nil {
		return err
	}
	if len(b.Finalizers) > 0 { // since the plan was made
		r.Deps.Report.Warn("%s", hosting.StaysAsItIs(b))
		return nil
	}
	saved := policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Name: b.Name, Namespace: b.Namespace, Labels: b.Labels, Annotations: b.Annotations, OwnerReferences: b.OwnerReferences},
		Spec:       b.Spec,
	}
	if err := t.Remember(ctx, saved); err != nil {
		return err
	}
	return r.k.DeleteBudget(ctx, b)
}

func (r *way) budgetCreate(ctx context.Context, away *plan.Step) error {
	var saved policyv1.PodDisruptionBudget
	if known, err := away.Recall(&saved); err != nil || !known {
		return err
	}
	return r.budgetAnew(ctx, &saved)
}

func (r *way) budgetBack(ctx context.Context, t *plan.Task) error {
	away := other(r.Operation, t.Step, site.KindBudgetAway)
	if away == nil {
		return fmt.Errorf("read journal: step %s has no record of the budget", t.ID)
	}
	return r.budgetCreate(ctx, away)
}

// retain keeps the volumes of a StatefulSet that would delete them at 0 replicas,
// and waits until none is about to go.
func (r *way) retain(ctx context.Context, t *plan.Task) error {
	if len(t.Record) == 0 {
		policy, err := r.k.Retention(ctx, r.StatefulSet())
		if err != nil {
			return err
		}
		if err := t.Remember(ctx, policy); err != nil {
			return err
		}
	}
	if err := r.k.SetRetention(ctx, r.StatefulSet(), appsv1.RetainPersistentVolumeClaimRetentionPolicyType); err != nil {
		return err
	}
	var pods []string
	for _, m := range slices.Concat(r.Shared.Members, r.Shared.Skipped) {
		pods = append(pods, m.PodName)
	}
	return await.Until(ctx, r.Timeout, "no volume claim goes with its pod", func(ctx context.Context) (string, bool, error) {
		leaving, err := r.k.Leaving(ctx, r.Shared.Namespace, pods)
		return leaving, err == nil && leaving == "", err
	})
}

func (r *way) retainBack(ctx context.Context, rec *plan.Step) error {
	if rec == nil {
		return nil
	}
	var p *appsv1.StatefulSetPersistentVolumeClaimRetentionPolicy
	if known, err := rec.Recall(&p); err != nil || !known || p == nil {
		return err
	}
	return r.k.SetRetention(ctx, r.StatefulSet(), p.WhenScaled)
}
