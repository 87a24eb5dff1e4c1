package verify

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	bolt "go.etcd.io/bbolt"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/boltfile"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/mvcc"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/snapshot"
)

// ErrNoHistory says that a snapshot without its history would hardly be smaller.
var ErrNoHistory = errors.New("it has hardly any history")

var errTooMany = fmt.Errorf("it has more than %d keys", maxSurvivors)

const (
	// maxSurvivors bounds the memory of Compact, to about 150 MiB.
	maxSurvivors = 1 << 21
	// compactBatch is how many bytes one transaction writes.
	compactBatch = 32 << 20
)

// Compact copies a snapshot that File has proven, with that report, and leaves out what no client can read when its last
// revision is compacted: older revisions of each key, deletions, and free pages. The last entry of all stays in any case,
// since it says where the snapshot stands. What else the database holds is copied as it is, also up to where it says it was compacted, so
// the copy is for a restore that marks its revisions as compacted (etcdutl's --mark-compacted), and for nothing else.
//
// The copy is a snapshot with a trailer. It is written to the empty file to, of which again is another handle that Compact
// closes. It is read back before Compact returns. The original must still hold what the report says: otherwise the error is
// ErrCorrupt. It is ErrNoHistory where the keys that stay have more bytes than the parameter most says, or where
// the copy is no smaller; Size says how many there are, then. Very many keys (2 Mi) are another error. The same original makes
// the same copy.
func Compact(ctx context.Context, from io.ReaderAt, proven *Report, most int64, to, again *os.File) (snapshot.Plain, error) {
	defer again.Close() // also where bbolt has not got so far
	done, err := compact(ctx, from, proven, most, to, again)
	if err != nil {
		return snapshot.Plain{Size: done.Size}, fmt.Errorf("copy snapshot without history: %w", err)
	}
	return done, nil
}

func compact(ctx context.Context, from io.ReaderAt, proven *Report, most int64, to, again *os.File) (done snapshot.Plain, err error) {
	size := proven.Plain.Size
	if snapshot.HasTrailer(size) {
		size -= snapshot.TrailerSize
	}
	db, err := boltfile.Open(from, size)
	if err != nil {
		return done, err
	}
	keep, entries, stay, err := survivors(ctx, db)
	if err == nil && stay > most {
		err = ErrNoHistory
	}
	if err != nil {
		return snapshot.Plain{Size: stay}, err
	}
	db.Reset()
	c, err := newCopier(int(db.PageSize()), keep, entries, again)
	if err != nil {
		return done, err
	}
	if err := c.close(db.Walk(ctx, c, nil)); err != nil {
		return done, err
	}
	if c.read != proven.Hash {
		return done, boltfile.Corrupt("it has changed since it was verified")
	}
	if done, err = seal(ctx, to, c.written, proven); err != nil {
		return done, fmt.Errorf("read the copy: %v", err) // nothing is wrong with the original
	}
	if done.Size >= proven.Plain.Size {
		return done, ErrNoHistory
	}
	return done, nil
}

// chooser finds the last revision of each key.
type chooser struct {
	entries uint64
	last    map[mvcc.KeyHash]survivor
}

// survivor is an entry of the key bucket: its number, and its bytes.
type survivor struct{ entry, size uint64 }

func (c *chooser) Bucket(name []byte) (bool, error) { return string(name) == "key", nil }

func (c *chooser) Entry(key, value []byte) error {
	rev, kv, err := parseEntry(key, value)
	if err != nil {
		return err
	}
	n := c.entries
	c.entries++
	h := mvcc.HashKey(kv.Key)
	if rev.Tombstone {
		delete(c.last, h)
		return nil
	}
	if c.last[h] = (survivor{n, uint64(len(key) + len(value))}); len(c.last) > maxSurvivors {
		return errTooMany
	}
	return nil
}

// survivors says which of how many entries of the key bucket outlive a compaction, and how many bytes those have.
func survivors(ctx context.Context, db *boltfile.File) (keep boltfile.Bitmap, entries uint64, stay int64, err error) {
	c := &chooser{last: map[mvcc.KeyHash]survivor{}}
	if err := db.Walk(ctx, c, nil); err != nil {
		return nil, 0, 0, err
	}
	total := uint64(0)
	keep = boltfile.NewBitmap(c.entries)
	for _, s := range c.last {
		keep.Set(s.entry)
		total += s.size
	}
	if c.entries > 0 {
		keep.Set(c.entries - 1)
	}
	return keep, c.entries, int64(total), nil
}

