package operation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
)

// Unreadable is a journal that cannot be read, and what its labels and annotations still say.
type Unreadable struct {
	ID     string
	Target string     // empty where nothing says it
	Phase  plan.Phase // the same
	name   string
	look   string // what to type
	err    error
}

func (u *Unreadable) Error() string {
	return fmt.Sprintf("read journal %s: %v", u.name, u.err)
}
func (u *Unreadable) Unwrap() error { return u.err }

// Hint says how to look at it. Only a person can tell whether something is left to do of it.
func (u *Unreadable) Hint() string {
	return fmt.Sprintf("look at it: %s; if a newer version wrote it, use that; delete it only when etcd and its API servers run and nothing of it is left to do", u.look)
}

// ErrUnknown says that there is no journal of an operation.
var ErrUnknown = errors.New("there is no journal of it")

// Journals are the operations of a namespace ("" is all), newest first, and the journals that cannot be read: one of them
// must not stand in the way of the others. check reads what their steps share.
func Journals(ctx context.Context, p Place, namespace string, check func(*plan.Operation) error) ([]plan.Operation, []*Unreadable, error) {
	entries, err := p.Journals(ctx, namespace)
	if err != nil {
		return nil, nil, fmt.Errorf("list journals: %w", err)
	}
	var (
		out []plan.Operation
		bad []*Unreadable
	)
	for _, e := range entries {
		if o, err := decode(e, check); err == nil {
			out = append(out, *o)
		} else {
			name, look, _ := p.Where(e.Namespace, e.ID)
			bad = append(bad, &Unreadable{ID: e.ID, Target: e.Target, Phase: e.Phase, name: name, look: look, err: err})
		}
	}
	slices.SortFunc(out, func(a, b plan.Operation) int { return b.Created.Compare(a.Created) })
	return out, bad, nil
}

// Find reads the journal of one operation, in a namespace or in any; ErrUnknown says that there is none.
func Find(ctx context.Context, p Place, namespace, id string, check func(*plan.Operation) error) (*plan.Operation, error) {
	ops, bad, err := Journals(ctx, p, namespace, check)
	if err != nil {
		return nil, err
	}
	for _, o := range ops {
		if o.ID == id {
			return &o, nil
		}
	}
	for _, u := range bad {
		if u.ID == id {
			return nil, u
		}
	}
	return nil, fmt.Errorf("find operation %s: %w", id, ErrUnknown)
}

// decode reads all of a journal: one whose steps cannot be read, or what they share, is of no use.
func decode(e Entry, check func(*plan.Operation) error) (*plan.Operation, error) {
	o, err := Decode([]byte(e.Text))
	if err != nil {
		return nil, err
	}
	if o.ID == "" || o.ID != e.ID {
		return nil, fmt.Errorf("it is of operation %s", cmp.Or(o.ID, "(none)"))
	}
	return o, check(o)
}
