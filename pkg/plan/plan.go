// Package plan runs operations whose steps are data before they are action:
// printed by a dry run, journalled before and after each step, resumed or undone
// by whoever reads the journal. It knows nothing of what the steps do.
package plan

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// State is how far a step is.
type State string

// The states. Doing and Undoing mean: it may have happened, or half of it.
const (
	Pending State = "pending"
	Doing   State = "doing"
	Done    State = "done"
	Undoing State = "undoing"
	Undone  State = "undone"
)

// Phase is how far an operation is.
type Phase string

// The phases. An operation that ended in Failed could neither go on nor go back by itself; Abandoned means that its
// user gave that up.
const (
	Planned   Phase = "planned"
	Running   Phase = "running"
	Succeeded Phase = "succeeded"
	GoingBack Phase = "undoing"
	WentBack  Phase = "undone"
	Failed    Phase = "failed"
	Abandoned Phase = "abandoned"
)

// Step is one change that can be undone.
type Step struct {
	// ID is unique in its operation: "stage/kube-etcd-0".
	ID string `json:"id"`
	// Kind names the action that does and undoes it.
	Kind string `json:"kind"`
	// Object is what is changed: a member, or KIND/NAME.
	Object string `json:"object,omitempty"`
	// What and Back say in a sentence what is changed, and how that is undone; Back is empty where nothing is to undo.
	What string `json:"what"`
	Back string `json:"back,omitempty"`
	// Outage says that the control plane does not serve while this runs.
	Outage bool `json:"outage,omitempty"`
	// Commit says that once this has begun, going back would take back what clients have seen: from here a failure is
	// repaired by going on.
	Commit bool `json:"commit,omitempty"`

	State State `json:"state"`
	// Record is what the action needs to undo the step; it is journalled before the change.
	Record  json.RawMessage `json:"record,omitempty"`
	Error   string          `json:"error,omitempty"`
	Started *time.Time      `json:"started,omitempty"`
	Ended   *time.Time      `json:"ended,omitempty"`
}

// Operation is a plan and how far it is: the whole content of a journal.
type Operation struct {
	ID      string    `json:"id"`
	Target  string    `json:"target"`
	Created time.Time `json:"created"`
	Phase   Phase     `json:"phase"`
	Error   string    `json:"error,omitempty"`
	Steps   []Step    `json:"steps"`
	// Data is the caller's own: what all steps share.
	Data json.RawMessage `json:"data,omitempty"`
}

// Step returns the step of that id, or nil.
func (o *Operation) Step(id string) *Step {
	for i := range o.Steps {
		if o.Steps[i].ID == id {
			return &o.Steps[i]
		}
	}
	return nil
}

// Committed says that a step from which nothing goes back has begun, and has not been undone.
func (o *Operation) Committed() bool {
	for _, s := range o.Steps {
		if s.Commit && s.State != Pending && s.State != Undone {
			return true
		}
	}
	return false
}

// Ended says that nothing is left to do or to undo.
func (o *Operation) Ended() bool {
	return o.Phase == Succeeded || o.Phase == WentBack || o.Phase == Abandoned
}

// Action does and undoes the steps of one kind. Both must be idempotent: a step
// may have happened when its record had not, and each may be called again after
// any interruption.
type Action interface {
	Do(ctx context.Context, s *Task) error
	Undo(ctx context.Context, s *Task) error
}

// Task is a step as its action sees it.
type Task struct {
	*Step
	save func(context.Context) error
}

// Remember journals what the undo needs. Call it before the change: what was
// there before is known only then.
func (t *Task) Remember(ctx context.Context, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode record of step %s: %w", t.ID, err)
	}
	t.Record = b
	return t.save(ctx)
}

// Commit makes the step that runs a point of no return, and journals why: clients may have seen now what it has done.
func (t *Task) Commit(ctx context.Context, why any) error {
	t.Step.Commit = true
	return t.Remember(ctx, why)
}

// Recall reads what Remember wrote; false means that nothing was, so nothing was changed.
func (s *Step) Recall(v any) (bool, error) {
	if len(s.Record) == 0 {
		return false, nil
	}
	if err := json.Unmarshal(s.Record, v); err != nil {
		return false, fmt.Errorf("decode record of step %s: %w", s.ID, err)
	}
	return true, nil
}

// ErrUndone is joined to the error of a Run that failed and took everything back.
var ErrUndone = errors.New("everything was undone")

// ErrAbandoned, as a cause of a context or an error of the journal, says that the
// operation is, or may be, another client's now: whoever meets it changes nothing
// any more, and undoes nothing either.
var ErrAbandoned = errors.New("the operation is not this client's any more")

// ErrTooLate is returned by an undo that finds that clients have seen what the
// step did, though nobody had time to say so: from here it only goes on.
var ErrTooLate = errors.New("clients have seen it")

// StepError says which step failed.
type StepError struct {
	Step Step
	Err  error
	Undo bool // it was the undo that failed
}

func (e *StepError) Error() string {
	verb := "do"
	if e.Undo {
		verb = "undo"
	}
	return fmt.Sprintf("%s step %s: %v", verb, e.Step.ID, e.Err)
}

func (e *StepError) Unwrap() error { return e.Err }