// copier writes a database of those entries that are kept.
type copier struct {
	db      *bolt.DB
	tx      *bolt.Tx
	into    *bolt.Bucket
	name    []byte
	keep    boltfile.Bitmap
	entries uint64 // of the key bucket
	keys    uint64 // so far
	batch   int
	inKeys  bool
	// read and written are Report.Hash of the original and of the copy.
	read, written uint32
}

func newCopier(pageSize int, keep boltfile.Bitmap, entries uint64, file *os.File) (*copier, error) {
	db, err := bolt.Open("", 0o600, &bolt.Options{PageSize: pageSize, NoSync: true, NoGrowSync: true,
		OpenFile: func(string, int, os.FileMode) (*os.File, error) { return file, nil }})
	if err != nil {
		return nil, err
	}
	c := &copier{db: db, keep: keep, entries: entries}
	if c.tx, err = db.Begin(true); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return c, nil
}

func (c *copier) Bucket(name []byte) (_ bool, err error) {
	c.read, c.written = crc32.Update(c.read, castagnoli, name), crc32.Update(c.written, castagnoli, name)
	first := c.into == nil
	c.name, c.inKeys = bytes.Clone(name), string(name) == "key"
	if first {
		return true, c.enter()
	}
	return true, c.commit() // bbolt writes the buckets of one transaction in any order
}

func (c *copier) enter() (err error) {
	if c.into, err = c.tx.CreateBucketIfNotExists(c.name); err == nil {
		c.into.FillPercent = 0.9 // they come in their order
	}
	return err
}

func (c *copier) Entry(key, value []byte) error {
	c.read = crc32.Update(crc32.Update(c.read, castagnoli, key), castagnoli, value)
	if c.inKeys {
		if c.keys++; c.keys > c.entries {
			return boltfile.Corrupt("it has changed since it was verified")
		}
		if !c.keep.Has(c.keys - 1) {
			return nil
		}
	}
	c.written = crc32.Update(crc32.Update(c.written, castagnoli, key), castagnoli, value)
	if c.batch += len(key) + len(value); c.batch > compactBatch {
		if err := c.commit(); err != nil {
			return err
		}
	}
	return c.into.Put(key, bytes.Clone(value)) // bbolt wants the value until the commit
}

// commit ends a transaction and begins the next one.
func (c *copier) commit() (err error) {
	c.batch = 0
	if err := c.tx.Commit(); err != nil {
		return err
	}
	if c.tx, err = c.db.Begin(true); err != nil {
		return err
	}
	return c.enter()
}

// close commits what there is, unless something went wrong, and frees the file.
func (c *copier) close(failed error) error {
	if failed == nil {
		failed = c.tx.Commit()
	}
	if failed != nil && c.tx != nil {
		_ = c.tx.Rollback() // bbolt closes nothing before
	}
	return errors.Join(failed, c.db.Close())
}

// seal reads the copy back and puts a trailer behind it.
func seal(ctx context.Context, to *os.File, written uint32, proven *Report) (done snapshot.Plain, err error) {
	info, err := to.Stat()
	if err != nil {
		return done, err
	}
	db, err := boltfile.Open(to, info.Size())
	if err != nil {
		return done, err
	}
	var r Report
	if err := readContent(ctx, db, &r, mvcc.MaxLiveSlots, false, Options{}, func(int64) {}); err != nil {
		return done, err
	}
	if r.Hash != written || r.Revision != proven.Revision || r.LiveKeys != proven.LiveKeys {
		return done, fmt.Errorf("it has hash %08x, revision %d and %d keys, instead of %08x, %d and %d", r.Hash, r.Revision, r.LiveKeys, written, proven.Revision, proven.LiveKeys)
	}
	if err := to.Truncate(db.Size()); err != nil { // bbolt may have made its file longer
		return done, err
	}
	sum := sha256.New()
	if err := copyContext(ctx, sum, io.NewSectionReader(to, 0, db.Size()), func(int64) {}); err != nil {
		return done, err
	}
	trailer := sum.Sum(nil)
	if _, err := to.WriteAt(trailer, db.Size()); err != nil {
		return done, err
	}
	sum.Write(trailer)
	return snapshot.Plain{Size: db.Size() + snapshot.TrailerSize, SHA256: hex.EncodeToString(sum.Sum(nil))}, nil
}
