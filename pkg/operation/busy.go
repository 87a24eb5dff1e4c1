package operation

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// AtWork is who holds the lock of a control plane ("" is nobody), and for how long that client has been silent, by its own clock.
func (k Locker) AtWork(ctx context.Context, target string) (who string, silent time.Duration, err error) {
	namespace, plane, _ := strings.Cut(target, "/")
	c, err := k.Place.Claim(ctx, namespace, lockName(plane))
	switch {
	case errors.Is(err, ErrNotThere):
		return "", 0, nil
	case err != nil:
		return "", 0, fmt.Errorf("read lock %s: %w", lockName(plane), err)
	case c.Renewed.IsZero():
		return "", 0, nil
	}
	return c.Holder, max(k.Now().Sub(c.Renewed), 0).Round(time.Second), nil
}

// WhileItLives is what to do about a client that lives.
func WhileItLives(namespace, id string) string {
	return fmt.Sprintf("wait until that client has ended, or press Ctrl-C there; how far it is says: kubectl etcd restore status -n %s %s; if it is gone, ", namespace, id)
}

// BusyError says that another client holds the lock.
type BusyError struct {
	lock, namespace, holder string
	since                   time.Time
}

func (e *BusyError) Error() string {
	return fmt.Sprintf("lock %s: %v: %s, since %s", e.lock, ErrBusy, e.holder, e.since.UTC().Format(time.RFC3339))
}
func (e *BusyError) Unwrap() error { return ErrBusy }

// Hint says what to do about that client.
func (e *BusyError) Hint() string {
	_, id, _ := strings.Cut(e.holder, "(operation ")
	id, _, _ = strings.Cut(id, ",")
	return WhileItLives(e.namespace, id) + fmt.Sprintf("try again %s after its last sign of life", LeaseFor)
}
