package mvcc

import "hash/maphash"

// A key exists when the last of its revisions is not a deletion. To count such keys in one pass over revisions in
// their order, the keys that exist so far must be remembered; the keys themselves can be hundreds of megabytes. So a
// 128-bit hash of each is remembered, 16 bytes per key, in at most MaxLiveSlots slots (32 MiB; 48 MiB for the moment in which
// the table grows). The hash is seeded anew in each process and 128 bits wide: for ten million keys, the chance that
// any two collide and the count is off by one is about 10^-25, less than that of the memory failing.
//
// Where more keys exist than fit, the set halves what it is responsible for, by one bit of the hash, and the other
// half is counted by another pass over the database: slower, never wrong, never bigger.
const (
	minLiveSlots = 1 << 12
	// MaxLiveSlots is what a LiveSet has at most, unless a test wants fewer.
	MaxLiveSlots = 1 << 21
)

// KeyClass is the set of keys whose hash has the bits of value where mask has ones.
type KeyClass struct{ mask, value uint64 }

// KeyHash stands for a key, in this process only.
type KeyHash struct{ lo, hi uint64 }

// HashKey hashes a key.
func HashKey(key []byte) KeyHash {
	return KeyHash{lo: maphash.Bytes(seedLo, key), hi: hashHigh(key)}
}

// hashHigh is the other half of a hash: never zero, which costs one of 128 bits.
func hashHigh(key []byte) uint64 { return maphash.Bytes(seedHi, key) | 1 }

// One pair of seeds for all passes, because classes are made of hash bits.
var seedLo, seedHi = maphash.MakeSeed(), maphash.MakeSeed()

// LiveSet counts the keys that exist among those of its class.
type LiveSet struct {
	class KeyClass
	// Later are the classes that this set has handed to other passes.
	Later    []KeyClass
	slots    []KeyHash // open addressing; the zero value is a free slot
	used     int
	maxSlots int
}

// NewLiveSet makes an empty one for a class, which never has more slots than maxSlots, a power of two.
func NewLiveSet(class KeyClass, maxSlots int) *LiveSet {
	return &LiveSet{class: class, maxSlots: maxSlots, slots: make([]KeyHash, min(minLiveSlots, maxSlots))}
}

// Put says that the key exists from now on, or does not any more. It returns by how many that changes the set: 1, 0 or -1.
func (s *LiveSet) Put(key []byte, exists bool) int64 {
	h := KeyHash{lo: maphash.Bytes(seedLo, key)}
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

// Len is how many keys are in the set.
func (s *LiveSet) Len() int { return s.used }

// Has says whether the key is in the set; the set must not have handed any class to other passes.
func (s *LiveSet) Has(key []byte) bool {
	_, found := s.find(HashKey(key))
	return found
}

// home is where the search for a hash begins. It takes other bits than the classes, which are low ones.
func (s *LiveSet) home(h KeyHash) int { return int(h.lo>>40) & (len(s.slots) - 1) }

func (s *LiveSet) find(h KeyHash) (slot int, found bool) {
	for i := s.home(h); ; i = (i + 1) & (len(s.slots) - 1) {
		if s.slots[i] == h {
			return i, true
		}
		if s.slots[i] == (KeyHash{}) {
			return i, false
		}
	}
}

// remove frees slot i and moves back what the gap would hide.
func (s *LiveSet) remove(i int) {
	mask := len(s.slots) - 1
	s.used--
	for j := (i + 1) & mask; s.slots[j] != (KeyHash{}); j = (j + 1) & mask {
		// The entry at j may move to i unless its home lies between the two.
		if (j-s.home(s.slots[j]))&mask >= (j-i)&mask {
			s.slots[i] = s.slots[j]
			i = j
		}
	}
	s.slots[i] = KeyHash{}
}

// grow doubles the table or, where it must not grow, narrows the class until the table is at most half full.
func (s *LiveSet) grow() {
	if len(s.slots)*2 <= s.maxSlots {
		old := s.slots
		s.slots = make([]KeyHash, len(old)*2)
		s.used = 0
		for _, h := range old {
			s.reinsert(h)
		}
		return
	}
	for s.used*2 > len(s.slots) {
		bit := s.class.mask + 1
		s.Later = append(s.Later, KeyClass{mask: s.class.mask | bit, value: s.class.value | bit})
		s.class.mask |= bit
		kept := s.slots[:0:0]
		for _, h := range s.slots {
			if h != (KeyHash{}) && h.lo&s.class.mask == s.class.value {
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

func (s *LiveSet) reinsert(h KeyHash) {
	if h == (KeyHash{}) {
		return
	}
	if i, found := s.find(h); !found {
		s.slots[i] = h
		s.used++
	}
}
