package site

import (
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

// Stopped adds to the error of an operation what it leaves down. What was refused before it went on knows its own way out.
func (p *Prepared) Stopped(err error, unsaved error) error {
	switch err.(type) { //nolint:errorlint // a step's refusal is wrapped: these came before any step
	case *Refusal, *operation.Unreadable, *operation.BusyError:
		return err
	}
	begun := slices.ContainsFunc(p.site.Operation.Steps, func(s plan.Step) bool { return s.State != plan.Pending })
	if err == nil || p.site.Operation.Ended() || !begun || errors.Is(err, plan.ErrUndone) {
		if err == nil && unsaved != nil || errors.Is(err, plan.ErrUndone) && unsaved != nil {
			_, _, remove := p.site.Deps.Place.Where(p.site.Shared.Namespace, p.site.Operation.ID)
			p.site.Deps.Report.Warn("the journal does not say that the operation has ended; if it is there still, delete it: %s", remove)
		}
		return err
	}
	var said []string
	var refusal *Refusal
	abandoned := errors.Is(err, plan.ErrAbandoned) // what another client has done is no way out for this one
	if !abandoned && errors.As(err, &refusal) && refusal.Hint() != "" {
		said = append(said, refusal.Hint())
	}
	down := p.Down()
	if len(down) == 0 {
		down = []string{"nothing"}
	}
	if abandoned {
		said = append(said, fmt.Sprintf("when this client stopped, this was down or missing: %s; who is at operation %s says: kubectl etcd restore status -n %s %[2]s; if nobody is: kubectl etcd restore resume -n %[3]s %[2]s",
			strings.Join(down, ", "), p.site.Operation.ID, p.site.Shared.Namespace))
	} else {
		said = append(said, fmt.Sprintf("operation %s is unfinished, and this is down or missing: %s; %s", p.site.Operation.ID, strings.Join(down, ", "), GoOn(p.site.Operation, p.site.Shared.Namespace)))
	}
	if unsaved != nil {
		said = append(said, "the journal could not be saved: if it is gone, scale back yourself what is down, etcd first")
	}
	return &Stopped{err, strings.Join(said, "; ")}
}

// Down is what does not run, or is away, because an operation has stopped where it has, as far as its client knows.
func (p *Prepared) Down() (out []string) {
	ended := func(kind, object string) bool { // what gives it back
		id := kind
		if object != "" {
			id += "/" + object
		}
		s := p.site.Operation.Step(id)
		return s != nil && s.State == plan.Done
	}
	for _, s := range p.site.Operation.Steps {
		if s.State == plan.Pending || s.State == plan.Undone {
			continue
		}
		if what := p.kind.Down(s, ended); what != "" {
			out = append(out, what)
		}
	}
	return out
}
