package verify

import "github.com/kubectl-etcd/kubectl-etcd/pkg/mvcc"

// maxKept bounds the bytes of what is kept, keys and values.
const maxKept = 64 << 20

// Kept is what a snapshot holds under one key.
type Kept struct {
	Value []byte
	// Leased says that the key is bound to a lease that the snapshot has: it goes when that is not renewed.
	Leased bool
}

// keeper remembers the last values of the keys that somebody asks for.
type keeper struct {
	wants func(key, value []byte) bool
	found map[string]held
	bytes int
}

// held is a value, and its lease's id: whether that exists is known in the end.
type held struct {
	value []byte
	lease int64
}

func (k *keeper) take(kv mvcc.KeyValue, deleted bool) {
	if k.wants == nil {
		return
	}
	if old, ok := k.found[string(kv.Key)]; ok {
		k.bytes -= len(kv.Key) + len(old.value)
		delete(k.found, string(kv.Key))
	}
	if deleted || !k.wants(kv.Key, kv.Value) {
		return
	}
	if k.bytes += len(kv.Key) + len(kv.Value); k.bytes > maxKept {
		k.wants, k.found = nil, nil
		return
	}
	k.found[string(kv.Key)] = held{append([]byte(nil), kv.Value...), kv.Lease}
}

// kept is what there is in the end; nil where it was too much.
func (k *keeper) kept(leases map[int64]bool) map[string]Kept {
	if k.found == nil {
		return nil
	}
	out := map[string]Kept{}
	for key, h := range k.found {
		out[key] = Kept{h.value, leases[h.lease]}
	}
	return out
}
