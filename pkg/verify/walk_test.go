package verify

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// shape is a kind of database that bbolt can write.
type shape struct {
	pageSize       int
	noFreelistSync bool
	entries        int
	valueSize      int
}

// buildDatabase writes a database with bbolt itself, with deletions, so that there are free pages and half-empty ones,
// and returns its bytes and the hash that etcdutl would compute.
func buildDatabase(t testing.TB, s shape) ([]byte, uint32) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "db")
	db, err := bolt.Open(path, 0o600, &bolt.Options{PageSize: s.pageSize, NoFreelistSync: s.noFreelistSync, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, uint64(s.entries)))
	for _, step := range []func(*bolt.Bucket, int) error{
		func(b *bolt.Bucket, i int) error {
			return b.Put(entryKey(i), entryValue(i, random.IntN(s.valueSize+1)))
		},
		func(b *bolt.Bucket, i int) error {
			if i%3 == 0 || i > s.entries/2 && i < s.entries*3/4 {
				return b.Delete(entryKey(i))
			}
			return nil
		},
	} {
		err := db.Update(func(tx *bolt.Tx) error {
			for _, name := range []string{"alarm", "key", "members"} {
				if _, err := tx.CreateBucketIfNotExists([]byte(name)); err != nil {
					return err
				}
			}
			for i := range s.entries {
				if err := step(tx.Bucket([]byte("key")), i); err != nil {
					return err
				}
			}
			// A bucket that is small enough to be stored inside its own entry.
			return tx.Bucket([]byte("members")).Put([]byte("8e9e05c52164694d"), []byte(`{"name":"m"}`))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	sum := boltHash(t, db)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data, sum
}

func entryKey(i int) []byte {
	k := make([]byte, 17)
	binary.BigEndian.PutUint64(k, uint64(i+2))
	k[8] = '_'
	return k
}

// entryValue is a KeyValue with a key, a mod_revision and a value.
func entryValue(i, size int) []byte {
	b := fmt.Appendf([]byte{0x0a, 9}, "/key%05d", i%100000)
	b = binary.AppendUvarint(append(b, 0x18), uint64(i+2))
	b = binary.AppendUvarint(append(b, 0x2a), uint64(size))
	return append(b, bytes.Repeat([]byte{byte(i)}, size)...)
}

func boltHash(t testing.TB, db *bolt.DB) uint32 {
	h := crc32.New(castagnoli)
	err := db.View(func(tx *bolt.Tx) error {
		for err := range tx.Check() {
			return err
		}
		return tx.ForEach(func(name []byte, b *bolt.Bucket) error {
			h.Write(name)
			return b.ForEach(func(k, v []byte) error {
				h.Write(k)
				h.Write(v)
				return nil
			})
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return h.Sum32()
}

func read(t testing.TB, data []byte, slots int) (*Report, error) {
	t.Helper()
	db, err := openDatabase(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, err
	}
	r := &Report{}
	return r, readContent(t.Context(), db, r, slots, true, nil, func(int64) {})
}

func TestReadsWhatBboltWrites(t *testing.T) {
	for _, s := range []shape{
		{4096, true, 0, 10}, {4096, true, 1, 10}, {4096, false, 1, 10}, {4096, true, 5000, 300}, {4096, false, 5000, 300},
		{1024, false, 3000, 100}, {1024, true, 20000, 0}, {16384, true, 3000, 300}, {65536, false, 3000, 300},
		{4096, false, 60, 300_000}, {4096, true, 60, 300_000}, {1024, false, 200, 20_000},
	} {
		t.Run(fmt.Sprintf("%+v", s), func(t *testing.T) {
			data, want := buildDatabase(t, s)
			r, err := read(t, data, maxLiveSlots)
			if err != nil {
				t.Fatal(err)
			}
			if r.Hash != want {
				t.Errorf("hash %d, want %d", r.Hash, want)
			}
			if r.InUse > r.DBSize || r.InUse <= 0 || r.LiveKeys != r.TotalKeys {
				t.Errorf("report %+v", r)
			}
		})
	}
}

// TestLiveKeysBeyondMemory counts with so small a table that the keys must be counted in many passes.
func TestLiveKeysBeyondMemory(t *testing.T) {
	data, _ := buildDatabase(t, shape{4096, true, 5000, 10})
	want, err := read(t, data, maxLiveSlots)
	if err != nil {
		t.Fatal(err)
	}
	for _, slots := range []int{8, 64, 1024} {
		got, err := read(t, data, slots)
		if err != nil {
			t.Fatal(err)
		}
		if got.LiveKeys != want.LiveKeys || got.LiveKeys != got.TotalKeys {
			t.Errorf("%d slots: %d live keys, want %d", slots, got.LiveKeys, want.LiveKeys)
		}
	}
}

// TestStructure breaks, one by one, the rules that hold a database together.
func TestStructure(t *testing.T) {
	build := func(t *testing.T) ([]byte, *database) {
		data, _ := buildDatabase(t, shape{4096, false, 2000, 100})
		db, err := openDatabase(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			t.Fatal(err)
		}
		return data, db
	}
	keyRoot := func(data []byte, db *database) []byte { // the branch page of the key bucket
		root := data[db.root*4096:]
		p := page{data: root[:4096], count: int(le.Uint16(root[10:]))}
		for i := range p.count {
			if _, name, value, err := p.leafElement(i); err == nil && string(name) == "key" {
				return data[le.Uint64(value)*4096:]
			}
		}
		return nil
	}
	for name, damage := range map[string]func(data []byte, db *database){
		"page used twice": func(data []byte, db *database) {
			branch := keyRoot(data, db)
			copy(branch[16+8:16+16], branch[32+8:32+16])
		},
		"page lost":       func(data []byte, db *database) { data[db.freelist*4096+10]-- },
		"free page twice": func(data []byte, db *database) { p := data[db.freelist*4096+16:]; copy(p[:8], p[8:16]) },
		"free page in use": func(data []byte, db *database) {
			le.PutUint64(data[db.freelist*4096+16:], db.root)
		},
		"children swapped": func(data []byte, db *database) {
			branch := keyRoot(data, db)
			a, b := bytes.Clone(branch[24:32]), bytes.Clone(branch[40:48])
			copy(branch[24:32], b)
			copy(branch[40:48], a)
		},
		"keys swapped": func(data []byte, db *database) {
			leaf := data[le.Uint64(keyRoot(data, db)[24:])*4096:]
			a, b := bytes.Clone(leaf[16:32]), bytes.Clone(leaf[32:48])
			copy(leaf[16:32], b)
			copy(leaf[32:48], a)
			le.PutUint32(leaf[20:], le.Uint32(leaf[20:])+16)
			le.PutUint32(leaf[36:], le.Uint32(leaf[36:])-16)
		},
		"wrong page id": func(data []byte, db *database) { data[le.Uint64(keyRoot(data, db)[24:])*4096]++ },
		"wrong type":    func(data []byte, db *database) { data[le.Uint64(keyRoot(data, db)[24:])*4096+8] = 4 },
		"own child":     func(data []byte, db *database) { b := keyRoot(data, db); copy(b[24:32], b[:8]) },
		"value not a KeyValue": func(data []byte, db *database) {
			leaf := data[le.Uint64(keyRoot(data, db)[24:])*4096:]
			leaf[16+le.Uint32(leaf[20:])+le.Uint32(leaf[24:])] = 0xff
		},
		"key not a revision": func(data []byte, db *database) {
			leaf := data[le.Uint64(keyRoot(data, db)[24:])*4096:]
			leaf[16+le.Uint32(leaf[20:])+8] = '-'
		},
	} {
		t.Run(name, func(t *testing.T) {
			data, db := build(t)
			if _, err := read(t, data, maxLiveSlots); err != nil {
				t.Fatal(err)
			}
			damage(data, db)
			if _, err := read(t, data, maxLiveSlots); !errors.Is(err, ErrCorrupt) {
				t.Errorf("got %v", err)
			} else {
				t.Log(err)
			}
		})
	}
}

// TestBranchesBounded: a branch page is kept for each level of the tree, so that a file of almost nothing but holes, with
// pages as long as values may be, would take gigabytes of memory.
func TestBranchesBounded(t *testing.T) {
	data, _ := buildDatabase(t, shape{4096, true, 2000, 100})
	db, err := openDatabase(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	for pages, ok := range map[int]bool{maxBranchBytes / 4096: true, maxBranchBytes/4096 + 1: false} {
		long := append(bytes.Clone(data[:db.size()]), make([]byte, pages*4096)...)
		p := long[db.size():]
		le.PutUint64(p, db.pages)
		le.PutUint16(p[8:], branchPage)
		le.PutUint32(p[12:], uint32(pages-1))
		all := &database{meta: db.meta, r: bytes.NewReader(long)}
		all.pages += uint64(pages)
		all.reset()
		if _, err := all.read(db.pages, 0); (err == nil) != ok || err != nil && !errors.Is(err, ErrCorrupt) {
			t.Errorf("branch of %d pages: got %v", pages, err)
		}
	}
}

// TestSecondMetaPage damages the newest meta page of a raw database: the one before is valid, as after a power cut.
func TestSecondMetaPage(t *testing.T) {
	for _, size := range []int{1024, 4096, 65536} {
		data, _ := buildDatabase(t, shape{size, true, 500, 100})
		for meta := range 2 {
			damaged := bytes.Clone(data)
			damaged[meta*size+20] ^= 0xff
			m, _, err := readMeta(bytes.NewReader(damaged), int64(len(damaged)))
			if err != nil || m.pageSize != int64(size) {
				t.Errorf("page size %d, meta page %d damaged: %+v, %v", size, meta, m, err)
			}
		}
	}
}

// FuzzDatabase looks for bytes that make the reader do anything but return. The meta pages get valid checksums,
// without which nothing behind them is looked at.
func FuzzDatabase(f *testing.F) {
	for _, s := range []shape{{1024, true, 3, 10}, {1024, false, 40, 30}, {1024, true, 5, 3000}} {
		data, _ := buildDatabase(f, s)
		m, _, err := readMeta(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data[:m.size()]) // bbolt makes files larger than they need be
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		data = bytes.Clone(data)
		for at := 0; at+80 <= len(data) && at <= 1024; at += 1024 {
			sum := fnv.New64a()
			sum.Write(data[at+16 : at+72])
			le.PutUint64(data[at+72:], sum.Sum64())
		}
		r, err := read(t, data, 64)
		if err == nil && (r.LiveKeys > r.TotalKeys || r.DBSize > int64(len(data))) {
			t.Errorf("report %+v", r)
		}
	})
}

// FuzzKeyValue looks for values of which the decoder makes more than they are.
func FuzzKeyValue(f *testing.F) {
	f.Add(entryValue(1, 10))
	f.Fuzz(func(t *testing.T, data []byte) {
		if kv, err := parseKeyValue(data); err == nil && len(kv.key)+len(kv.value) > len(data) {
			t.Errorf("key %q, value %q", kv.key, kv.value)
		}
		namespaceUID(append([]byte("k8s\x00"), data...))
	})
}
