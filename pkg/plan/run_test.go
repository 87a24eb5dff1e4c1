package plan

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// world is what the steps of these tests change: each adds its id, and takes it away again.
type world struct {
	has    []string
	broken string // "do ID" or "undo ID" fails after its change
	killed string // "do ID" or "undo ID" panics after its change
}

var errBroken = errors.New("broken on purpose")

type killed struct{}

func (w *world) Do(ctx context.Context, t *Task) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := t.Remember(ctx, slices.Clone(w.has)); err != nil {
		return err
	}
	if !slices.Contains(w.has, t.ID) {
		w.has = append(w.has, t.ID)
	}
	return w.fault("do " + t.ID)
}

func (w *world) Undo(_ context.Context, t *Task) error {
	w.has = slices.DeleteFunc(w.has, func(s string) bool { return s == t.ID })
	return w.fault("undo " + t.ID)
}

func (w *world) fault(at string) error {
	if w.killed == at {
		panic(killed{})
	}
	if w.broken == at {
		return errBroken
	}
	return nil
}

// ledger is a journal that knows what was last saved, and can be cut.
type ledger struct {
	saved []byte
	cut   int  // saves that still succeed; negative: all
	kills bool // the client with the next one
}

var errCut = errors.New("no API server")

func (l *ledger) Save(_ context.Context, o *Operation) error {
	if l.cut == 0 && l.kills {
		panic(killed{})
	}
	if l.cut == 0 {
		return errCut
	}
	l.cut--
	b, err := json.Marshal(o)
	l.saved = b
	return err
}

func (l *ledger) load(t *testing.T) *Operation {
	t.Helper()
	o := &Operation{}
	if err := json.Unmarshal(l.saved, o); err != nil {
		t.Fatal(err)
	}
	return o
}

type silent struct{}

func (silent) Begin(Step, bool)      {}
func (silent) End(Step, bool, error) {}

func runner(w *world, l *ledger) *Runner {
	return &Runner{Journal: l, Actions: map[string]Action{"add": w}, Report: silent{}, Now: time.Now, UndoTimeout: time.Minute}
}

func operation(steps int, commit int) *Operation {
	o := &Operation{ID: "x", Phase: Planned}
	for i := range steps {
		o.Steps = append(o.Steps, Step{ID: fmt.Sprint(i), Kind: "add", State: Pending, Commit: i == commit})
	}
	return o
}

func ids(n int) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprint(i))
	}
	return out
}

func TestRunDoesAllInOrder(t *testing.T) {
	w, l := &world{}, &ledger{cut: -1}
	if err := runner(w, l).Run(t.Context(), operation(4, -1)); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(w.has, ids(4)) || l.load(t).Phase != Succeeded {
		t.Fatalf("has %v, phase %s", w.has, l.load(t).Phase)
	}
}

func TestFailureUndoesAll(t *testing.T) {
	for i := range 4 {
		w, l := &world{broken: fmt.Sprintf("do %d", i)}, &ledger{cut: -1}
		err := runner(w, l).Run(t.Context(), operation(4, -1))
		if !errors.Is(err, errBroken) || !errors.Is(err, ErrUndone) {
			t.Fatalf("step %d: %v", i, err)
		}
		if o := l.load(t); len(w.has) != 0 || o.Phase != WentBack || !strings.Contains(o.Error, errBroken.Error()) {
			t.Fatalf("step %d: has %v, phase %s, error %q", i, w.has, o.Phase, o.Error)
		}
	}
}

func TestInterruptUndoesAll(t *testing.T) {
	w, l := &world{}, &ledger{cut: -1}
	ctx, cancel := context.WithCancel(t.Context())
	r := runner(w, l)
	r.Actions["add"] = interrupting{w, cancel}
	err := r.Run(ctx, operation(3, -1))
	if !errors.Is(err, context.Canceled) || !errors.Is(err, ErrUndone) || len(w.has) != 0 {
		t.Fatalf("%v; has %v", err, w.has)
	}
}

// interrupting ends the context in the middle of step 1.
type interrupting struct {
	*world
	cancel func()
}

