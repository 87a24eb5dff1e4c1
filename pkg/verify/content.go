package verify

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"sort"
	"strconv"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/boltfile"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/mvcc"
)

// maxPrefixes bounds how many control planes in one etcd are listed.
const maxPrefixes = 256

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// content collects a Report from a database, in one pass.
type content struct {
	report *Report
	crc    uint32
	keyCRC uint32
	live   *mvcc.LiveSet
	inKeys bool
	name   string
	kube   map[string]Kubernetes
	// objects counts the keys that exist by their prefix and kind; nil once there are too many kinds.
	objects   map[string]int64
	encrypted encryptions
	bumped    bool
	// newer holds the keys that have revisions above the compact revision; nil leaves HashKV out.
	newer  *mvcc.LiveSet
	keep   keeper
	leases map[int64]bool // that the snapshot has
	each   func(kv mvcc.KeyValue, deleted bool)
}

func (c *content) Bucket(name []byte) (bool, error) {
	c.crc = crc32.Update(c.crc, castagnoli, name)
	c.name = string(name)
	c.inKeys = c.name == "key"
	if c.inKeys {
		c.keyCRC = crc32.Update(0, castagnoli, name)
	}
	return true, nil
}

func (c *content) Entry(key, value []byte) error {
	c.crc = crc32.Update(c.crc, castagnoli, key)
	c.crc = crc32.Update(c.crc, castagnoli, value)
	c.report.Entries++
	if c.inKeys {
		return c.keyEntry(key, value)
	}
	switch c.name {
	case "cluster":
		if string(key) == "clusterVersion" {
			c.report.ClusterVersion = string(value)
		}
	case "auth":
		if string(key) == "authEnabled" {
			c.report.AuthEnabled = bytes.Equal(value, []byte{1})
		}
	case "members":
		c.memberEntry(string(key), value)
	case "lease":
		if c.keep.wants != nil && len(key) == 8 {
			c.leases[int64(binary.BigEndian.Uint64(key))] = true
		}
	case "alarm":
		c.alarmEntry(key)
	case "authUsers":
		c.userEntry(string(key), value)
	}
	return nil
}

func (c *content) keyEntry(key, value []byte) error {
	rev, kv, err := parseEntry(key, value)
	if err != nil {
		return err
	}
	r := c.report
	r.TotalKeys++
	r.Revision = rev.Main
	if rev.Tombstone {
		r.Tombstones++
	}
	if c.newer != nil && c.inHashKV(rev, kv.Key) {
		c.keyCRC = crc32.Update(c.keyCRC, castagnoli, key)
		c.keyCRC = crc32.Update(c.keyCRC, castagnoli, value)
	}
	if len(kv.Key) == 0 {
		// What `etcdutl snapshot restore --bump-revision` leaves behind: a revision without a key, which no client
		// can read.
		c.bumped = true
		return nil
	}
	c.count(kv.Key, c.live.Put(kv.Key, !rev.Tombstone))
	c.keep.take(kv, rev.Tombstone)
	if c.each != nil {
		c.each(kv, rev.Tombstone)
	}
	c.encrypted.put(kv.Key, kv.Value, rev.Tombstone)
	if bytes.HasSuffix(kv.Key, kubeSystemKey) {
		c.kubeSystem(string(kv.Key[:len(kv.Key)-len(kubeSystemKey)]), kv.Value, rev.Tombstone)
	}
	return nil
}

// inHashKV says whether an entry is part of HashKV. Of what is compacted, a member's hash covers only what its index
// still points to at the revision asked for: entries that were written over or deleted since are left out. So are
// deletions at the compact revision itself: whether a compaction keeps those depends on the version of etcd.
func (c *content) inHashKV(rev mvcc.Revision, key []byte) bool {
	return rev.Main > c.report.CompactRevision || !rev.Tombstone && !c.newer.Has(key)
}

// parseEntry decodes an entry of the key bucket.
func parseEntry(key, value []byte) (mvcc.Revision, mvcc.KeyValue, error) {
	rev, kv, err := mvcc.DecodeEntry(key, value)
	if err != nil {
		err = boltfile.Corrupt("key bucket: %v", err)
	}
	return rev, kv, err
}

func (c *content) kubeSystem(prefix string, value []byte, deleted bool) {
	if deleted {
		delete(c.kube, prefix)
		return
	}
	uid, encrypted, ok := namespaceUID(value)
	if _, known := c.kube[prefix]; !ok || (!known && len(c.kube) >= maxPrefixes) {
		return
	}
	c.kube[prefix] = Kubernetes{Prefix: prefix, KubeSystemUID: uid, Encrypted: encrypted}
}

// metaReader reads the bucket of metadata, before everything else: what to do with a deletion depends on the compact
// revision.
type metaReader struct{ report *Report }

func (m *metaReader) Bucket(name []byte) (bool, error) { return string(name) == "meta", nil }

