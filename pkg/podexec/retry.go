package podexec

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/frame"
)

// localError is a failure on this side of the connection: trying again would not help.
type localError struct{ err error }

func (e *localError) Error() string { return e.err.Error() }
func (e *localError) Unwrap() error { return e.err }

// retryable tells whether the same might work a moment later. The agent's own refusals, what the API refuses the user
// and failures of the local disk are final; what a connection did is not.
func retryable(err error) bool {
	var local *localError
	var consumer *frame.ConsumerError
	if errors.As(err, &local) || errors.As(err, &consumer) || errors.Is(err, ErrWrongAgent) {
		return false
	}
	var refusal *frame.Error
	if errors.As(err, &refusal) {
		return refusal.Code == frame.CodeOffset || refusal.Code == frame.CodeCorrupt
	}
	if errors.Is(err, ErrCut) || errors.Is(err, ErrStalled) || errors.Is(err, frame.ErrCorrupt) || errors.Is(err, frame.ErrProtocol) {
		return true
	}
	var exit *ExitError
	if errors.As(err, &exit) {
		// It ended before it said a word. By a signal, then it may live next time; by itself, then there is no such
		// program or it cannot run.
		return exit.Code > 128
	}
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		code := status.Status().Code
		return code == 0 || code >= http.StatusInternalServerError || code == http.StatusTooManyRequests || code == http.StatusRequestTimeout
	}
	return true
}

// backoff waits longer after each failure in a row, with jitter so that several clients do not come back together.
type backoff struct {
	timing Timing
	next   time.Duration
}

func newBackoff(t Timing) *backoff { return &backoff{t, t.Backoff} }

func (b *backoff) reset() { b.next = b.timing.Backoff }

func (b *backoff) wait(ctx context.Context) error {
	pause := b.next/2 + rand.N(b.next/2+1)
	b.next = min(2*b.next, b.timing.MaxBackoff)
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
