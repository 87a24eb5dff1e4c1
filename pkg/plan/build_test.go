package plan

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestBuilder(t *testing.T) {
	b := NewBuilder(map[string]Action{"a": &world{}, "b": &world{}})
	b.Add("a", "", "do a")
	b.Add("b", "x", "do b to x", Back("undo it"), Outage)
	b.Add("b", "y", "do b to y", As("other"), Commit)
	steps, err := b.Steps()
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(steps)
	want := `[{"id":"a","kind":"a","what":"do a","state":"pending"},` +
		`{"id":"b/x","kind":"b","object":"x","what":"do b to x","back":"undo it","outage":true,"state":"pending"},` +
		`{"id":"other/y","kind":"b","object":"y","what":"do b to y","commit":true,"state":"pending"}]`
	if err != nil || string(got) != want {
		t.Errorf("%s, %v", got, err)
	}
	for says, add := range map[string]func(*Builder){
		"no action is known for its kind (c)":  func(b *Builder) { b.Add("c", "", "do c") },
		"plan step a: two steps are called so": func(b *Builder) { b.Add("a", "", "again"); b.Add("a", "", "and again") },
	} {
		b := NewBuilder(map[string]Action{"a": &world{}})
		add(b)
		if _, err := b.Steps(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
}

// late is an action that finds out while it runs that clients have seen what it does, and fails.
type late struct{ committed bool }

func (l *late) Do(ctx context.Context, t *Task) error {
	if l.committed {
		if err := t.Commit(ctx, "seen"); err != nil {
			return err
		}
	}
	return errBroken
}

func (l *late) Undo(context.Context, *Task) error { return nil }

// TestCommit: from where a step says so nothing is undone, and that is journalled with why.
func TestCommit(t *testing.T) {
	for _, committed := range []bool{false, true} {
		actions := map[string]Action{"late": &late{committed}}
		b := NewBuilder(actions)
		b.Add("late", "", "be late")
		steps, err := b.Steps()
		if err != nil {
			t.Fatal(err)
		}
		o := &Operation{ID: "x", Steps: steps}
		j := &saves{}
		err = (&Runner{Journal: j, Actions: actions, Report: quiet{}, Now: time.Now, UndoTimeout: time.Minute}).Run(t.Context(), o)
		if !errors.Is(err, errBroken) || errors.Is(err, ErrUndone) == committed || o.Committed() != committed {
			t.Errorf("committed %t: %v, %+v", committed, err, o)
		}
		var why string
		if known, err := o.Steps[0].Recall(&why); err != nil || known != committed || known && why != "seen" {
			t.Errorf("committed %t: recorded %q, %v", committed, why, err)
		}
		if saved := strings.Contains(j.all, `"commit":true`); saved != committed {
			t.Errorf("committed %t: journalled %t", committed, saved)
		}
	}
}

// saves keeps every save.
type saves struct{ all string }

func (s *saves) Save(_ context.Context, o *Operation) error {
	b, err := json.Marshal(o)
	s.all += string(b)
	return err
}

type quiet struct{}

func (quiet) Begin(Step, bool)      {}
func (quiet) End(Step, bool, error) {}
