// Package boltfile reads bbolt's file format without bbolt. bbolt maps the file into memory and trusts it: a
// changed byte makes it panic, read outside of the map (SIGSEGV), run in circles or allocate without bound, and a file
// that shrinks kills the process (SIGBUS). Here every offset is checked and every page read with ReadAt, so a bad file
// can only yield an error, and the structural check, the hash and the decoding share one pass. Tests compare
// the outcome with bbolt and etcdutl.
package boltfile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
)

const (
	pageHeaderSize = 16
	elementSize    = 16
	metaSize       = 64
	boltMagic      = 0xED0CDAED
	boltVersion    = 2
	noFreelist     = ^uint64(0)

	branchPage   = 0x01
	leafPage     = 0x02
	freelistPage = 0x10

	minPageSize = 1 << 10
	maxPageSize = 1 << 24
	// HeaderSize is how many bytes hold the whole header, whatever the size of the pages.
	HeaderSize = 2 * maxPageSize
	maxKeySize = 32 << 10
	// maxPageBytes bounds one logical page with its overflow pages, and so memory. A value and its neighbours share
	// one; etcd refuses requests above 1.5 MiB unless told otherwise.
	maxPageBytes = 256 << 20
	// maxBranchBytes bounds a branch page, of which one per level is held at a time. bbolt splits one that outgrows its
	// page, down to four keys.
	maxBranchBytes = maxPageSize
	// maxDepth is far above the height of any real tree: even 2 keys per page need only 40 levels for 10^12 keys.
	maxDepth = 64
)

var le = binary.LittleEndian

// meta is a bbolt meta page.
type meta struct {
	pageSize int64
	root     uint64
	freelist uint64
	pages    uint64 // the high water mark: the number of pages the database has
	txid     uint64
}

// Size is how many bytes the database has, by its header. A file may be longer.
func (m meta) Size() int64 { return int64(m.pages) * m.pageSize }

// readMeta finds the newest valid meta page of a database. seen says whether there was at least something that looks
// like one: if not, the file is not a database at all.
func readMeta(r io.ReaderAt, size int64) (best meta, seen bool, err error) {
	found := false
	consider := func(at int64) (meta, error) {
		var buf [pageHeaderSize + metaSize]byte
		if at+int64(len(buf)) > size {
			return meta{}, nil
		}
		if _, err := r.ReadAt(buf[:], at); err != nil {
			return meta{}, fmt.Errorf("read meta page: %w", err)
		}
		m, magic, ok := parseMeta(buf[pageHeaderSize:])
		seen = seen || magic
		if ok && (at == 0 || at == m.pageSize) && (!found || m.txid > best.txid) {
			best, found = m, true
		}
		return m, nil
	}
	first, err := consider(0)
	if err != nil {
		return meta{}, seen, err
	}
	if found {
		if _, err := consider(first.pageSize); err != nil {
			return meta{}, seen, err
		}
	} else {
		// The page size is known only from a meta page, so the second one is searched for.
		for at := int64(minPageSize); at <= maxPageSize; at *= 2 {
			if _, err := consider(at); err != nil {
				return meta{}, seen, err
			}
		}
	}
	if !found {
		return meta{}, seen, errors.New("no valid meta page")
	}
	return best, true, nil
}

func parseMeta(b []byte) (m meta, magic, valid bool) {
	magic = le.Uint32(b) == boltMagic
	if !magic || le.Uint32(b[4:]) != boltVersion {
		return meta{}, magic, false
	}
	sum := fnv.New64a()
	sum.Write(b[:56])
	if sum.Sum64() != le.Uint64(b[56:]) {
		return meta{}, magic, false
	}
	m = meta{
		pageSize: int64(le.Uint32(b[8:])),
		root:     le.Uint64(b[16:]),
		freelist: le.Uint64(b[32:]),
		pages:    le.Uint64(b[40:]),
		txid:     le.Uint64(b[48:]),
	}
	ok := m.pageSize >= minPageSize && m.pageSize <= maxPageSize && m.pageSize&(m.pageSize-1) == 0 &&
		m.pages >= 3 && m.pages < 1<<38 // so that Size() cannot overflow
	return m, magic, ok
}

// page is one logical page: a page with its overflow pages.
type page struct {
	id    uint64
	flags uint16
	count int
	data  []byte
}

// File reads the pages of a bbolt file and remembers which it has read.
type File struct {
	meta
	r                io.ReaderAt
	seen             Bitmap
	used             uint64
	oneMeta, written bool
	// buffers holds one buffer per level of the tree, since a branch page is needed until its children are done.
	buffers [][]byte
}

// Open prepares reading a database of which size bytes can be read.
func Open(r io.ReaderAt, size int64) (*File, error) {
	m, err := newestMeta(r, size)
	if err != nil {
		return nil, err
	}
	if m.Size() > size {
		return nil, fmt.Errorf("%w: the database has %d bytes, the file only %d of them", ErrTruncated, m.Size(), size)
	}
	d := &File{meta: m, r: r}
	d.Reset()
	if err := d.compareMetas(); err != nil {
		return nil, err
	}
	return d, nil
}

