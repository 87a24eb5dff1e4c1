package restore

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
)

// Kept is what one member's volume still holds of an operation.
type Kept struct {
	Member string `json:"member"`
	Size   int64  `json:"size"` // bytes
}

// Leavings opens an ended operation for its cleanup: what its members' volumes still hold.
func Leavings(ctx context.Context, d Deps, cfg Config, o *plan.Operation) (*Cleanup, error) {
	r, err := ended(d, kube{d, cfg.Reach}, cfg, o, "clean up")
	if err != nil {
		return nil, err
	}
	c := &Cleanup{Operation: o, run: r}
	c.Kept, err = r.kept(ctx)
	if err != nil {
		c.Close(ctx)
		return nil, err
	}
	return c, nil
}

// kept is what the members' volumes hold of the operation.
func (r *run) kept(ctx context.Context) (out []Kept, err error) {
	err = r.each(func(_ int, m *MemberRecord) error {
		_, s, err := r.look(ctx, m.Name)
		if err != nil {
			return err
		}
		for _, left := range s.Operations {
			if left.Op == r.op.ID {
				r.mu.Lock()
				out = append(out, Kept{m.Name, left.Size})
				r.mu.Unlock()
			}
		}
		return nil
	})
	slices.SortFunc(out, func(a, b Kept) int { return strings.Compare(a.Member, b.Member) })
	return out, err
}

// Cleanup removes the old data of an operation that has ended. Close it.
type Cleanup struct {
	Operation *plan.Operation
	Kept      []Kept
	run       *run
}

// Run deletes the old data, and then the journal.
func (c *Cleanup) Run(ctx context.Context) error {
	err := c.run.each(func(_ int, m *MemberRecord) error {
		st, err := c.run.stage(ctx, m.Name)
		if err != nil {
			return err
		}
		_, err = st.Discard(ctx, c.Operation.ID)
		return err
	})
	if err != nil {
		return fmt.Errorf("remove old data: %w", err)
	}
	return c.run.d.deleteJournal(ctx, c.run.sh.Namespace, c.Operation.ID)
}

// Close removes the utility pods; it outlives an interrupt.
func (c *Cleanup) Close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	if err := c.run.closeStages(ctx); err != nil {
		c.run.d.Report.Warn("%v", err)
	}
}
