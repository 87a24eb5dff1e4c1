package objects

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// TestWaves: neighbours of a kind go together and nobody overtakes the next kind; errors keep their places; nothing is begun after an end.
func TestWaves(t *testing.T) {
	t.Parallel()
	all := strings.Split(strings.Repeat("a", 20)+strings.Repeat("b", 3)+"a", "")
	for i := range all {
		all[i] = fmt.Sprintf("%s%d", all[i], i)
	}
	together := func(a, b string) bool { return a[0] == b[0] }
	var mu sync.Mutex
	var done []string
	most, running := 0, 0
	step := func(n int) {
		mu.Lock()
		defer mu.Unlock()
		running += n
		most = max(most, running)
	}
	bad := errors.New("bad")
	var full sync.WaitGroup // the first ones wait for each other
	full.Add(atOnce)
	errs := Waves(t.Context(), all, together, func(_ context.Context, s string) error {
		step(1)
		defer step(-1)
		if n, _ := strconv.Atoi(s[1:]); n < atOnce {
			full.Done()
			full.Wait()
		}
		mu.Lock()
		done = append(done, s)
		mu.Unlock()
		if s == "a7" || s == "b21" {
			return fmt.Errorf("%s: %w", s, bad)
		}
		return nil
	})
	if got := fmt.Sprint(errors.Join(errs...)); got != "a7: bad\nb21: bad" || most != atOnce || len(done) != len(all) {
		t.Errorf("%q, %d at once, %v", got, most, done)
	}
	for i, s := range done {
		if (i < 20) != (s[0] == 'a' && s != "a23") || (i == 23) != (s == "a23") {
			t.Errorf("out of order: %v", done)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	var begun []string
	errs = Waves(ctx, all, together, func(_ context.Context, s string) error {
		mu.Lock()
		defer mu.Unlock()
		begun = append(begun, s)
		cancel()
		return nil
	})
	if !errors.Is(errors.Join(errs...), context.Canceled) || len(begun) > atOnce {
		t.Errorf("%v, %v", begun, errs)
	}
}
