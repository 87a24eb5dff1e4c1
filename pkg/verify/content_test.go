package verify

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"strings"
	"testing"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/boltfile"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/boltfile/bolttest"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/mvcc"
)

func read(t testing.TB, data []byte, slots int) (*Report, error) {
	t.Helper()
	db, err := boltfile.Open(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, err
	}
	r := &Report{}
	return r, readContent(t.Context(), db, r, slots, true, Options{}, func(int64) {})
}

func TestReadsWhatBboltWrites(t *testing.T) {
	for _, s := range []bolttest.Shape{
		{PageSize: 4096, NoFreelistSync: true, ValueSize: 10},
		{PageSize: 4096, NoFreelistSync: true, Entries: 1, ValueSize: 10},
		{PageSize: 4096, Entries: 1, ValueSize: 10},
		{PageSize: 4096, NoFreelistSync: true, Entries: 5000, ValueSize: 300},
		{PageSize: 4096, Entries: 5000, ValueSize: 300},
		{PageSize: 1024, Entries: 3000, ValueSize: 100},
		{PageSize: 1024, NoFreelistSync: true, Entries: 20000, ValueSize: 0},
		{PageSize: 16384, NoFreelistSync: true, Entries: 3000, ValueSize: 300},
		{PageSize: 65536, Entries: 3000, ValueSize: 300},
		{PageSize: 4096, Entries: 60, ValueSize: 300_000},
		{PageSize: 4096, NoFreelistSync: true, Entries: 60, ValueSize: 300_000},
		{PageSize: 1024, Entries: 200, ValueSize: 20_000},
	} {
		t.Run(fmt.Sprintf("%+v", s), func(t *testing.T) {
			data, want := bolttest.Build(t, s)
			r, err := read(t, data, mvcc.MaxLiveSlots)
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
	data, _ := bolttest.Build(t, bolttest.Shape{PageSize: 4096, NoFreelistSync: true, Entries: 5000, ValueSize: 10})
	want, err := read(t, data, mvcc.MaxLiveSlots)
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

// TestContradictions: a database of which every page is right, with keys that are none of etcd's.
func TestContradictions(t *testing.T) {
	for name, change := range map[string]struct{ from, to []byte }{
		"value not a KeyValue": {[]byte("\x0a\x09/key00001"), []byte("\xff\x09/key00001")},
		"key not a revision":   {bolttest.EntryKey(1), bytes.Replace(bolttest.EntryKey(1), []byte("_"), []byte("-"), 1)},
		"another revision":     {[]byte("\x0a\x09/key00001\x18\x03"), []byte("\x0a\x09/key00001\x18\x04")},
	} {
		t.Run(name, func(t *testing.T) {
			data, _ := bolttest.Build(t, bolttest.Shape{PageSize: 4096, Entries: 2000, ValueSize: 100})
			if _, err := read(t, data, mvcc.MaxLiveSlots); err != nil {
				t.Fatal(err)
			}
			changed := bytes.ReplaceAll(data, change.from, change.to) // the first alone may be in a free page
			if _, err := read(t, changed, mvcc.MaxLiveSlots); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "key bucket: ") {
				t.Errorf("got %v", err)
			} else {
				t.Log(err)
			}
		})
	}
}

// FuzzDatabase looks for bytes that make the reader do anything but return. The meta pages get valid checksums,
// without which nothing behind them is looked at.
func FuzzDatabase(f *testing.F) {
	for _, s := range []bolttest.Shape{{PageSize: 1024, NoFreelistSync: true, Entries: 3, ValueSize: 10}, {PageSize: 1024, Entries: 40, ValueSize: 30}, {PageSize: 1024, NoFreelistSync: true, Entries: 5, ValueSize: 3000}} {
		data, _ := bolttest.Build(f, s)
		size, err := boltfile.Claimed(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data[:size]) // bbolt makes files larger than they need be
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		data = bytes.Clone(data)
		for at := 0; at+80 <= len(data) && at <= 1024; at += 1024 {
			sum := fnv.New64a()
			sum.Write(data[at+16 : at+72])
			binary.LittleEndian.PutUint64(data[at+72:], sum.Sum64())
		}
		r, err := read(t, data, 64)
		if err == nil && (r.LiveKeys > r.TotalKeys || r.DBSize > int64(len(data))) {
			t.Errorf("report %+v", r)
		}
	})
}

// FuzzNamespace looks for values that make the decoder do anything but return.
func FuzzNamespace(f *testing.F) {
	f.Add(bolttest.EntryValue(1, 10))
	f.Fuzz(func(_ *testing.T, data []byte) {
		namespaceUID(append([]byte("k8s\x00"), data...))
	})
}
