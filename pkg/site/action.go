package site

import (
	"context"
	"errors"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
)

// Action makes a plan.Action of two functions.
type Action struct {
	Forth, Back func(context.Context, *plan.Task) error
}

func (a Action) Do(ctx context.Context, t *plan.Task) error { return a.Forth(ctx, t) }

func (a Action) Undo(ctx context.Context, t *plan.Task) error {
	if a.Back == nil {
		return nil
	}
	return persist(ctx, UndoPatience, func() error { return a.Back(ctx, t) })
}

// UndoPatience is how long an undo is tried: a node or an API server that restarts takes the utility pods along, or
// the way to them, and is back by then.
var UndoPatience = 3 * time.Minute

// forbiddenFor is how long an API server that has just started may not know yet what is allowed.
const forbiddenFor = 10 * time.Second

// persist does something until it succeeds, for as long as that makes sense.
func persist(ctx context.Context, patience time.Duration, do func() error) error {
	var forbidden time.Time // since then
	for end := time.Now().Add(patience); ; {
		err := do()
		var refusal *Refusal
		if err == nil || errors.As(err, &refusal) || errors.Is(err, plan.ErrTooLate) || errors.Is(err, plan.ErrAbandoned) || time.Now().After(end) {
			return err
		}
		if !apierrors.IsForbidden(err) {
			forbidden = time.Time{}
		} else if forbidden.IsZero() {
			forbidden = time.Now()
		} else if time.Since(forbidden) > forbiddenFor {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(time.Second):
		}
	}
}