func (i interrupting) Do(ctx context.Context, t *Task) error {
	err := i.world.Do(ctx, t)
	if t.ID == "1" && ctx.Err() == nil {
		i.cancel()
		return ctx.Err()
	}
	return err
}

// TestInterruptGivesBack: what was taken from others does not wait for somebody to go on, unless it is too early for it.
func TestInterruptGivesBack(t *testing.T) {
	for _, c := range []struct {
		name string
		// interrupted is always step 1; gives are those that give back.
		gives, want []string
		broken      string
		phases      []State
	}{
		{"those that are left", []string{"1", "3"}, []string{"0", "1", "3"}, "", []State{Done, Done, Pending, Done, Pending}},
		{"not before the first of them", []string{"2", "3"}, []string{"0", "1"}, "", []State{Done, Doing, Pending, Pending, Pending}},
		{"one that fails keeps no other", []string{"1", "2", "3"}, []string{"0", "1", "2", "3"}, "do 2", []State{Done, Done, Doing, Done, Pending}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, l := &world{broken: c.broken}, &ledger{cut: -1}
			ctx, cancel := context.WithCancel(t.Context())
			r := runner(w, l)
			r.Actions["add"] = interrupting{w, cancel}
			r.Gives = func(s Step) bool { return slices.Contains(c.gives, s.ID) }
			err := r.Run(ctx, operation(5, 0))
			o := l.load(t)
			if !errors.Is(err, context.Canceled) || errors.Is(err, ErrUndone) || errors.Is(err, errBroken) != (c.broken != "") || o.Phase != Failed {
				t.Fatalf("%v, phase %s", err, o.Phase)
			}
			var states []State
			for _, s := range o.Steps {
				states = append(states, s.State)
			}
			if !slices.Equal(w.has, c.want) || !slices.Equal(states, c.phases) {
				t.Errorf("has %v, steps %v", w.has, states)
			}
			w.broken, r.Actions["add"] = "", w
			if err := r.Run(t.Context(), o); err != nil || len(w.has) != 5 {
				t.Errorf("resumed: %v, has %v", err, w.has)
			}
		})
	}
}

func TestNothingGoesBackAfterCommit(t *testing.T) {
	w, l := &world{broken: "do 3"}, &ledger{cut: -1}
	r := runner(w, l)
	err := r.Run(t.Context(), operation(4, 2))
	if !errors.Is(err, errBroken) || errors.Is(err, ErrUndone) || l.load(t).Phase != Failed {
		t.Fatalf("%v, phase %s", err, l.load(t).Phase)
	}
	if err := r.Undo(t.Context(), l.load(t)); err == nil {
		t.Fatal("an operation that clients have seen was undone")
	}
	w.broken = ""
	if err := r.Run(t.Context(), l.load(t)); err != nil || !slices.Equal(w.has, ids(4)) {
		t.Fatalf("resume: %v, has %v", err, w.has)
	}
}

// tooLate cannot be undone since somebody has seen it.
type tooLate struct {
	*world
	seen string
}

func (a tooLate) Undo(ctx context.Context, t *Task) error {
	if t.ID == a.seen {
		return fmt.Errorf("step %s: %w", t.ID, ErrTooLate)
	}
	return a.world.Undo(ctx, t)
}

// TestUndoThatComesTooLate only goes on, though no step was planned to be a commit.
func TestUndoThatComesTooLate(t *testing.T) {
	w, l := &world{broken: "do 3"}, &ledger{cut: -1}
	r := runner(w, l)
	r.Actions["add"] = tooLate{w, "1"}
	err := r.Run(t.Context(), operation(4, -1))
	o := l.load(t)
	if !errors.Is(err, errBroken) || !errors.Is(err, ErrTooLate) || errors.Is(err, ErrUndone) || o.Phase != Failed || !o.Committed() {
		t.Fatalf("%v, phase %s", err, o.Phase)
	}
	if err := r.Undo(t.Context(), o); err == nil {
		t.Fatal("what was seen was undone")
	}
	w.broken = ""
	if err := r.Run(t.Context(), l.load(t)); err != nil || len(w.has) != 4 || l.load(t).Phase != Succeeded {
		t.Fatalf("resume: %v, has %v", err, w.has)
	}
}

