// Package site is where an operation on a control plane's members works, whatever it does: its utility pods at their volumes, the
// workloads, the journal that all steps share; and how it is run, resumed, undone, given up and cleaned up. What it does is a Kind:
// pkg/restore and pkg/member have those.
package site

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/survey"
)

// Site is where an operation works: a control plane's members, each with a utility pod at its volume when there is need of one.
type Site struct {
	Deps      Deps
	Cluster   Cluster
	Operation *plan.Operation
	Shared    *Shared
	Timeout   time.Duration // bounds each wait for pods

	// Afterwards waits for what the operation leaves to others, and tells what they have not done; nil: nothing is left to others.
	Afterwards func(context.Context) []string

	mu     sync.Mutex
	Plane  controlplane.ControlPlane // where the members were last seen
	stages map[string]Stage          // by member
}

// New is where an operation works; o and sh are nil while it is being planned.
func New(d Deps, c Cluster, t Target, o *plan.Operation, sh *Shared) *Site {
	return &Site{Deps: d, Cluster: c, Operation: o, Shared: sh, Timeout: t.Timeout, Plane: t.Plane, stages: map[string]Stage{}}
}

// Compare asks for hashes, which takes time in proportion to the data: so it is
// not part of the outage. Every member was built from the same proven bytes, so a
// difference is a disk's or etcd's: there is nothing to go back to, and it is told.
func (r *Site) Compare(ctx context.Context, _ *plan.Task) error {
	p, err := r.FindPlane(ctx)
	if err != nil {
		return err
	}
	s, err := r.Cluster.Survey(ctx, p, true)
	if err != nil {
		return err
	}
	switch s.Consistency {
	case survey.Differs:
		r.Shared.Differs = s.Note
	case survey.NotComparable:
		r.Deps.Report.Warn("the members' data could not be compared: %s", s.Note)
	}
	return nil
}

// Survey asks the members where they are now.
func (r *Site) Survey(ctx context.Context) (*survey.Survey, error) {
	p, err := r.FindPlane(ctx)
	if err != nil {
		return nil, err
	}
	r.Follow(p)
	return r.Cluster.Survey(ctx, p, false)
}

// DeletePod deletes a member's pod, of that uid if one is given. An etcd that has
// been removed, or has no quorum, may never end by itself.
func (r *Site) DeletePod(ctx context.Context, name string, uid types.UID) error {
	pods, err := r.PodsOf(ctx, r.StatefulSet())
	if err != nil {
		return err
	}
	for _, p := range pods {
		if p.Name == name && (uid == "" || p.UID == uid) {
			return r.Cluster.DeletePod(ctx, r.StatefulSet(), p, &EtcdGrace)
		}
	}
	return nil
}

// StepOf is the first step of a kind; nil where there is none.
func (r *Site) StepOf(kind string) *plan.Step {
	for i := range r.Operation.Steps {
		if r.Operation.Steps[i].Kind == kind {
			return &r.Operation.Steps[i]
		}
	}
	return nil
}

// StatefulSet is what runs the members.
func (r *Site) StatefulSet() Workload {
	return Workload{Kind: "StatefulSet", Namespace: r.Shared.Namespace, Name: r.Shared.StatefulSet}
}

// EtcdGrace is how many seconds etcd gets to end (a kubelet makes two of one). With clients and peers that do not let go it
// takes seven; it bears being killed, and has had nothing to write for longer than it keeps anything in memory.
var EtcdGrace = int64(1)

// Follow takes note of where the members are now.
func (r *Site) Follow(p controlplane.ControlPlane) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Plane = p
	for name, st := range r.stages {
		if m, ok := p.Member(strings.TrimPrefix(name, askPrefix)); ok {
			st.Follow(m)
		}
	}
}

// Answers tells whether a member is healthy: then what it holds can be backed up.
func (r *Site) Answers(ctx context.Context) bool {
	s, err := r.Cluster.Survey(ctx, r.Plane, false)
	return err == nil && s.AnyHealthy()
}

