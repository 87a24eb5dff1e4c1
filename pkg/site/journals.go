package site

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/operation"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
)

// readable reads what the steps of a restore share: a journal without it is of no use.
func readable(o *plan.Operation) error {
	_, err := ReadShared(o)
	return err
}

// Operations are the restores of a namespace ("" is all) whose journal can be read, newest first.
func Operations(ctx context.Context, p operation.Place, namespace string) ([]plan.Operation, error) {
	ops, _, err := Journals(ctx, p, namespace)
	return ops, err
}

// Journals are the restores of a namespace ("" is all), newest first, and the journals that cannot be read.
func Journals(ctx context.Context, p operation.Place, namespace string) ([]plan.Operation, []*operation.Unreadable, error) {
	return operation.Journals(ctx, p, namespace, readable)
}

// Find reads the journal of one restore, in a namespace or in any.
func Find(ctx context.Context, p operation.Place, namespace, id string) (*plan.Operation, error) {
	o, err := operation.Find(ctx, p, namespace, id, readable)
	if errors.Is(err, operation.ErrUnknown) {
		return nil, NoJournal(id)
	}
	return o, err
}

// Known is what the journals of all restores of a control plane tell a new one.
type Known struct {
	Seen  int64 // the highest revision of which they know
	Notes []string
}

// Unfinished refuses a second restore while the first can still go either way.
func Unfinished(ctx context.Context, d Deps, p controlplane.ControlPlane) (k Known, err error) {
	ops, bad, err := Journals(ctx, d.Place, p.Namespace)
	if err != nil {
		return k, err
	}
	for _, u := range bad {
		switch {
		case u.Target != "" && u.Target != p.ID():
		case (&plan.Operation{Phase: u.Phase}).Ended():
			k.Notes = append(k.Notes, fmt.Sprintf("%v; it has ended (%s), but the revisions that it knows of are not taken into account", u, u.Phase))
		default:
			return k, fmt.Errorf("restore %s: %w", p.ID(), u)
		}
	}
	for _, o := range ops {
		if o.Target != p.ID() {
			continue
		}
		if !o.Ended() {
			return k, InTheWay(ctx, d, &o, fmt.Sprintf("restore %s: operation %s, begun %s, is unfinished (%s)", p.ID(), o.ID, o.Created.Format(time.RFC3339), o.Phase))
		}
		sh, err := ReadShared(&o)
		if err != nil {
			return k, err
		}
		k.Seen = max(k.Seen, sh.Highest, sh.Snapshot.Revision+max(sh.Bump, 0))
	}
	return k, nil
}
