package verify

import "hash/maphash"

// A key exists when the last of its revisions is not a deletion. To count such keys in one pass over revisions in
// their order, the keys that exist so far must be remembered; the keys themselves can be hundreds of megabytes. So a
// 128-bit hash of each is remembered, 16 bytes per key, in at most maxLiveSlots slots (32 MiB; 48 MiB for the moment in which
// the table grows). The hash is seeded anew in each process and 128 bits wide: for ten million keys, the chance that
// any two collide and the count is off by one is about 10^-25, less than that of the memory failing.
//
// Where more keys exist than fit, the set halves what it is responsible for, by one bit of the hash, and the other
// half is counted by another pass over the database: slower, never wrong, never bigger.
const (
	minLiveSlots = 1 << 12
	maxLiveSlots = 1 << 21
)

// keyClass is the set of keys whose hash has the bits of value where mask has ones.
type keyClass struct{ mask, value uint64 }

// keyHash stands for a key, in this process only.
type keyHash struct{ lo, hi uint64 }

func hashKey(key []byte) keyHash {
	return keyHash{lo: maphash.Bytes(seedLo, key), hi: hashHigh(key)}
}

// hashHigh is the other half of a hash: never zero, which costs one of 128 bits.
func hashHigh(key []byte) uint64 { return maphash.Bytes(seedHi, key) | 1 }

// One pair of seeds for all passes, because classes are made of hash bits.
var seedLo, seedHi = maphash.MakeSeed(), maphash.MakeSeed()

// liveSet counts the keys that exist among those of its class.
type liveSet struct {
	class keyClass
	// later are the classes that this set has handed to other passes.
	later    []keyClass
	slots    []keyHash // open addressing; the zero value is a free slot
	used     int
	maxSlots int
}

func newLiveSet(class keyClass, maxSlots int) *liveSet {
	return &liveSet{class: class, maxSlots: maxSlots, slots: make([]keyHash, min(minLiveSlots, maxSlots))}
}

// put says that the key exists from now on, or does not any more. It returns by how many that changes the set: 1, 0 or -1.
func (s *liveSet) put(key []byte, exists bool) int64 {
	h := keyHash{lo: maphash.Bytes(seedLo, key)}
	if h.lo&s.class.mask != s.class.value {
		return 0
	}
	h.hi = hashHigh(key)
	i, found := s.find(h)
	switch {
	case found && !exists:
		s.remove(i)
		return -1
	case !found && exists:
		s.slots[i] = h
		s.used++
		if s.used*8 > len(s.slots)*7 {
			s.grow()
		}
		return 1
	}
	return 0
}

// has says whether the key is in the set; the set must not have handed any class to other passes.
func (s *liveSet) has(key []byte) bool {
	_, found := s.find(hashKey(key))
	return found
}

// home is where the search for a hash begins. It takes other bits than the classes, which are low ones.
func (s *liveSet) home(h keyHash) int { return int(h.lo>>40) & (len(s.slots) - 1) }

func (s *liveSet) find(h keyHash) (slot int, found bool) {
	for i := s.home(h); ; i = (i + 1) & (len(s.slots) - 1) {
		if s.slots[i] == h {
			return i, true
		}
		if s.slots[i] == (keyHash{}) {
			return i, false
		}
	}
}

// remove frees slot i and moves back what the gap would hide.
func (s *liveSet) remove(i int) {
	mask := len(s.slots) - 1
	s.used--
	for j := (i + 1) & mask; s.slots[j] != (keyHash{}); j = (j + 1) & mask {
		// The entry at j may move to i unless its home lies between the two.
		if (j-s.home(s.slots[j]))&mask >= (j-i)&mask {
			s.slots[i] = s.slots[j]
			i = j
		}
	}
	s.slots[i] = keyHash{}
}

// grow doubles the table or, where it must not grow, narrows the class until the table is at most half full.
func (s *liveSet) grow() {
	if len(s.slots)*2 <= s.maxSlots {
		old := s.slots
		s.slots = make([]keyHash, len(old)*2)
		s.used = 0
		for _, h := range old {
			s.reinsert(h)
		}
		return
	}
	for s.used*2 > len(s.slots) {
		bit := s.class.mask + 1
		s.later = append(s.later, keyClass{mask: s.class.mask | bit, value: s.class.value | bit})
		s.class.mask |= bit
		kept := s.slots[:0:0]
		for _, h := range s.slots {
			if h != (keyHash{}) && h.lo&s.class.mask == s.class.value {
				kept = append(kept, h)
			}
		}
		clear(s.slots)
		s.used = 0
		for _, h := range kept {
			s.reinsert(h)
		}
	}
}

func (s *liveSet) reinsert(h keyHash) {
	if h == (keyHash{}) {
		return
	}
	if i, found := s.find(h); !found {
		s.slots[i] = h
		s.used++
	}
}