// WithoutSkipped is the control plane as far as it is restored.
func (r *Site) WithoutSkipped(p controlplane.ControlPlane) controlplane.ControlPlane {
	p.Members = slices.DeleteFunc(slices.Clone(p.Members), func(m controlplane.Member) bool {
		return slices.ContainsFunc(r.Shared.Skipped, func(s MemberRecord) bool { return s.Name == m.Name })
	})
	return p
}

// plane is the control plane as it is now, without members that are skipped: nobody should wait for their answers.
func (r *Site) FindPlane(ctx context.Context) (controlplane.ControlPlane, error) {
	p, err := r.Cluster.Plane(ctx, r.Shared.Namespace, r.Shared.Name)
	if r.Shared.Static != nil { // the snapshot may know pods of nodes that are no more
		p.Members = slices.DeleteFunc(slices.Clone(p.Members), func(m controlplane.Member) bool { return r.Shared.Member(m.Name) == nil })
	}
	return r.WithoutSkipped(p), err
}

// PodsOf are the pods of a workload, without those of members that are skipped: on a node that is gone they end never.
func (r *Site) PodsOf(ctx context.Context, w Workload) ([]Pod, error) {
	pods, err := r.Cluster.Pods(ctx, w)
	if w != r.StatefulSet() {
		return pods, err
	}
	return slices.DeleteFunc(pods, func(p Pod) bool {
		return slices.ContainsFunc(r.Shared.Skipped, func(s MemberRecord) bool { return s.PodName == p.Name })
	}), err
}

// EtcdContainer is the container of a member's pod that runs etcd; "" where the pod is no member's.
func (r *Site) EtcdContainer(p Pod) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.Plane.Members {
		if m.PodName == p.Name {
			return m.Container
		}
	}
	return ""
}

// OutageBegins notes when the control plane stopped serving: the first time that is said counts.
func (r *Site) OutageBegins() {
	if r.Shared.OutageBegan.IsZero() {
		r.Shared.OutageBegan = r.Deps.Now().UTC()
	}
}

// OutageEnds notes when it serves again: the first time that is said counts. Of one that began with a client that was killed it is not known.
func (r *Site) OutageEnds(at time.Time) {
	if r.Shared.OutageEnded.IsZero() && !r.Shared.OutageBegan.IsZero() {
		r.Shared.OutageEnded = at.UTC()
	}
}

// alone refuses to begin where another client has begun, and died, since the plan was made.
func (r *Site) alone(ctx context.Context) error {
	_, err := Unfinished(ctx, r.Deps, r.Plane)
	return err
}

// EtcdRuns refuses to give an operation up while etcd cannot serve: API servers would meet nothing, or an etcd that is empty.
func (r *Site) EtcdRuns(ctx context.Context) error {
	n, err := r.Cluster.Replicas(ctx, r.StatefulSet())
	if err != nil {
		return err
	}
	if n > 0 {
		if !r.Answers(ctx) {
			r.Deps.Report.Warn("no member is healthy; what their volumes hold can be restored on all: --from member/NAME")
		}
		return nil
	}
	states, err := r.InspectAll(ctx)
	if err != nil {
		return err
	}
	for i, s := range states {
		if !s.Exists {
			return Refuse("give that volume its data back first", "abandon operation %s: %s is at 0 replicas, and the volume of member %s has no data", r.Operation.ID, r.StatefulSet(), r.Shared.Members[i].Name)
		}
	}
	return Refuse(fmt.Sprintf("its data is on the volumes; start it with: kubectl -n %s scale statefulset/%s --replicas=%d, then give the operation up", r.Shared.Namespace, r.Shared.StatefulSet, r.Shared.Replicas),
		"abandon operation %s: %s is at 0 replicas", r.Operation.ID, r.StatefulSet())
}