// TestKilledAnywhere ends the client at every point in both directions, once
// after a change that was not recorded, and lets another go on both ways.
func TestKilledAnywhere(t *testing.T) {
	const steps = 4
	for saves := range 20 {
		for _, direction := range []string{"resume", "undo"} {
			w, l := &world{}, &ledger{cut: -1}
			if err := l.Save(t.Context(), operation(steps, -1)); err != nil {
				t.Fatal(err)
			}
			l.cut, l.kills = saves, true
			die(func() { _ = runner(w, l).Run(t.Context(), l.load(t)) })
			goOn(t, w, l, direction, fmt.Sprintf("cut after %d saves", saves))
		}
	}
	for i := range steps {
		for _, direction := range []string{"resume", "undo"} {
			w, l := &world{killed: fmt.Sprintf("do %d", i)}, &ledger{cut: -1}
			die(func() { _ = runner(w, l).Run(t.Context(), operation(steps, -1)) })
			goOn(t, w, l, direction, w.killed)
			w, l = &world{broken: "do 3", killed: fmt.Sprintf("undo %d", i)}, &ledger{cut: -1}
			die(func() { _ = runner(w, l).Run(t.Context(), operation(steps, -1)) })
			goOn(t, w, l, "undo", w.killed)
		}
	}
}

func die(f func()) {
	defer func() {
		if p := recover(); p != nil {
			if _, ok := p.(killed); !ok {
				panic(p)
			}
		}
	}()
	f()
}

func goOn(t *testing.T, w *world, l *ledger, direction, where string) {
	t.Helper()
	w.killed, w.broken, l.cut = "", "", -1
	o := l.load(t)
	r := runner(w, l)
	if direction == "resume" && o.Phase != GoingBack && o.Phase != WentBack {
		if err := r.Run(t.Context(), o); err != nil || !slices.Equal(w.has, ids(4)) {
			t.Fatalf("%s, resumed: %v, has %v", where, err, w.has)
		}
		return
	}
	if err := r.Undo(t.Context(), o); err != nil || len(w.has) != 0 {
		t.Fatalf("%s, undone: %v, has %v", where, err, w.has)
	}
}

func TestUndoStopsAtWhatCannotBeUndone(t *testing.T) {
	w, l := &world{}, &ledger{cut: -1}
	r := runner(w, l)
	if err := r.Run(t.Context(), operation(4, -1)); err != nil {
		t.Fatal(err)
	}
	w.broken = "undo 2"
	var failed *StepError
	if err := r.Undo(t.Context(), l.load(t)); !errors.As(err, &failed) || failed.Step.ID != "2" || !failed.Undo {
		t.Fatalf("got %v", err)
	}
	if !slices.Equal(w.has, []string{"0", "1"}) || l.load(t).Phase != GoingBack {
		t.Fatalf("has %v, phase %s", w.has, l.load(t).Phase)
	}
	w.broken = ""
	if err := r.Undo(t.Context(), l.load(t)); err != nil || len(w.has) != 0 {
		t.Fatalf("again: %v, has %v", err, w.has)
	}
}

func TestUnknownStepsAreRefused(t *testing.T) {
	o := operation(2, -1)
	o.Steps[1].Kind = "of a later version"
	w, l := &world{}, &ledger{cut: -1}
	if err := runner(w, l).Run(t.Context(), o); err == nil || len(w.has) != 0 {
		t.Fatalf("%v, has %v", err, w.has)
	}
}

// TestAbandoned: a client whose operation another one has taken up changes nothing any more, and undoes nothing.
func TestAbandoned(t *testing.T) {
	for name, lose := range map[string]func(w *world, l *ledger, cancel context.CancelCauseFunc) Action{
		"lock": func(w *world, _ *ledger, cancel context.CancelCauseFunc) Action {
			return losing{w, func() error { cancel(fmt.Errorf("%w: it has the lock", ErrAbandoned)); return context.Canceled }}
		},
		"journal": func(w *world, _ *ledger, _ context.CancelCauseFunc) Action {
			return losing{w, func() error { return fmt.Errorf("save: %w", ErrAbandoned) }}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, l := &world{}, &ledger{cut: -1}
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			r := runner(w, l)
			r.Actions["add"] = lose(w, l, cancel)
			err := r.Run(ctx, operation(4, -1))
			if !errors.Is(err, ErrAbandoned) || errors.Is(err, ErrUndone) {
				t.Fatalf("got %v", err)
			}
			if !slices.Equal(w.has, []string{"0", "1"}) || l.load(t).Phase != Running {
				t.Errorf("has %v, phase %s", w.has, l.load(t).Phase)
			}
		})
	}
}

