package plan

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Journal keeps an operation where another client, on another machine, finds it.
type Journal interface {
	Save(ctx context.Context, o *Operation) error
}

// Reporter is told how an operation goes.
type Reporter interface {
	// Begin and End frame a step; undo says in which direction. The step of Begin has the state that it had before: Doing is one
	// that was begun already, by a client that ended, and may have been done.
	Begin(s Step, undo bool)
	End(s Step, undo bool, err error)
}

// Runner runs operations.
type Runner struct {
	Journal Journal
	Actions map[string]Action
	Report  Reporter
	Now     func() time.Time
	// Gives, if set, tells the steps that only give back what others need, as in Abandon: after an interrupt that comes too
	// late for an undo they are done all the same, unless the interrupt came before the first of them.
	Gives func(Step) bool
	// UndoTimeout bounds what is undone after a failure or an interrupt.
	UndoTimeout time.Duration
	// Lost, if set, ends with ErrAbandoned as its cause when the operation becomes another client's. It ends an undo,
	// too, which outlives everything else.
	Lost context.Context

	// memory says that what goes back needs no journal: it is not for another client to go on with.
	memory bool
}

// save journals. The client that is at it has everything in memory: where the journal cannot be saved any more, what clients
// have seen still goes on, and what failed still goes back.
func (r *Runner) save(ctx context.Context, o *Operation) error {
	err := r.Journal.Save(ctx, o)
	if errors.Is(err, ErrAbandoned) || ctx.Err() != nil || !r.memory && !o.Committed() {
		return err
	}
	return nil
}

// Check refuses an operation with steps that no action is known for: one that a newer version wrote.
func (r *Runner) Check(o *Operation) error {
	seen := map[string]bool{}
	for _, s := range o.Steps {
		if r.Actions[s.Kind] == nil {
			return fmt.Errorf("read operation %s: no action is known for its step %s (%s); it was made by another version", o.ID, s.ID, s.Kind)
		}
		if seen[s.ID] {
			return fmt.Errorf("read operation %s: two steps are called %s", o.ID, s.ID)
		}
		seen[s.ID] = true
	}
	return nil
}

// Run does what is not done yet, in order. When a step fails, or ctx ends, it
// undoes everything in reverse, unless a step with Commit has begun: then the
// operation is Failed, and only going on repairs it.
func (r *Runner) Run(ctx context.Context, o *Operation) error {
	if err := r.Check(o); err != nil {
		return err
	}
	if o.Phase == GoingBack || o.Phase == WentBack {
		return fmt.Errorf("run operation %s: it was being undone; only its undo can go on", o.ID)
	}
	o.Phase, o.Error = Running, ""
	if err := r.Journal.Save(ctx, o); err != nil {
		return err
	}
	for i := range o.Steps {
		s := &o.Steps[i]
		if s.State == Done {
			continue
		}
		if err := r.do(ctx, o, s); err != nil {
			return r.fail(ctx, o, &StepError{Step: *s, Err: err})
		}
	}
	o.Phase = Succeeded
	return r.save(ctx, o)
}

func (r *Runner) do(ctx context.Context, o *Operation, s *Step) error {
	now := r.Now().UTC()
	first, before := s.Commit && !o.Committed(), *s
	s.State, s.Error, s.Started, s.Ended = Doing, "", &now, nil
	save := r.save
	if first { // whoever goes on has to know that nothing goes back any more
		save = r.Journal.Save
	}
	if err := save(ctx, o); err != nil {
		if first && !errors.Is(err, ErrAbandoned) { // it has not begun, and everything can still go back
			*s = before
		}
		return err
	}
	shown := *s
	shown.State = before.State
	r.Report.Begin(shown, false)
	err := r.Actions[s.Kind].Do(ctx, r.task(o, s))
	if err == nil {
		end := r.Now().UTC()
		s.State, s.Ended = Done, &end
		err = r.save(ctx, o)
	}
	r.Report.End(*s, false, err)
	return err
}

func (r *Runner) task(o *Operation, s *Step) *Task {
	return &Task{Step: s, save: func(ctx context.Context) error { return r.save(ctx, o) }}
}

