// Package await waits for what is asked again and again. Each wait has a limit, and its error says what was waited for and what
// was seen last.
package await

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Poll is how often a wait looks.
const Poll = 300 * time.Millisecond

// stopped is an error that no waiting mends.
type stopped struct{ err error }

func (e *stopped) Error() string { return e.err.Error() }

// Stop marks an error that no waiting mends: Until returns err at once.
func Stop(err error) error { return &stopped{err} }

// Until asks until done says so, within the limit; its error says what was seen last.
func Until(ctx context.Context, limit time.Duration, what string, done func(context.Context) (seen string, ok bool, err error)) error {
	wctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	last := "nothing yet"
	for {
		seen, ok, err := done(wctx)
		var stop *stopped
		switch {
		case err == nil && ok:
			return nil
		case errors.As(err, &stop):
			return stop.err
		case err != nil && wctx.Err() == nil:
			last = err.Error()
		case err == nil:
			last = seen
		}
		select {
		case <-wctx.Done():
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return fmt.Errorf("wait until %s: not after %s; last seen: %s", what, limit, last)
		case <-time.After(Poll):
		}
	}
}
