package site

import (
	"context"
	"errors"
	"slices"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/operation"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
)

// NoJournal refuses an operation that is not known.
func NoJournal(id string) error {
	return Refuse("kubectl etcd restore status -A lists them", "find operation %s: there is no journal of it", id)
}

// Load finds an operation: by its id, or the only one of the namespace that is unfinished, or has ended.
func Load(ctx context.Context, d Deps, namespace, id string, ended bool) (*plan.Operation, error) {
	if namespace == "" && id == "" {
		return nil, Refuse("kubectl etcd restore status -A lists them", "find operation: name its namespace with -n, or the operation itself")
	}
	if id != "" {
		return d.findAnywhere(ctx, namespace, id)
	}
	ops, bad, err := Journals(ctx, d.Place, namespace)
	if err != nil {
		return nil, err
	}
	for _, u := range bad { // whichever is meant is the user's to say
		d.Report.Warn("%v", u)
	}
	found := slices.DeleteFunc(slices.Clone(ops), func(o plan.Operation) bool { return o.Ended() != ended })
	if !ended && MayBeBeside(ops) {
		beside, err := d.Beside(ctx, namespace, ops)
		if err != nil {
			return nil, err
		}
		beside = slices.DeleteFunc(beside, func(o plan.Operation) bool { return o.Ended() })
		if len(beside) > 0 { // what the cluster has besides came back with its snapshot
			found = beside
		}
	}
	how := map[bool]string{false: "are unfinished", true: "have ended"}[ended]
	switch {
	case len(found) == 1:
		return &found[0], nil
	case len(found) > 1:
		return nil, Refuse("name the operation: kubectl etcd restore status -A lists them", "find operation: %d %s", len(found), how)
	}
	hint := "kubectl etcd restore status -A lists all"
	if !ended {
		hint = "to undo one that has ended, name it: " + hint
	}
	return nil, Refuse(hint, "find operation: there are none that %s", how)
}

// MayBeBeside tells whether there may be an unfinished operation of which only the members' volumes know: one in the cluster that is of a hosted
// control plane is what it says, and one of the cluster's own etcd may have come back with a snapshot.
func MayBeBeside(ops []plan.Operation) bool {
	for i := range ops {
		if sh, err := ReadShared(&ops[i]); !ops[i].Ended() && err == nil && sh.Static == nil && (sh.Replace == nil || sh.Replace.Pod == nil) {
			return false
		}
	}
	return true
}

// findAnywhere finds an operation by its id, in the cluster or beside the data.
func (d Deps) findAnywhere(ctx context.Context, namespace, id string) (*plan.Operation, error) {
	o, err := operation.Find(ctx, d.Place, namespace, id, readable)
	if !errors.Is(err, operation.ErrUnknown) {
		return o, err
	}
	beside, err := d.Beside(ctx, namespace, nil)
	if err != nil {
		return nil, err
	}
	for i := range beside {
		if beside[i].ID == id {
			return &beside[i], nil
		}
	}
	return nil, NoJournal(id)
}

// HasEnded refuses to go on with an operation that has ended.
func HasEnded(o *plan.Operation) error {
	return Refuse("kubectl etcd restore status -A lists them", "continue operation %s: it has ended (%s)", o.ID, o.Phase)
}

// Ended opens an operation of which only what it has left is of interest.
func Ended(d Deps, c Cluster, t Target, o *plan.Operation, verb string) (*Site, error) {
	if !o.Ended() {
		return nil, Refuse(GoOn(o, t.Plane.Namespace), "%s operation %s: it is unfinished (%s)", verb, o.ID, o.Phase)
	}
	sh, err := ReadShared(o)
	if err != nil {
		return nil, err
	}
	return New(d, c, t, o, sh), nil
}

// Empty tells whether an operation has deleted data, and etcd has not come up on what replaces it: an etcd that is started
// now can be an empty one. It can only go on, with its snapshot or with another one.
func Empty(o *plan.Operation) bool {
	gone := slices.ContainsFunc(o.Steps, func(s plan.Step) bool { return s.Kind == KindDrop && s.State != plan.Pending })
	return gone && !o.Ended() && !slices.ContainsFunc(o.Steps, func(s plan.Step) bool { return s.Kind == KindEtcdUp && s.State == plan.Done })
}
