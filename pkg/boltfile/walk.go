package boltfile

import (
	"bytes"
	"context"
)

// Visitor receives what a database holds, in bbolt's order: bucket by bucket, key by key. The slices are valid only
// during the call.
type Visitor interface {
	Bucket(name []byte) (wanted bool, err error)
	Entry(key, value []byte) error
}

// Walk visits every wanted bucket once, checking what bbolt's own check does: every page is of the right
// type, in bounds and used once, and keys ascend, within pages and across the tree. progress, if set, is told the bytes of
// each page that was read.
func (d *File) Walk(ctx context.Context, v Visitor, progress func(int64)) error {
	return d.Buckets(ctx, progress, func(b Bucket) error { return b.Visit(v) })
}

// Buckets calls f for each bucket in their order. What f does not look into is not read.
func (d *File) Buckets(ctx context.Context, progress func(int64), f func(Bucket) error) error {
	if progress == nil {
		progress = func(int64) {}
	}
	w := &walker{ctx: ctx, db: d, progress: progress}
	t := tree{w: w, leaf: func(flags uint32, name, value []byte, depth int) error {
		return f(Bucket{Name: name, w: w, flags: flags, header: value, depth: depth})
	}}
	return t.subtree(d.root, nil, nil, 0)
}

// walker is what all trees of one walk have in common.
type walker struct {
	ctx      context.Context
	db       *File
	progress func(int64)
}

// Bucket is one of a database, during the call that it is given to. It can be read once.
type Bucket struct {
	Name   []byte
	w      *walker
	flags  uint32
	header []byte
	depth  int
}

// Visit shows the bucket to v.
func (b Bucket) Visit(v Visitor) error {
	if b.flags&1 == 0 {
		return Corrupt("%q is not a bucket", b.Name)
	}
	if len(b.header) < 16 {
		return Corrupt("bucket %q: header is %d bytes long", b.Name, len(b.header))
	}
	wanted, err := v.Bucket(b.Name)
	if err != nil || !wanted {
		return err
	}
	t := tree{w: b.w, leaf: func(flags uint32, key, value []byte, _ int) error {
		if flags != 0 {
			return Corrupt("bucket %q: entry %q has flags %#x", b.Name, key, flags)
		}
		return v.Entry(key, value)
	}}
	root := le.Uint64(b.header)
	if root != 0 {
		return t.subtree(root, nil, nil, b.depth+1)
	}
	// A small bucket is a page inside its own entry.
	inline := b.header[16:]
	if len(inline) < pageHeaderSize {
		return Corrupt("bucket %q: inline page is %d bytes long", b.Name, len(inline))
	}
	p := page{flags: le.Uint16(inline[8:]), count: int(le.Uint16(inline[10:])), data: inline}
	if p.flags != leafPage {
		return Corrupt("bucket %q: inline page has flags %#x", b.Name, p.flags)
	}
	return t.leafPage(p, nil, nil, b.depth)
}

// LastKey returns the bucket's last key, for which it reads one page of each level; nil when it is empty. It is valid until the
// next page is read.
func (b Bucket) LastKey() ([]byte, error) {
	if b.flags&1 == 0 || len(b.header) < 16 {
		return nil, Corrupt("%q is not a bucket", b.Name)
	}
	id := le.Uint64(b.header)
	if id == 0 { // a small bucket is a page inside its own entry
		inline := b.header[16:]
		if len(inline) < pageHeaderSize || le.Uint16(inline[8:]) != leafPage {
			return nil, Corrupt("bucket %q: its inline page is none", b.Name)
		}
		return page{count: int(le.Uint16(inline[10:])), data: inline}.lastLeafKey()
	}
	for depth := b.depth + 1; ; depth++ {
		p, err := b.w.db.read(id, depth)
		if err != nil {
			return nil, err
		}
		switch {
		case p.flags == leafPage:
			return p.lastLeafKey()
		case p.flags != branchPage || p.count == 0:
			return nil, Corrupt("page %d: has type %#x and %d children in a tree", id, p.flags, p.count)
		}
		if _, id, err = p.branchElement(p.count - 1); err != nil {
			return nil, err
		}
	}
}

// tree is the walk through one bucket's tree.
type tree struct {
	w    *walker
	leaf func(flags uint32, key, value []byte, depth int) error
	// last is the key before, across pages.
	last    []byte
	hasLast bool
}

// subtree walks what hangs below a page, whose keys must be ≥ least and, where there is one, < limit.
func (t *tree) subtree(id uint64, least, limit []byte, depth int) error {
	if err := t.w.ctx.Err(); err != nil {
		return err
	}
	p, err := t.w.db.read(id, depth)
	if err != nil {
		return err
	}
	t.w.progress(int64(len(p.data)))
	switch p.flags {
	case leafPage:
		return t.leafPage(p, least, limit, depth)
	case branchPage:
		return t.branchPage(p, least, limit, depth)
	}
	return Corrupt("page %d: has type %#x in a tree", id, p.flags)
}