func (m *metaReader) Entry(key, value []byte) error {
	var target *int64
	switch string(key) {
	case "finishedCompactRev":
		target = &m.report.CompactRevision
	case "scheduledCompactRev":
		target = &m.report.ScheduledCompactRevision
	case "storageVersion":
		m.report.StorageVersion = string(value)
		return nil
	default:
		return nil
	}
	rev, err := mvcc.ParseRevision(value)
	if err != nil {
		return boltfile.Corrupt("meta bucket: %s: %v", key, err)
	}
	*target = rev.Main
	return nil
}

func (c *content) finish() {
	r := c.report
	r.Hash = c.crc
	if r.TotalKeys > 0 && r.ScheduledCompactRevision == r.CompactRevision && c.newer != nil {
		r.HashKV = c.keyCRC
	}
	for _, k := range c.kube {
		r.Kubernetes = append(r.Kubernetes, k)
	}
	sort.Slice(r.Kubernetes, func(i, j int) bool { return r.Kubernetes[i].Prefix < r.Kubernetes[j].Prefix })
	for _, k := range r.Kubernetes {
		if k.Prefix == "/registry" || len(r.Kubernetes) == 1 {
			r.KubeSystemUID = k.KubeSystemUID
		}
	}
	if c.bumped {
		r.Notes = append(r.Notes, "holds the mark of a restore that bumped the revision; etcdutl 3.6 and later count it as one key more")
	}
	r.Kept = c.keep.kept(c.leases)
	r.Objects, r.Encrypted = c.objectsOf(), c.encrypted.list(r.Kubernetes)
	r.tellAlarms()
	if r.TotalKeys == 0 {
		r.Notes = append(r.Notes, "holds no keys")
	}
}

// newerReader collects the keys with revisions above the compact revision.
type newerReader struct {
	compact int64
	keys    *mvcc.LiveSet
}

func (n *newerReader) Bucket(name []byte) (bool, error) { return string(name) == "key", nil }

func (n *newerReader) Entry(key, value []byte) error {
	if rev, err := mvcc.ParseRevision(key); err != nil || rev.Main <= n.compact {
		return nil // the pass over everything says what is wrong
	}
	if kv, err := mvcc.ParseKeyValue(value); err == nil {
		n.keys.Put(kv.Key, true)
	}
	return nil
}

// readNewer returns them, or nil where they are too many to remember. Only where something was compacted does it take
// another pass.
func readNewer(ctx context.Context, db *boltfile.File, compact int64, maxSlots int) (*mvcc.LiveSet, error) {
	n := &newerReader{compact: compact, keys: mvcc.NewLiveSet(mvcc.KeyClass{}, maxSlots)}
	if compact > 0 {
		if err := db.Walk(ctx, n, nil); err != nil {
			return nil, err
		}
		db.Reset()
	}
	if len(n.keys.Later) > 0 {
		return nil, nil
	}
	return n.keys, nil
}

// readContent fills the report from the database in one pass, and more only where something was compacted and the
// hash that members answer is wanted, or where very many keys exist (see mvcc.LiveSet).
func readContent(ctx context.Context, db *boltfile.File, r *Report, maxSlots int, hashKV bool, o Options, progress func(int64)) error {
	if err := db.Walk(ctx, &metaReader{report: r}, nil); err != nil {
		return err
	}
	db.Reset()
	c := &content{report: r, live: mvcc.NewLiveSet(mvcc.KeyClass{}, maxSlots), kube: map[string]Kubernetes{}, objects: map[string]int64{}, leases: map[int64]bool{}}
	c.each = o.Each
	if o.Keep != nil {
		c.keep = keeper{wants: o.Keep, found: map[string]held{}}
	}
	if hashKV {
		var err error
		if c.newer, err = readNewer(ctx, db, r.CompactRevision, maxSlots/2); err != nil {
			return err
		}
	}
	if err := db.Walk(ctx, c, progress); err != nil {
		return err
	}
	if err := db.CheckFree(); err != nil {
		return err
	}
	if r.MetaDamaged = db.OneMeta(); db.OneMeta() {
		r.Notes = append(r.Notes, NoteMeta)
	}
	r.DBSize = db.Size()
	r.InUse = db.InUse()
	c.finish()

	r.LiveKeys = int64(c.live.Len())
	later := c.live.Later
	c.live = nil
	for ; len(later) > 0; later = later[1:] {
		recount := &liveCounter{live: mvcc.NewLiveSet(later[0], maxSlots)}
		db.Reset()
		if err := db.Walk(ctx, recount, nil); err != nil {
			return fmt.Errorf("count keys again: %w", err)
		}
		r.LiveKeys += int64(recount.live.Len())
		later = append(later, recount.live.Later...)
	}
	if r.LiveKeys == 0 && r.CompactRevision > 0 {
		r.HashKV = 0 // a member whose index points to nothing hashes what is compacted too
	}
	return nil
}

// liveCounter counts the existing keys of one class.
type liveCounter struct{ live *mvcc.LiveSet }

func (l *liveCounter) Bucket(name []byte) (bool, error) { return string(name) == "key", nil }

func (l *liveCounter) Entry(key, value []byte) error {
	rev, kv, err := parseEntry(key, value)
	if err == nil && len(kv.Key) > 0 {
		l.live.Put(kv.Key, !rev.Tombstone)
	}
	return err
}

func formatInt(n int64) string { return strconv.FormatInt(n, 10) }