// losing finds out in step 1 that it is not alone.
type losing struct {
	*world
	lose func() error
}

func (x losing) Do(ctx context.Context, t *Task) error {
	err := x.world.Do(ctx, t)
	if t.ID == "1" {
		return x.lose()
	}
	return err
}

// TestAbandonedWhileGoingBack: an undo outlives an interrupt, but not the loss of the operation.
func TestAbandonedWhileGoingBack(t *testing.T) {
	w, l := &world{broken: "do 3"}, &ledger{cut: -1}
	lost, lose := context.WithCancelCause(t.Context())
	r := runner(w, l)
	r.Lost = lost
	r.Actions["add"] = goingBack{w, func(ctx context.Context) error {
		lose(fmt.Errorf("%w: it has the lock", ErrAbandoned))
		<-ctx.Done()
		return ctx.Err()
	}}
	err := r.Run(t.Context(), operation(4, -1))
	if !errors.Is(err, errBroken) || errors.Is(err, ErrUndone) {
		t.Fatalf("got %v", err)
	}
	if !slices.Equal(w.has, ids(2)) || l.load(t).Phase != GoingBack {
		t.Errorf("has %v, phase %s", w.has, l.load(t).Phase)
	}
}

// goingBack finds out while step 2 is undone that it is not alone.
type goingBack struct {
	*world
	lose func(context.Context) error
}

func (x goingBack) Undo(ctx context.Context, t *Task) error {
	err := x.world.Undo(ctx, t)
	if t.ID == "2" {
		return x.lose(ctx)
	}
	return err
}

// TestJournalLost: the journal cannot be saved any more. The client that is at it knows everything: what nobody has seen goes
// back, what clients have seen goes on, and nothing gets past the point between the two unjournalled.
func TestJournalLost(t *testing.T) {
	const steps, commit = 4, 2
	all := &ledger{cut: 1 << 10}
	if err := runner(&world{}, all).Run(t.Context(), operation(steps, commit)); err != nil {
		t.Fatal(err)
	}
	past := false
	for saves := 1; saves < 1<<10-all.cut; saves++ {
		w, l := &world{}, &ledger{cut: saves}
		o := operation(steps, commit)
		err := runner(w, l).Run(t.Context(), o)
		switch {
		case l.load(t).Committed(): // the journal says so, whatever came then
			past = true
			if err != nil || !slices.Equal(w.has, ids(steps)) || o.Phase != Succeeded {
				t.Errorf("cut after %d saves: %v, has %v, phase %s", saves, err, w.has, o.Phase)
			}
		case past:
			t.Errorf("cut after %d saves: the journal forgot", saves)
		case !errors.Is(err, errCut) || !errors.Is(err, ErrUndone) || len(w.has) != 0 || o.Phase != WentBack || o.Committed():
			t.Errorf("cut after %d saves: %v, has %v, phase %s", saves, err, w.has, o.Phase)
		}
	}
	if !past {
		t.Error("no journal was cut after the commit")
	}
}

// TestUndoOfAnotherNeedsItsJournal: who takes back what another client began stops where it cannot say so.
func TestUndoOfAnotherNeedsItsJournal(t *testing.T) {
	w, l := &world{}, &ledger{cut: -1}
	if err := runner(w, l).Run(t.Context(), operation(3, -1)); err != nil {
		t.Fatal(err)
	}
	l.cut = 0
	if err := runner(w, l).Undo(t.Context(), l.load(t)); !errors.Is(err, errCut) || !slices.Equal(w.has, ids(3)) {
		t.Fatalf("%v, has %v", err, w.has)
	}
}
