package mvcc

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// TestLiveSet compares the set, for random puts and deletions, with a map.
func TestLiveSet(t *testing.T) {
	for _, slots := range []int{8, 256, MaxLiveSlots} {
		random := rand.New(rand.NewPCG(7, uint64(slots)))
		type step struct {
			key    string
			exists bool
		}
		var steps []step
		want := map[string]bool{}
		for range 20000 {
			s := step{fmt.Sprint("key", random.IntN(3000)), random.IntN(2) == 0}
			steps = append(steps, s)
			if want[s.key] = true; !s.exists {
				delete(want, s.key)
			}
		}
		total := 0
		for todo := []KeyClass{{}}; len(todo) > 0; todo = todo[1:] {
			set := NewLiveSet(todo[0], slots)
			for _, s := range steps {
				set.Put([]byte(s.key), s.exists)
			}
			total += set.used
			if len(set.slots) > slots {
				t.Fatalf("%d slots, want at most %d", len(set.slots), slots)
			}
			todo = append(todo, set.Later...)
		}
		if total != len(want) {
			t.Errorf("%d slots: %d keys, want %d", slots, total, len(want))
		}
	}
}