// fail goes back where that is allowed. Going back outlives an interrupt.
func (r *Runner) fail(ctx context.Context, o *Operation, failed *StepError) error {
	if cause := context.Cause(ctx); errors.Is(cause, ErrAbandoned) {
		return errors.Join(failed, cause)
	}
	if errors.Is(failed, ErrAbandoned) {
		return failed
	}
	dctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.UndoTimeout)
	defer cancel()
	if r.Lost != nil {
		var lose context.CancelCauseFunc
		dctx, lose = context.WithCancelCause(dctx)
		defer context.AfterFunc(r.Lost, func() { lose(context.Cause(r.Lost)) })()
		defer lose(nil)
	}
	if s := o.Step(failed.Step.ID); s != nil {
		s.Error = failed.Err.Error()
	}
	o.Error = failed.Error()
	if o.Committed() {
		o.Phase = Failed
		return errors.Join(failed, r.giveBack(ctx, dctx, o), r.Journal.Save(dctx, o))
	}
	back := *r
	back.memory = true
	if err := back.Undo(dctx, o); err != nil {
		return errors.Join(failed, err)
	}
	return errors.Join(failed, ErrUndone)
}

// giveBack does, within dctx, the steps that give back what others need when ctx was interrupted among them or after them.
// One that fails keeps none of the others from it.
func (r *Runner) giveBack(ctx, dctx context.Context, o *Operation) error {
	if ctx.Err() == nil || r.Gives == nil {
		return nil
	}
	var errs []error
	begun := false
	for i := range o.Steps {
		s := &o.Steps[i]
		begun = begun || r.Gives(*s) && s.State != Pending
		if !begun || s.State == Done || !r.Gives(*s) {
			continue
		}
		if err := r.do(dctx, o, s); err != nil {
			s.Error = err.Error()
			errs = append(errs, &StepError{Step: *s, Err: err})
		}
		if errors.Is(errors.Join(errs...), ErrAbandoned) || dctx.Err() != nil {
			break
		}
	}
	return errors.Join(errs...)
}

// Undo takes back what was done or begun, in reverse. It stops at the first
// step that cannot be undone, so that what was done before it is not pulled from
// under it; call it again to go on.
func (r *Runner) Undo(ctx context.Context, o *Operation) error {
	if err := r.Check(o); err != nil {
		return err
	}
	if o.Committed() {
		return fmt.Errorf("undo operation %s: it is past its point of no return", o.ID)
	}
	o.Phase = GoingBack
	if err := r.save(ctx, o); err != nil {
		return err
	}
	for i := range slices.Backward(o.Steps) {
		s := &o.Steps[i]
		if s.State == Pending || s.State == Undone {
			continue
		}
		if err := r.undo(ctx, o, s); err != nil {
			if errors.Is(err, ErrTooLate) {
				s.State, s.Commit, o.Phase = Doing, true, Failed
			}
			return r.stopped(ctx, o, &StepError{Step: *s, Err: err, Undo: true})
		}
	}
	o.Phase = WentBack
	return r.save(ctx, o)
}

// Abandon ends an operation that can no longer go back, where its user does not want it to go on. Of the steps that are
// not done, those that only give back what others need are still done.
func (r *Runner) Abandon(ctx context.Context, o *Operation, gives func(Step) bool) error {
	if err := r.Check(o); err != nil {
		return err
	}
	if !o.Committed() {
		return fmt.Errorf("abandon operation %s: it can still be undone", o.ID)
	}
	for i := range o.Steps {
		s := &o.Steps[i]
		if s.State == Done || !gives(*s) {
			continue
		}
		if err := r.do(ctx, o, s); err != nil {
			return r.stopped(ctx, o, &StepError{Step: *s, Err: err})
		}
	}
	o.Phase = Abandoned
	return r.Journal.Save(ctx, o)
}

// stopped is the last word of what could not go on.
func (r *Runner) stopped(ctx context.Context, o *Operation, failed *StepError) error {
	if errors.Is(failed, ErrAbandoned) || errors.Is(context.Cause(ctx), ErrAbandoned) {
		return failed
	}
	if s := o.Step(failed.Step.ID); s != nil {
		s.Error = failed.Err.Error()
	}
	o.Error = failed.Error()
	sctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
	defer cancel()
	return errors.Join(failed, r.Journal.Save(sctx, o))
}

// saveTimeout bounds the last word of an operation that has run out of time.
const saveTimeout = 15 * time.Second

func (r *Runner) undo(ctx context.Context, o *Operation, s *Step) error {
	s.State = Undoing
	if err := r.save(ctx, o); err != nil {
		return err
	}
	r.Report.Begin(*s, true)
	err := r.Actions[s.Kind].Undo(ctx, r.task(o, s))
	if err == nil {
		end := r.Now().UTC()
		s.State, s.Ended = Undone, &end
		err = r.save(ctx, o)
	}
	r.Report.End(*s, true, err)
	return err
}
