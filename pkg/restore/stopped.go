package restore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/operation"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
)

// Stopped is the error of an operation that has begun and not ended. Its hint is the last thing that is said: what is down
// because of it, and what to type.
type Stopped struct {
	Err  error
	Next string
}

func (e *Stopped) Error() string { return e.Err.Error() }
func (e *Stopped) Unwrap() error { return e.Err }

// Hint says what is down, and what to type.
func (e *Stopped) Hint() string { return e.Next }

// stopped adds to the error of an operation what it leaves down. What was refused before it went on knows its own way out.
func (r *run) stopped(err error, unsaved error) error {
	switch err.(type) { //nolint:errorlint // a step's refusal is wrapped: these came before any step
	case *Refusal, *operation.Unreadable, *operation.BusyError:
		return err
	}
	begun := slices.ContainsFunc(r.op.Steps, func(s plan.Step) bool { return s.State != plan.Pending })
	if err == nil || r.op.Ended() || !begun || errors.Is(err, plan.ErrUndone) {
		if err == nil && unsaved != nil || errors.Is(err, plan.ErrUndone) && unsaved != nil {
			_, _, remove := r.d.Place.Where(r.sh.Namespace, r.op.ID)
			r.d.Report.Warn("the journal does not say that the operation has ended; if it is there still, delete it: %s", remove)
		}
		return err
	}
	var said []string
	var refusal *Refusal
	if errors.As(err, &refusal) && refusal.Hint() != "" {
		said = append(said, refusal.Hint())
	}
	down := down(r.op)
	if len(down) == 0 {
		down = []string{"nothing"}
	}
	if errors.Is(err, plan.ErrAbandoned) {
		said = append(said, fmt.Sprintf("when this client stopped, this was down or missing: %s; who is at operation %s says: kubectl etcd restore status -n %s %[2]s; if nobody is: kubectl etcd restore resume -n %[3]s %[2]s",
			strings.Join(down, ", "), r.op.ID, r.sh.Namespace))
	} else {
		said = append(said, fmt.Sprintf("operation %s is unfinished, and this is down or missing: %s; %s", r.op.ID, strings.Join(down, ", "), goOn(r.op, r.sh.Namespace)))
	}
	if unsaved != nil {
		said = append(said, "the journal could not be saved: if it is gone, scale back yourself what is down, etcd first")
	}
	return &Stopped{err, strings.Join(said, "; ")}
}

// down is what does not run, or is away, because an operation has stopped where it has, as far as its client knows.
func down(o *plan.Operation) (out []string) {
	ended := func(kind, object string) bool { // what gives it back
		id := kind
		if object != "" {
			id += "/" + object
		}
		s := o.Step(id)
		return s != nil && s.State == plan.Done
	}
	for _, s := range o.Steps {
		if s.State == plan.Pending || s.State == plan.Undone {
			continue
		}
		switch s.Kind {
		case kindEtcdDown:
			if !ended(kindEtcdUp, s.Object) {
				out = append(out, "etcd (StatefulSet "+s.Object+")")
			}
		case kindHotSwitch:
			if !ended(kindHotUp, "") {
				out = append(out, "etcd (frozen, or starting)")
			}
		case kindLeave:
			if !ended(kindSync, s.Object) {
				out = append(out, "member "+s.Object)
			}
		case kindWriterDown:
			var rec replicasRecord
			if known, err := s.Recall(&rec); err == nil && known && !ended(kindWriterUp, s.Object) {
				out = append(out, fmt.Sprintf("writer %s (had %d replicas)", s.Object, rec.Replicas))
			}
		case kindParallel, kindOrdered:
			if s.State != plan.Done { // half of it, or of its undo
				out = append(out, "StatefulSet "+s.Object+" (may be deleted, and not made again)")
			}
		case kindPause:
			if !ended(kindUnpause, s.Object) {
				out = append(out, "HyperShift for hosted cluster "+s.Object+" (paused)")
			}
		case kindBudgetAway:
			if len(s.Record) > 0 && !ended(kindBudgetBack, s.Object) {
				out = append(out, "disruption budget "+s.Object)
			}
		}
	}
	return out
}

// stopped tells of writers that are at 0 replicas already: whoever has stopped them, a restore leaves them so.
func (sc *scene) stopped() (notes []string) {
	for _, w := range sc.writers {
		if w.Replicas == 0 {
			notes = append(notes, atZero(workload{w.Kind, w.Namespace, w.Name})+"; the restore leaves it so")
		}
	}
	return notes
}

func atZero(w workload) string {
	return fmt.Sprintf("%s, which uses this etcd, is at 0 replicas; start it with: kubectl -n %s scale %s/%s --replicas=NUMBER", w, w.namespace, strings.ToLower(w.kind), w.name)
}

// tellStopped finds writers that nobody has started again; one that cannot be looked at is not told.
func (r *run) tellStopped(ctx context.Context) {
	r.sh.Stopped = nil
	for _, object := range r.sh.Writers {
		w, err := parseWorkload(object)
		if err != nil {
			continue
		}
		if n, err := r.c.Replicas(ctx, w); err == nil && n == 0 {
			r.sh.Stopped = append(r.sh.Stopped, object)
		}
	}
}

// StoppedWriters says of each writer that is still at 0 replicas how to start it.
func (s *Shared) StoppedWriters() (notes []string) {
	for _, object := range s.Stopped {
		if w, err := parseWorkload(object); err == nil {
			notes = append(notes, atZero(w))
		}
	}
	return notes
}
