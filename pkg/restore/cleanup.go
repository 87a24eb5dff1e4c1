package restore

import (
	"context"
	"fmt"
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
	err = c.run.each(func(_ int, m *MemberRecord) error {
		st, err := c.run.stage(ctx, m.Name)
		if err != nil {
			return err
		}
		s, err := st.Inspect(ctx)
		if err != nil {
			return fmt.Errorf("inspect volume of member %s: %w", m.Name, err)
		}
		for _, left := range s.Operations {
			if left.Op == o.ID {
				c.run.mu.Lock()
				c.Kept = append(c.Kept, Kept{m.Name, left.Size})
				c.run.mu.Unlock()
			}
		}
		return nil
	})
	if err != nil {
		c.Close(ctx)
		return nil, err
	}
	return c, nil
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
	return deleteJournal(ctx, c.run.d.Clients.Core, c.run.sh.Namespace, c.Operation.ID)
}

// Close removes the utility pods; it outlives an interrupt.
func (c *Cleanup) Close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	if err := c.run.closeStages(ctx); err != nil {
		c.run.d.Report.Warn("%v", err)
	}
}
