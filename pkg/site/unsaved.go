package site

import (
	"context"
	"errors"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/operation"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
)

// KeptJournal is the journal of an operation under way. It knows whether the cluster has the last of it.
type KeptJournal struct {
	plan.Journal
	Warn    func(format string, args ...any)
	Unsaved error // why the last save failed; nil: it did not
}

// Save implements plan.Journal.
func (k *KeptJournal) Save(ctx context.Context, o *plan.Operation) error {
	err := k.Journal.Save(ctx, o)
	if err != nil && k.Unsaved == nil && !errors.Is(err, plan.ErrAbandoned) && ctx.Err() == nil {
		k.Warn("%v; this client goes on from memory, with what it can: do not end it", err)
	}
	k.Unsaved = err
	return err
}

// Ours implements operation.Witness.
func (k *KeptJournal) Ours(ctx context.Context) (same, exists bool, err error) {
	if w, ok := k.Journal.(operation.Witness); ok {
		return w.Ours(ctx)
	}
	return false, true, nil
}
