package verify

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"
	bolt "go.etcd.io/bbolt"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/boltfile/bolttest"
)

// benchSize is the size of the snapshot in the benchmarks.
const benchSize = 256 << 20

// benchSnapshot writes a snapshot of objects of a kilobyte, each with two revisions.
func benchSnapshot(b *testing.B) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), "bench.db")
	db, err := bolt.Open(path, 0o600, &bolt.Options{NoFreelistSync: true, NoSync: true, NoGrowSync: true})
	if err != nil {
		b.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 1))
	words := make([]byte, 1<<16)
	for i := range words {
		words[i] = "abcdefghijklmnop"[random.IntN(16)]
	}
	for written, i := 0, 0; written < benchSize*9/10; {
		err := db.Update(func(tx *bolt.Tx) error {
			bucket, err := tx.CreateBucketIfNotExists([]byte("key"))
			if err != nil {
				return err
			}
			bucket.FillPercent = 0.9
			for range 5000 {
				value := append(fmt.Appendf([]byte{0x0a, 48}, "/registry/configmaps/some-namespace/object-%05d", i/2%100000), 0x18)
				value = binary.AppendUvarint(value, uint64(i+2))
				value = append(value, 0x2a, 0x80, 0x08) // 1024 bytes
				start := random.IntN(len(words) - 1024)
				value = append(value, words[start:start+1024]...)
				if err := bucket.Put(bolttest.EntryKey(i), value); err != nil {
					return err
				}
				written += len(value)
				i++
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		b.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		b.Fatal(err)
	}
	sum := sha256.Sum256(data)
	if err := os.WriteFile(path, append(data, sum[:]...), 0o600); err != nil {
		b.Fatal(err)
	}
	return path
}

func BenchmarkVerify(b *testing.B) {
	path := benchSnapshot(b)
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	bench := func(name string, f func(b *testing.B)) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(info.Size())
			b.ReportAllocs()
			for b.Loop() {
				f(b)
			}
		})
	}
	must := func(b *testing.B, err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	bench("File", func(b *testing.B) { _, err := File(b.Context(), path, Options{}); must(b, err) })
	bench("DB", func(b *testing.B) {
		f, err := os.Open(path)
		must(b, err)
		defer func() { _ = f.Close() }()
		_, err = DB(b.Context(), f, Options{})
		must(b, err)
	})
	compressed := benchCompress(b, path)
	bench("File-zstd", func(b *testing.B) { _, err := File(b.Context(), compressed, Options{}); must(b, err) })
	// What bbolt needs for the structure alone, for comparison.
	bench("bbolt-check", func(b *testing.B) {
		db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true})
		must(b, err)
		defer db.Close()
		must(b, db.View(func(tx *bolt.Tx) error {
			for err := range tx.Check() {
				return err
			}
			return nil
		}))
	})
}

func benchCompress(b *testing.B, path string) string {
	b.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		b.Fatal(err)
	}
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		b.Fatal(err)
	}
	defer enc.Close()
	packed := enc.EncodeAll(data, nil)
	if err := os.WriteFile(path+".zst", packed, 0o600); err != nil {
		b.Fatal(err)
	}
	b.Logf("%d MiB compressed", len(packed)>>20)
	return path + ".zst"
}
