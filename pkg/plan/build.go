package plan

import "fmt"

// Builder writes a plan, step by step, in the order in which they are done. It knows the actions: a step of a kind that has none
// cannot be written.
type Builder struct {
	actions map[string]Action
	steps   []Step
	err     error
}

// NewBuilder begins a plan; actions are by kind, as the Runner has them.
func NewBuilder(actions map[string]Action) *Builder { return &Builder{actions: actions} }

// Option says more of a step.
type Option func(*Step)

// Back says in a sentence how the step is undone.
func Back(how string) Option { return func(s *Step) { s.Back = how } }

// Outage says that the control plane does not serve while the step runs.
func Outage(s *Step) { s.Outage = true }

// Commit says that from this step on nothing goes back by itself.
func Commit(s *Step) { s.Commit = true }

// As is what the step's id begins with, where its kind is not what a user reads.
func As(name string) Option { return func(s *Step) { s.ID = name } }

// Add adds a step that does what its kind's action does, to an object, or to none (""). Its id is KIND, or KIND/OBJECT.
func (b *Builder) Add(kind, object, what string, options ...Option) {
	s := Step{ID: kind, Kind: kind, Object: object, What: what, State: Pending}
	for _, o := range options {
		o(&s)
	}
	if object != "" {
		s.ID += "/" + object
	}
	if b.actions[kind] == nil && b.err == nil {
		b.err = fmt.Errorf("plan step %s: no action is known for its kind (%s)", s.ID, kind)
	}
	b.steps = append(b.steps, s)
}

// Steps are the plan, or why it cannot be one.
func (b *Builder) Steps() ([]Step, error) {
	seen := map[string]bool{}
	for _, s := range b.steps {
		if seen[s.ID] && b.err == nil {
			b.err = fmt.Errorf("plan step %s: two steps are called so", s.ID)
		}
		seen[s.ID] = true
	}
	return b.steps, b.err
}
