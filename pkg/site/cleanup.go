package site

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
func Leavings(ctx context.Context, d Deps, t Target, o *plan.Operation) (*Cleanup, error) {
	r, err := Ended(d, Kube{d, t.Reach}, t, o, "clean up")
	if err != nil {
		return nil, err
	}
	c := &Cleanup{Operation: o, site: r}
	c.Kept, err = r.Kept(ctx)
	if err != nil {
		c.Close(ctx)
		return nil, err
	}
	return c, nil
}

// Kept is what the members' volumes hold of the operation.
func (r *Site) Kept(ctx context.Context) (out []Kept, err error) {
	err = r.Each(func(_ int, m *MemberRecord) error {
		_, s, err := r.Volume(ctx, m.Name)
		if err != nil {
			return err
		}
		for _, left := range s.Operations {
			if left.Op == r.Operation.ID {
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
	site      *Site
}

// Run deletes the old data, and then the journal.
func (c *Cleanup) Run(ctx context.Context) error {
	err := c.site.Each(func(_ int, m *MemberRecord) error {
		st, err := c.site.Stage(ctx, m.Name)
		if err != nil {
			return err
		}
		_, err = st.Discard(ctx, c.Operation.ID)
		return err
	})
	if err != nil {
		return fmt.Errorf("remove old data: %w", err)
	}
	return c.site.Deps.deleteJournal(ctx, c.site.Shared.Namespace, c.Operation.ID)
}

// Close removes the utility pods; it outlives an interrupt.
func (c *Cleanup) Close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	if err := c.site.CloseStages(ctx); err != nil {
		c.site.Deps.Report.Warn("%v", err)
	}
}
