package datadir

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// Note writes an operation's journal beside the data that it is of, and makes it durable: a journal that lives in the etcd which is exchanged is
// gone with it. The folder of the operation has to be there.
func Note(ctx context.Context, r NoteRequest) (*Noted, error) {
	if err := r.Place.check(); err != nil {
		return nil, err
	}
	if len(r.Journal) == 0 || len(r.Journal) > maxJournal {
		return nil, fmt.Errorf("%w: a journal of %d bytes", ErrInvalid, len(r.Journal))
	}
	return &Noted{}, noSpace(errors.Join(ctx.Err(), r.writeOurs(journalName, r.Journal)))
}

// decide makes a decision durable.
func (p Place) decide(f Fate) (*Fate, error) {
	return &f, p.writeOurs(fateName, f)
}

// writeOurs replaces a file of the operation at once.
func (p Place) writeOurs(name string, what any) error {
	b, err := json.Marshal(what)
	if err != nil {
		return fmt.Errorf("encode %s: %w", name, err)
	}
	part := p.op(name + uploadSuffix)
	f, err := os.OpenFile(part, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync())
	if info, serr := f.Stat(); err == nil && serr == nil {
		_, err = ownerOf(p.DataDir).give(part, info)
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(part, p.op(name))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", name, err), os.Remove(part))
	}
	return syncFolder(p.op())
}

// readOurs reads one; false where there is none.
func (p Place) readOurs(name string, into any) (bool, error) {
	b, err := os.ReadFile(p.op(name))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		err = json.Unmarshal(b, into)
	}
	if err != nil {
		return false, fmt.Errorf("read %s: %w", p.op(name), err)
	}
	return true, nil
}
