package site

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestPersist(t *testing.T) {
	broken := errors.New("connection refused")
	for name, c := range map[string]struct {
		fails    []error
		patience time.Duration
		want     error
		tries    int
	}{
		"at once":          {nil, 0, nil, 1},
		"back by then":     {[]error{broken, broken}, time.Minute, nil, 3},
		"not back by then": {[]error{broken, broken}, 0, broken, 1},
		"a refusal":        {[]error{Refuse("", "no")}, time.Minute, Refuse("", "no"), 1},
	} {
		t.Run(name, func(t *testing.T) {
			tries := 0
			err := persist(t.Context(), c.patience, func() error {
				if tries++; tries <= len(c.fails) {
					return c.fails[tries-1]
				}
				return nil
			})
			if (err == nil) != (c.want == nil) || err != nil && err.Error() != c.want.Error() || tries != c.tries {
				t.Errorf("%v after %d tries", err, tries)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	if err := persist(ctx, time.Hour, func() error { cancel(); return broken }); !errors.Is(err, broken) {
		t.Errorf("cancelled: %v", err)
	}
}
