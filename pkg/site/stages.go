package site

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/datadir"
)

// Stage is the utility pod at a member's volume, made when there is none, or when it is gone.
func (r *Site) Stage(ctx context.Context, name string) (Stage, error) {
	return r.utility(ctx, name, name, r.Cluster.Stage)
}

// Asker is a utility pod that can ask a member: the one at its volume, or, where
// etcd's own pod is the only one that can have that, one without it.
func (r *Site) Asker(ctx context.Context, name string) (Stage, error) {
	if !r.Shared.StageLate {
		return r.Stage(ctx, name)
	}
	return r.utility(ctx, askPrefix+name, name, r.Cluster.Asker)
}

// askPrefix is in the keys of stages without a volume.
const askPrefix = "ask/"

func (r *Site) utility(ctx context.Context, key, name string, open func(context.Context, controlplane.Member, string) (Stage, error)) (Stage, error) {
	r.mu.Lock()
	st := r.stages[key]
	r.mu.Unlock()
	if st != nil && st.Alive(ctx) {
		return st, nil
	}
	m, ok := r.Plane.Member(name)
	if !ok {
		return nil, fmt.Errorf("reach member %s: it was not found", name)
	}
	st, err := open(ctx, m, r.Operation.ID)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	r.stages[key] = st
	r.mu.Unlock()
	return st, nil
}

// Volume is the stage of a member, and what is on its volume now.
func (r *Site) Volume(ctx context.Context, name string) (Stage, *datadir.State, error) {
	st, err := r.Stage(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	now, err := st.Inspect(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("inspect volume of member %s: %w", name, err)
	}
	return st, now, nil
}

// stageLifetime ends utility pods whose client was killed.
const stageLifetime = 2 * time.Hour

// CloseStages removes all utility pods of the operation: also those of a client
// that was killed before this one went on.
func (r *Site) CloseStages(ctx context.Context) error {
	return errors.Join(r.CloseOwn(ctx), r.Cluster.Unstage(ctx, r.Shared.Namespace, r.Operation.ID))
}

// CloseOwn removes the utility pods that this client has made.
func (r *Site) CloseOwn(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	for name, st := range r.stages {
		errs = append(errs, st.Close(ctx))
		delete(r.stages, name)
	}
	return errors.Join(errs...)
}

// Each does something for all members at once.
func (r *Site) Each(f func(i int, m *MemberRecord) error) error {
	errs := make([]error, len(r.Shared.Members))
	var wg sync.WaitGroup
	for i := range r.Shared.Members {
		wg.Go(func() { errs[i] = f(i, &r.Shared.Members[i]) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// InspectAll looks at the volumes of all members; states are in the order of Shared.Members.
func (r *Site) InspectAll(ctx context.Context) ([]*datadir.State, error) {
	states := make([]*datadir.State, len(r.Shared.Members))
	err := r.Each(func(i int, m *MemberRecord) error {
		st, err := r.Stage(ctx, m.Name)
		if err != nil {
			return err
		}
		if states[i], err = st.Inspect(ctx); err != nil {
			return fmt.Errorf("inspect volume of member %s: %w", m.Name, err)
		}
		return nil
	})
	return states, err
}
