package operation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
)

// Journal keeps an operation in its place. There is nothing secret in it; of a StatefulSet that is recreated it has what that
// says, which whoever may read ConfigMaps may mostly read, too.
type Journal struct {
	Place     Place
	Namespace string
	// Data is what all steps share; it is encoded at each save.
	Data any
	// Warn is told what the user should know.
	Warn func(format string, args ...any)

	saving  sync.Mutex // one save at a time; it guards version, too
	mu      sync.Mutex // never held while the place is asked: a save's own request may have to ask for ours, see Fence
	id      string     // of the operation, once it has been saved
	version string     // of the entry, as this client has last seen it; empty before its first save
	last    string     // what this client has saved last
	unsure  []string   // what it has tried to save since then: an answer can get lost
	failed  bool       // the last try
}

// saveFor is how long a save is tried: an API server that is away for less does
// not end an operation.
const saveFor = 90 * time.Second

// tryFor is how long one try may take: an API server that answers nothing is one of several.
const tryFor = 10 * time.Second

// saveAgainFor is how long it is tried when the last one has failed: what goes on from memory must not wait that long at each step.
const saveAgainFor = 10 * time.Second

// patience is for a save, and for an answer that it is not allowed.
func (j *Journal) patience() (whole, refused time.Duration) {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case j.failed:
		return saveAgainFor, 0
	case j.version == "":
		return saveFor, 0
	}
	return saveFor, refusedFor
}

// Save implements plan.Journal.
func (j *Journal) Save(ctx context.Context, o *plan.Operation) error {
	text, err := Encode(o, j.Data)
	if err != nil {
		return err
	}
	whole, refused := j.patience()
	ctx, cancel := context.WithTimeout(ctx, whole)
	defer cancel()
	began := time.Now()
	for wait := 250 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		try, over := context.WithTimeout(ctx, tryFor)
		err = j.write(try, o, string(text))
		over()
		if err == nil || final(err, time.Since(began) >= refused) {
			break
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("save journal %s: %w; last seen: %w", j.name(o.ID), context.Cause(ctx), err)
		case <-time.After(wait):
		}
	}
	if err != nil {
		return fmt.Errorf("save journal %s: %w", j.name(o.ID), err)
	}
	return nil
}

func (j *Journal) write(ctx context.Context, o *plan.Operation, text string) error {
	j.saving.Lock()
	defer j.saving.Unlock()
	j.try(text)
	e := Entry{Namespace: j.Namespace, ID: o.ID, Version: j.version, Text: text, Target: o.Target, Phase: o.Phase, Created: o.Created}
	saved, err := j.Place.UpdateJournal(ctx, e)
	if errors.Is(err, ErrNotThere) {
		if j.version != "" {
			j.Warn("the journal %s was deleted; it is written again", j.name(o.ID))
		}
		saved, err = j.Place.CreateJournal(ctx, e)
	}
	if errors.Is(err, ErrConflict) {
		// An answer that got lost looks the same as another client's save.
		saved, err = j.Place.Journal(ctx, j.Namespace, o.ID)
		if errors.Is(err, ErrNotThere) { // one API server has it and another has not: their etcd is being exchanged
			return errors.New("the journal was there for a moment, and was not in the next")
		}
		if err != nil {
			return err
		}
		switch {
		case saved.Text == text:
		case j.wrote(saved.Text): // an earlier save, or only labels or annotations were changed
			e.Version = saved.Version
			saved, err = j.Place.UpdateJournal(ctx, e)
		default:
			return fmt.Errorf("%w: another one has written the journal", plan.ErrAbandoned)
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.failed = err != nil; j.failed {
		return err
	}
	j.id, j.version, j.last, j.unsure = o.ID, saved.Version, text, nil
	return nil
}

// try notes what is about to be saved: it can be there before its answer is.
func (j *Journal) try(text string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if text != j.last && !slices.Contains(j.unsure, text) {
		j.unsure = append(j.unsure, text)
	}
}

// wrote tells whether that is what this client has written.
func (j *Journal) wrote(text string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return text == j.last || slices.Contains(j.unsure, text)
}

// final tells what no other try mends. Who has saved before may: an API server that has just started does not know yet what is allowed.
func final(err error, refused bool) bool {
	return errors.Is(err, plan.ErrAbandoned) || errors.Is(err, ErrNotThere) || errors.Is(err, ErrRefused) && refused
}

// Ours tells whether the journal is as this client has written it, so that no other client can have done anything since;
// there is one only where that client has saved it.
func (j *Journal) Ours(ctx context.Context) (same, exists bool, err error) {
	j.mu.Lock()
	id, before := j.id, append(slices.Clone(j.unsure), j.last) // a save can end meanwhile
	j.mu.Unlock()
	if id == "" {
		return false, false, nil
	}
	e, err := j.Place.Journal(ctx, j.Namespace, id)
	switch {
	case errors.Is(err, ErrNotThere):
		return false, false, nil
	case err != nil:
		return false, false, fmt.Errorf("read journal %s: %w", j.name(id), err)
	}
	return slices.Contains(before, e.Text) || j.wrote(e.Text), true, nil
}

func (j *Journal) name(id string) string {
	name, _, _ := j.Place.Where(j.Namespace, id)
	return name
}
