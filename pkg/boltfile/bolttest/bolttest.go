// Package bolttest writes databases with bbolt, for tests of what reads them without.
package bolttest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// Shape is a kind of database that bbolt can write.
type Shape struct {
	PageSize       int
	NoFreelistSync bool
	Entries        int
	ValueSize      int
}

// Build writes a database with bbolt itself, with deletions, so that there are free pages and half-empty ones,
// and returns its bytes and the hash that etcdutl would compute.
func Build(t testing.TB, s Shape) ([]byte, uint32) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "db")
	db, err := bolt.Open(path, 0o600, &bolt.Options{PageSize: s.PageSize, NoFreelistSync: s.NoFreelistSync, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, uint64(s.Entries)))
	for _, step := range []func(*bolt.Bucket, int) error{
		func(b *bolt.Bucket, i int) error {
			return b.Put(EntryKey(i), EntryValue(i, random.IntN(s.ValueSize+1)))
		},
		func(b *bolt.Bucket, i int) error {
			if i%3 == 0 || i > s.Entries/2 && i < s.Entries*3/4 {
				return b.Delete(EntryKey(i))
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
			for i := range s.Entries {
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

// EntryKey is the key of etcd's revision i+2.
func EntryKey(i int) []byte {
	k := make([]byte, 17)
	binary.BigEndian.PutUint64(k, uint64(i+2))
	k[8] = '_'
	return k
}

// EntryValue is a KeyValue with a key, a mod_revision and a value.
func EntryValue(i, size int) []byte {
	b := fmt.Appendf([]byte{0x0a, 9}, "/key%05d", i%100000)
	b = binary.AppendUvarint(append(b, 0x18), uint64(i+2))
	b = binary.AppendUvarint(append(b, 0x2a), uint64(size))
	return append(b, bytes.Repeat([]byte{byte(i)}, size)...)
}

func boltHash(t testing.TB, db *bolt.DB) uint32 {
	h := crc32.New(crc32.MakeTable(crc32.Castagnoli))
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
