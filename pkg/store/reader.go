package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"time"
)

// Timing is how a read goes on after a cut.
type Timing struct {
	First, Most time.Duration // the pause after the first failure, doubled each time, and the longest
	Attempts    int           // failures in a row that bring nothing
}

// Patience outlasts a store that refuses everybody for a minute.
var Patience = Timing{First: 500 * time.Millisecond, Most: 15 * time.Second, Attempts: 12}

// Read reads an object whole and in order. After a cut it goes on where that was, and only with the very object that
// was begun. told, which may be nil, is told of each cut. A stream that is shorter or longer than the object is an error.
func (t Timing) Read(ctx context.Context, s Store, info Info, told func(error)) io.ReadCloser {
	return &reader{ctx: ctx, t: t, s: s, info: info, told: told}
}

type reader struct {
	ctx    context.Context
	t      Timing
	s      Store
	info   Info
	told   func(error)
	open   io.ReadCloser
	at     int64
	barren int
}

func (r *reader) Read(p []byte) (int, error) {
	for {
		if r.at == r.info.Size {
			return 0, io.EOF
		}
		n, err := r.once(p)
		if n > 0 {
			r.barren = 0
			return n, nil // an error comes again
		}
		if err == nil {
			continue
		}
		r.drop()
		if r.ctx.Err() != nil {
			return 0, context.Cause(r.ctx)
		}
		if r.barren++; final(err) || r.barren >= r.t.Attempts {
			return 0, err
		}
		if r.told != nil {
			r.told(err)
		}
		if err := r.pause(); err != nil {
			return 0, err
		}
	}
}

// final errors are not mended by waiting.
func final(err error) bool {
	return errors.Is(err, ErrChanged) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission)
}

func (r *reader) once(p []byte) (n int, err error) {
	if r.open == nil {
		if r.open, err = r.s.Open(r.ctx, r.info.Name, r.at, r.info.Version); err != nil {
			return 0, err
		}
	}
	if left := r.info.Size - r.at; int64(len(p)) > left {
		p = p[:left]
	}
	n, err = r.open.Read(p)
	r.at += int64(n)
	if err != nil && n == 0 {
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("it ended after %d bytes of %d", r.at, r.info.Size)
		}
		return 0, &Error{What: "read " + r.s.URL(r.info.Name), Err: err}
	}
	return n, nil
}

// pause waits longer each time, by chance a little less than that: many clients come back to a store that was down.
func (r *reader) pause() error {
	d := min(r.t.First<<min(r.barren-1, 16), r.t.Most)
	d -= time.Duration(rand.Int64N(int64(d)/2 + 1)) //nolint:gosec // chance is enough
	select {
	case <-time.After(d):
		return nil
	case <-r.ctx.Done():
		return context.Cause(r.ctx)
	}
}

func (r *reader) drop() {
	if r.open != nil {
		_ = r.open.Close()
		r.open = nil
	}
}

func (r *reader) Close() error {
	r.drop()
	return nil
}