func (t *tree) branchPage(p page, least, limit []byte, depth int) error {
	if p.count == 0 {
		return Corrupt("page %d: branch without children", p.id)
	}
	for i := range p.count {
		key, child, err := p.branchElement(i)
		if err != nil {
			return err
		}
		if bytes.Compare(key, least) < 0 {
			return Corrupt("page %d: key %d is below its predecessor", p.id, i)
		}
		childLimit := limit
		if i+1 < p.count {
			if childLimit, _, err = p.branchElement(i + 1); err != nil {
				return err
			}
			if limit != nil && bytes.Compare(childLimit, limit) >= 0 {
				return Corrupt("page %d: key %d is above its parent's", p.id, i+1)
			}
			if bytes.Compare(key, childLimit) >= 0 {
				return Corrupt("page %d: keys %d and %d do not ascend", p.id, i, i+1)
			}
		}
		if err := t.subtree(child, key, childLimit, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (t *tree) leafPage(p page, least, limit []byte, depth int) error {
	var key, value []byte
	for i := range p.count {
		var flags uint32
		var err error
		previous := key
		if flags, key, value, err = p.leafElement(i); err != nil {
			return err
		}
		if i == 0 {
			if t.hasLast && bytes.Compare(key, t.last) <= 0 || bytes.Compare(key, least) < 0 {
				return Corrupt("page %d: its first key is below those of the page before", p.id)
			}
		} else if bytes.Compare(key, previous) <= 0 {
			return Corrupt("page %d: keys %d and %d do not ascend", p.id, i-1, i)
		}
		if err := t.leaf(flags, key, value, depth); err != nil {
			return err
		}
	}
	if p.count > 0 {
		if limit != nil && bytes.Compare(key, limit) >= 0 {
			return Corrupt("page %d: its last key is above the next page's", p.id)
		}
		t.last, t.hasLast = append(t.last[:0], key...), true
	}
	return nil
}

// branchElement returns the first key of a child and its page.
func (p page) branchElement(i int) (key []byte, child uint64, err error) {
	at := pageHeaderSize + i*elementSize
	if at+elementSize > len(p.data) {
		return nil, 0, Corrupt("page %d: element %d is outside of the page", p.id, i)
	}
	e := p.data[at:]
	key, err = p.slice(i, at, uint64(le.Uint32(e)), uint64(le.Uint32(e[4:])))
	return key, le.Uint64(e[8:]), err
}

func (p page) leafElement(i int) (flags uint32, key, value []byte, err error) {
	at := pageHeaderSize + i*elementSize
	if at+elementSize > len(p.data) {
		return 0, nil, nil, Corrupt("page %d: element %d is outside of the page", p.id, i)
	}
	e := p.data[at:]
	pos, ksize, vsize := uint64(le.Uint32(e[4:])), uint64(le.Uint32(e[8:])), uint64(le.Uint32(e[12:]))
	if key, err = p.slice(i, at, pos, ksize); err != nil {
		return 0, nil, nil, err
	}
	if len(key) == 0 {
		return 0, nil, nil, Corrupt("page %d: element %d has no key", p.id, i)
	}
	if vsize > uint64(len(p.data)) {
		return 0, nil, nil, Corrupt("page %d: element %d has a value of %d bytes", p.id, i, vsize)
	}
	start := uint64(at) + pos + ksize
	if start+vsize > uint64(len(p.data)) {
		return 0, nil, nil, Corrupt("page %d: element %d ends outside of the page", p.id, i)
	}
	return le.Uint32(e), key, p.data[start : start+vsize], nil
}

func (p page) lastLeafKey() ([]byte, error) {
	if p.count == 0 {
		return nil, nil
	}
	_, key, _, err := p.leafElement(p.count - 1)
	return key, err
}

// slice returns the n bytes at pos, counted from the element at the offset at; they come behind all elements.
func (p page) slice(i, at int, pos, n uint64) ([]byte, error) {
	start := uint64(at) + pos
	if n > maxKeySize || start < uint64(pageHeaderSize+p.count*elementSize) || start+n > uint64(len(p.data)) {
		return nil, Corrupt("page %d: element %d points outside of the page", p.id, i)
	}
	return p.data[start : start+n], nil
}

// CheckFree checks, after a walk, that the pages not used by any tree are those on the free list, if the database has
// one: etcd keeps it in memory only, and then every page that was not reached is free by definition.
func (d *File) CheckFree() error {
	if d.freelist == noFreelist {
		return nil
	}
	p, err := d.read(d.freelist, 0)
	if err != nil {
		return err
	}
	if p.flags != freelistPage {
		return Corrupt("page %d: has type %#x, not that of a free list", p.id, p.flags)
	}
	ids := p.data[pageHeaderSize:]
	count := uint64(p.count)
	if count == 0xffff { // too many for the header: the first entry is their number
		count, ids = le.Uint64(ids), ids[8:]
	}
	if count > uint64(len(ids)/8) {
		return Corrupt("page %d: %d free pages do not fit into the free list", p.id, count)
	}
	for free := ids[:count*8]; len(free) > 0; free = free[8:] {
		id := le.Uint64(free)
		if id < 2 || id >= d.pages {
			return Corrupt("page %d: free, but outside of the database", id)
		}
		if !d.seen.Set(id) {
			return Corrupt("page %d: free and in use, or free twice", id)
		}
	}
	for id := range d.pages {
		if !d.seen.Has(id) {
			return Corrupt("page %d: neither in use nor free", id)
		}
	}
	return nil
}
