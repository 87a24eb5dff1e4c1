package site

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/operation"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
)

// Kind is what an operation does. Its steps are data in a journal; it has the actions by which they are done and undone.
type Kind interface {
	// Actions are by kind of step.
	Actions() map[string]plan.Action
	// Gives tells the steps that only return what others need: they are done also when an operation is given up.
	Gives(s plan.Step) bool
	// Down says what does not run, or is away, because a step has begun; "" is nothing. ended tells whether another step is done.
	Down(s plan.Step, ended func(kind, object string) bool) string
	// Resumable refuses to go on forward where something is missing for it.
	Resumable() error
	// Abandonable refuses to give an operation up while etcd could not serve.
	Abandonable(ctx context.Context) error
	// Undone waits, after an undo, until what was stopped is there again: only then all is as it was.
	Undone(ctx context.Context)
	// Close gives back what this client holds for it.
	Close()
}

// Prepared is an operation that has not begun, or that another client began.
type Prepared struct {
	site *Site
	kind Kind
	// Operation is the plan.
	Operation *plan.Operation
	// Shared is what its steps share.
	Shared *Shared
	// Notes are what the user should know before saying yes.
	Notes []string
	// Kept is what the volumes still hold of an operation that was given up; KeptUnknown says why that could not be seen.
	Kept        []Kept
	KeptUnknown error

	Begin      func(context.Context) error // what is looked at first, with the lock held
	Unanswered func() error
}

// NewPrepared is an operation of a kind at its site, which has a plan.
func NewPrepared(s *Site, k Kind) *Prepared {
	return &Prepared{site: s, kind: k, Operation: s.Operation, Shared: s.Shared, Begin: s.alone, Unanswered: func() error { return nil }}
}

// Close removes what was unpacked.
func (p *Prepared) Close() { p.kind.Close() }

// Answered refuses an operation of which it is not known what it has to stop; its plan can be looked at.
func (p *Prepared) Answered() error { return p.Unanswered() }

// Run carries the plan out. After a failure everything has been undone, unless
// the error says otherwise.
func (p *Prepared) Run(ctx context.Context) error {
	if err := p.Answered(); err != nil {
		return err
	}
	return p.locked(ctx, func(ctx context.Context, runner *plan.Runner) error {
		if err := p.Begin(ctx); err != nil {
			return err
		}
		return runner.Run(ctx, p.Operation)
	})
}

// Resume goes on in the direction in which the operation was going.
func (p *Prepared) Resume(ctx context.Context) error {
	if p.Operation.Phase == plan.GoingBack {
		return p.Undo(ctx)
	}
	if err := p.kind.Resumable(); err != nil { // to find out on the way would undo everything
		return err
	}
	return p.locked(ctx, func(ctx context.Context, runner *plan.Runner) error {
		if p.Operation.Phase == plan.GoingBack {
			return runner.Undo(ctx, p.Operation)
		}
		return runner.Run(ctx, p.Operation)
	})
}

// Undo takes back what was done.
func (p *Prepared) Undo(ctx context.Context) error {
	return p.locked(ctx, func(ctx context.Context, runner *plan.Runner) error { return runner.Undo(ctx, p.Operation) })
}

// Afterwards tells, once the operation has ended well, what is not right yet. It may take minutes; whoever ends it has lost nothing.
func (p *Prepared) Afterwards(ctx context.Context) []string {
	if p.site.Afterwards == nil {
		return nil
	}
	return p.site.Afterwards(ctx)
}

// Abandon ends an operation that can only go on, without going on: its data stays as it is, and writers, retention
// policy and budgets get back what it took from them.
func (p *Prepared) Abandon(ctx context.Context) error {
	if !p.Operation.Committed() {
		return Refuse(fmt.Sprintf("undo it with: kubectl etcd restore undo -n %s %s", p.Shared.Namespace, p.Operation.ID), "abandon operation %s: it can still be undone", p.Operation.ID)
	}
	return p.locked(ctx, func(ctx context.Context, runner *plan.Runner) error {
		if err := p.kind.Abandonable(ctx); err != nil {
			return err
		}
		if err := runner.Abandon(ctx, p.Operation, p.kind.Gives); err != nil {
			return err
		}
		p.Kept, p.KeptUnknown = p.site.Kept(ctx)
		return nil
	})
}

// undoTimeout bounds what is taken back after a failure: waiting for pods, mostly.
const undoTimeout = 15 * time.Minute

// locked holds the lock while f runs, and leaves no utility pod behind.
func (p *Prepared) locked(ctx context.Context, f func(context.Context, *plan.Runner) error) (err error) {
	j := &KeptJournal{Journal: p.site.Cluster.Journal(p.site.Shared.Namespace, p.site.Shared), Warn: p.site.Deps.Report.Warn}
	defer func() { err = p.Stopped(err, j.Unsaved) }()
	ctx, l, err := p.site.Deps.Locker().Acquire(ctx, p.site.Shared.Namespace, p.site.Shared.Name, p.site.Operation.ID, p.site.Operation.Phase != plan.Planned)
	if err != nil {
		return err
	}
	defer func() {
		if errors.Is(err, plan.ErrUndone) || err == nil && p.site.Operation.Phase == plan.WentBack {
			p.kind.Undone(context.WithoutCancel(ctx))
		}
		dctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		if held := l.Held(dctx); held == nil && !errors.Is(err, plan.ErrAbandoned) {
			err = errors.Join(err, p.site.CloseStages(dctx))
		} else {
			err = errors.Join(err, p.site.CloseOwn(operation.Unfenced(dctx))) // the other pods are the other client's
		}
		err = errors.Join(err, l.Release(operation.Unfenced(dctx)))
	}()
	if p.site.Operation.Phase != plan.Planned {
		// What was read before the lock was taken may be another client's past.
		if err := p.site.again(ctx); err != nil {
			return err
		}
	}
	l.Watches(j)
	return f(ctx, p.Runner(j, l.Lost()))
}

// Runner carries the plan out, with that journal, until lost is done; nil never is.
func (p *Prepared) Runner(j plan.Journal, lost context.Context) *plan.Runner {
	return &plan.Runner{Journal: j, Actions: p.kind.Actions(), Report: p.site.Deps.Report, Now: p.site.Deps.Now, UndoTimeout: undoTimeout, Lost: lost, Gives: p.kind.Gives}
}

// again reads the journal anew, in place, and refuses an operation that has ended meanwhile.
func (r *Site) again(ctx context.Context) error {
	o, err := operation.Find(ctx, r.Deps.Place, r.Shared.Namespace, r.Operation.ID, readable)
	switch {
	case errors.Is(err, operation.ErrUnknown) && r.Shared.Static != nil: // the etcd that had it may be exchanged: then it is beside the data
		beside, berr := r.Deps.Beside(ctx, r.Shared.Namespace, nil)
		i := slices.IndexFunc(beside, func(b plan.Operation) bool { return b.ID == r.Operation.ID })
		if berr != nil || i < 0 {
			return errors.Join(NoJournal(r.Operation.ID), berr)
		}
		o = &beside[i]
	case errors.Is(err, operation.ErrUnknown):
		return NoJournal(r.Operation.ID)
	case err != nil:
		return err
	}
	sh, err := ReadShared(o)
	if err != nil {
		return err
	}
	*r.Operation, *r.Shared = *o, *sh
	if o.Ended() {
		return HasEnded(o)
	}
	return nil
}
