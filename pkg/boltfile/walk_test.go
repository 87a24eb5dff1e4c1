package boltfile

import (
	"bytes"
	"errors"
	"testing"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/boltfile/bolttest"
)

// all wants everything.
type all struct{}

func (all) Bucket([]byte) (bool, error) { return true, nil }
func (all) Entry(_, _ []byte) error     { return nil }

// readPages looks at every page.
func readPages(t testing.TB, data []byte) error {
	t.Helper()
	db, err := Open(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return err
	}
	if err := db.Walk(t.Context(), all{}, nil); err != nil {
		return err
	}
	return db.CheckFree()
}

// TestStructure breaks, one by one, the rules that hold a database together.
func TestStructure(t *testing.T) {
	build := func(t *testing.T) ([]byte, *File) {
		data, _ := bolttest.Build(t, bolttest.Shape{PageSize: 4096, Entries: 2000, ValueSize: 100})
		db, err := Open(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			t.Fatal(err)
		}
		return data, db
	}
	keyRoot := func(data []byte, db *File) []byte { // the branch page of the key bucket
		root := data[db.root*4096:]
		p := page{data: root[:4096], count: int(le.Uint16(root[10:]))}
		for i := range p.count {
			if _, name, value, err := p.leafElement(i); err == nil && string(name) == "key" {
				return data[le.Uint64(value)*4096:]
			}
		}
		return nil
	}
	for name, damage := range map[string]func(data []byte, db *File){
		"page used twice": func(data []byte, db *File) {
			branch := keyRoot(data, db)
			copy(branch[16+8:16+16], branch[32+8:32+16])
		},
		"page lost":       func(data []byte, db *File) { data[db.freelist*4096+10]-- },
		"free page twice": func(data []byte, db *File) { p := data[db.freelist*4096+16:]; copy(p[:8], p[8:16]) },
		"free page in use": func(data []byte, db *File) {
			le.PutUint64(data[db.freelist*4096+16:], db.root)
		},
		"children swapped": func(data []byte, db *File) {
			branch := keyRoot(data, db)
			a, b := bytes.Clone(branch[24:32]), bytes.Clone(branch[40:48])
			copy(branch[24:32], b)
			copy(branch[40:48], a)
		},
		"keys swapped": func(data []byte, db *File) {
			leaf := data[le.Uint64(keyRoot(data, db)[24:])*4096:]
			a, b := bytes.Clone(leaf[16:32]), bytes.Clone(leaf[32:48])
			copy(leaf[16:32], b)
			copy(leaf[32:48], a)
			le.PutUint32(leaf[20:], le.Uint32(leaf[20:])+16)
			le.PutUint32(leaf[36:], le.Uint32(leaf[36:])-16)
		},
		"wrong page id": func(data []byte, db *File) { data[le.Uint64(keyRoot(data, db)[24:])*4096]++ },
		"wrong type":    func(data []byte, db *File) { data[le.Uint64(keyRoot(data, db)[24:])*4096+8] = 4 },
		"own child":     func(data []byte, db *File) { b := keyRoot(data, db); copy(b[24:32], b[:8]) },
	} {
		t.Run(name, func(t *testing.T) {
			data, db := build(t)
			if err := readPages(t, data); err != nil {
				t.Fatal(err)
			}
			damage(data, db)
			if err := readPages(t, data); !errors.Is(err, ErrCorrupt) {
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
	data, _ := bolttest.Build(t, bolttest.Shape{PageSize: 4096, NoFreelistSync: true, Entries: 2000, ValueSize: 100})
	db, err := Open(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	for pages, ok := range map[int]bool{maxBranchBytes / 4096: true, maxBranchBytes/4096 + 1: false} {
		long := append(bytes.Clone(data[:db.Size()]), make([]byte, pages*4096)...)
		p := long[db.Size():]
		le.PutUint64(p, db.pages)
		le.PutUint16(p[8:], branchPage)
		le.PutUint32(p[12:], uint32(pages-1))
		grown := &File{meta: db.meta, r: bytes.NewReader(long)}
		grown.pages += uint64(pages)
		grown.Reset()
		if _, err := grown.read(db.pages, 0); (err == nil) != ok || err != nil && !errors.Is(err, ErrCorrupt) {
			t.Errorf("branch of %d pages: got %v", pages, err)
		}
	}
}

// TestSecondMetaPage damages the newest meta page of a raw database: the one before is valid, as after a power cut.
func TestSecondMetaPage(t *testing.T) {
	for _, size := range []int{1024, 4096, 65536} {
		data, _ := bolttest.Build(t, bolttest.Shape{PageSize: size, NoFreelistSync: true, Entries: 500, ValueSize: 100})
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
