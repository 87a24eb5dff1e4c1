package agent

import (
	"testing"
	"time"
)

// TestRest: a disk that is quick is not left alone; one that is slow is, for as long as it was busy, and never for long.
func TestRest(t *testing.T) {
	t.Parallel()
	for busy, want := range map[time.Duration]time.Duration{
		0: 0, slowSync - 1: 0, slowSync: slowSync, 2 * time.Second: 2 * time.Second, time.Minute: longRest,
	} {
		if got := rest(busy); got != want {
			t.Errorf("busy for %v: %v, not %v", busy, got, want)
		}
	}
}
