package operations

import (
	"context"
	"errors"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore/hosted"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/userapi"
)

// The world's Kubernetes, as a client reaches it: replicas, pods in name, budgets, the StatefulSet, HyperShift's pause.

func (c *client) Replicas(_ context.Context, w site.Workload) (int32, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.replicas[w], c.alive()
}

func (c *client) Scale(_ context.Context, w site.Workload, n int32) error {
	if err := c.alive(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.replicas[w]
	c.replicas[w] = n
	if w != etcdSet || was == n {
		return nil
	}
	if c.exclusive && n > 0 && len(c.utility) > 0 {
		return fmt.Errorf("the pods of etcd wait for their volumes, which utility pods have: %v", c.utility)
	}
	for _, m := range c.etcd.Members {
		if n == 0 {
			m.Shutdown(c.t)
		} else {
			m.Start(c.t)
		}
	}
	return nil
}

func (c *client) Pods(_ context.Context, w site.Workload) ([]site.Pod, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []site.Pod
	for i := range c.replicas[w] {
		out = append(out, site.Pod{Name: fmt.Sprintf("%s-%d", w.Name, i), UID: types.UID(fmt.Sprint(c.pods[w])), Ready: true})
	}
	return out, c.alive()
}

func (c *client) DeletePod(_ context.Context, w site.Workload, p site.Pod, _ *int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p.UID == types.UID(fmt.Sprint(c.pods[w])) {
		c.pods[w]++
	}
	return c.alive()
}

func (c *client) Log(context.Context, string, string, string, time.Time) (string, error) {
	return "", c.alive()
}

func (c *client) Reverted(context.Context, site.Workload) string { return "manager somebody" }

func (c *client) Budget(_ context.Context, _, name string) (*policyv1.PodDisruptionBudget, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.budgets[name], c.alive()
}

func (c *client) DeleteBudget(_ context.Context, b *policyv1.PodDisruptionBudget) error {
	if err := c.alive(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.budgets, b.Name)
	return nil
}

func (c *client) CreateBudget(_ context.Context, b *policyv1.PodDisruptionBudget) error {
	if err := c.alive(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if there := c.budgets[b.Name]; there != nil && there.DeletionTimestamp != nil {
		return &hosted.LeavingError{Budget: there}
	}
	c.budgets[b.Name] = b
	return nil
}

func (c *client) Retention(context.Context, site.Workload) (*appsv1.StatefulSetPersistentVolumeClaimRetentionPolicy, error) {
	p := *c.policy
	return &p, c.alive()
}

func (c *client) SetRetention(_ context.Context, _ site.Workload, scaled appsv1.PersistentVolumeClaimRetentionPolicyType) error {
	if err := c.alive(); err != nil {
		return err
	}
	c.policy.WhenScaled = scaled
	return nil
}

// Leaving: with the policy Delete, volumes go when their pods go.
func (c *client) Leaving(context.Context, string, []string) (string, error) {
	if c.policy.WhenScaled == appsv1.DeletePersistentVolumeClaimRetentionPolicyType {
		return "claim data-kube-etcd-0", nil
	}
	return "", c.alive()
}

func (c *client) Set(context.Context, site.Workload) (*appsv1.StatefulSet, error) {
	return c.set.DeepCopy(), c.alive()
}

func (c *client) DeleteSet(context.Context, *appsv1.StatefulSet) error {
	if err := c.alive(); err != nil {
		return err
	}
	c.set = nil
	return nil
}

func (c *client) CreateSet(_ context.Context, s *appsv1.StatefulSet) error {
	if err := c.alive(); err != nil {
		return err
	}
	c.set = s.DeepCopy()
	return nil
}

func (c *client) PausedUntil(context.Context, string, string) (*string, error) {
	return c.until, c.alive()
}

func (c *client) SetPausedUntil(_ context.Context, _ string, until *string) error {
	if err := c.alive(); err != nil {
		return err
	}
	c.until = until
	return nil
}

// Cached: one API server's caches are from before the restore, until its pods are made anew.
func (c *client) Ready(context.Context, userapi.Access, string, string, int) error { return c.alive() }

func (c *client) Cached(_ context.Context, _ userapi.Access, _, _ string, _ int) (map[string]int64, error) {
	if c.stale > 0 && c.pods[apiserver] == c.begun {
		return map[string]int64{"pods": c.stale, "nodes": c.restored}, c.alive()
	}
	if c.restored == 0 {
		return map[string]int64{"pods": 1 << 40}, c.alive()
	}
	return map[string]int64{"pods": c.restored, "nodes": c.restored}, c.alive()
}

// Objects is asked only by snapshots that have some.
func (c *client) Objects(context.Context, userapi.Access, string, string, int, int64, []string) (map[string]int64, error) {
	return nil, errors.New("nothing is counted here")
}