// newestMeta is readMeta with errors that say what the file is.
func newestMeta(r io.ReaderAt, size int64) (meta, error) {
	m, seen, err := readMeta(r, size)
	switch {
	case err != nil && !seen:
		return meta{}, fmt.Errorf("%w: %w", ErrNotDatabase, err)
	case err != nil:
		return meta{}, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return m, nil
}

// Claimed is how many bytes a database has by its header, of which size bytes can be read.
func Claimed(r io.ReaderAt, size int64) (int64, error) {
	m, err := newestMeta(r, size)
	return m.Size(), err
}

// PageSize is that of a page without overflow, in bytes.
func (d *File) PageSize() int64 { return d.pageSize }

// OneMeta says that one of the two meta pages is damaged.
func (d *File) OneMeta() bool { return d.oneMeta }

// Written says that the database was written to after a snapshot was taken, or never came out of etcd as one.
func (d *File) Written() bool { return d.written }

// InUse is how many bytes the pages have that were read since Reset, with the header's.
func (d *File) InUse() int64 { return int64(d.used) * d.pageSize }

// compareMetas looks at what the two meta pages say together. etcd writes a snapshot with two that differ in the number of
// their transaction only; every transaction since has replaced one of them.
func (d *File) compareMetas() error {
	var both [2]meta
	for i := range both {
		var buf [metaSize]byte
		at := int64(i)*d.pageSize + pageHeaderSize
		if _, err := d.r.ReadAt(buf[:], at); err != nil {
			return fmt.Errorf("read meta page: %w", err)
		}
		m, _, ok := parseMeta(buf[:])
		if !ok || m.pageSize != d.pageSize {
			d.oneMeta = true
			return nil
		}
		both[i] = m
	}
	asSent := both[0]
	asSent.txid--
	d.written = both[1] != asSent
	return nil
}

// reset forgets which pages were read, for another pass.
func (d *File) Reset() {
	d.seen = NewBitmap(d.pages)
	d.seen.Set(0)
	d.seen.Set(1)
	d.used = 2
}

// read reads the page with its overflow pages and marks them as read; a page is part of one tree only once. The data
// stays valid until the next read at the same depth.
func (d *File) read(id uint64, depth int) (page, error) {
	if depth > maxDepth {
		return page{}, Corrupt("page %d: tree is deeper than %d levels", id, maxDepth)
	}
	if id < 2 || id >= d.pages {
		return page{}, Corrupt("page %d: outside of the database's %d pages", id, d.pages)
	}
	buf := d.buffer(depth, int(d.pageSize))
	at := int64(id) * d.pageSize
	if err := d.readAt(buf, at); err != nil {
		return page{}, fmt.Errorf("read page %d: %w", id, err)
	}
	p := page{id: le.Uint64(buf), flags: le.Uint16(buf[8:]), count: int(le.Uint16(buf[10:])), data: buf}
	overflow := uint64(le.Uint32(buf[12:]))
	if p.id != id {
		return page{}, Corrupt("page %d: calls itself page %d", id, p.id)
	}
	if overflow >= d.pages-id {
		return page{}, Corrupt("page %d: its %d overflow pages are outside of the database", id, overflow)
	}
	for i := id; i <= id+overflow; i++ {
		if !d.seen.Set(i) {
			return page{}, Corrupt("page %d: used twice", i)
		}
	}
	d.used += overflow + 1
	if overflow > 0 {
		total := int64(overflow+1) * d.pageSize
		if total > maxPageBytes || p.flags == branchPage && total > maxBranchBytes {
			return page{}, Corrupt("page %d: %d bytes long", id, total)
		}
		buf = d.buffer(depth, int(total))
		if err := d.readAt(buf[d.pageSize:], at+d.pageSize); err != nil {
			return page{}, fmt.Errorf("read page %d: %w", id, err)
		}
		p.data = buf
	}
	return p, nil
}

// readAt turns the end of the file into ErrTruncated: the size was checked, so the file has become shorter since.
func (d *File) readAt(buf []byte, at int64) error {
	_, err := d.r.ReadAt(buf, at)
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: while it was read", ErrTruncated)
	}
	return err
}

// buffer returns the buffer of a level of the tree with n bytes, keeping what is in it.
func (d *File) buffer(depth, n int) []byte {
	for len(d.buffers) <= depth {
		d.buffers = append(d.buffers, nil)
	}
	if cap(d.buffers[depth]) < n {
		grown := make([]byte, n)
		copy(grown, d.buffers[depth])
		d.buffers[depth] = grown
	}
	d.buffers[depth] = d.buffers[depth][:n]
	return d.buffers[depth]
}

// Bitmap is a set of page ids, or of other small numbers.
type Bitmap []uint64

// NewBitmap is an empty set of numbers below n.
func NewBitmap(n uint64) Bitmap { return make(Bitmap, (n+63)/64) }

// Set adds i and says whether it was not there yet.
func (b Bitmap) Set(i uint64) bool {
	bit := uint64(1) << (i % 64)
	if b[i/64]&bit != 0 {
		return false
	}
	b[i/64] |= bit
	return true
}

// Has says whether i is in the set.
func (b Bitmap) Has(i uint64) bool { return b[i/64]&(1<<(i%64)) != 0 }
