package verify

import (
	"context"
	"encoding/binary"
	"io"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/boltfile"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/mvcc"
)

// Peeked is what a few pages of a database tell of it.
type Peeked struct {
	// Revision is the highest of any key, and CompactRevision where a compaction was begun or has ended: reads at or
	// below it are refused. etcd writes its log first, so that after a crash the last moments may be in the log only.
	Revision, CompactRevision int64
	ConsistentIndex           uint64
	Members                   []Member
	ClusterVersion            string
}

// Peek reads the little that tells where a database stands: its metadata, its members and its last key, not the
// gigabytes between. What it reads it trusts as little as File does; what it does not read may be anything. The caller
// sees to it that nobody writes.
func Peek(ctx context.Context, r io.ReaderAt, size int64) (*Peeked, error) {
	db, err := boltfile.Open(r, size)
	if err != nil {
		return nil, err
	}
	p := &peeker{report: &Report{}}
	var last mvcc.Revision
	err = db.Buckets(ctx, nil, func(b boltfile.Bucket) error {
		if string(b.Name) != "key" {
			return b.Visit(p)
		}
		key, err := b.LastKey()
		if err != nil || key == nil {
			return err
		}
		if last, err = mvcc.ParseRevision(key); err != nil {
			return boltfile.Corrupt("key bucket: %v", err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	compact := max(p.report.CompactRevision, p.report.ScheduledCompactRevision)
	return &Peeked{
		// An empty etcd is at revision 1, and one whose last keys were deleted and compacted is where the compaction was.
		Revision: max(last.Main, compact, 1), CompactRevision: compact,
		ConsistentIndex: p.index, Members: p.report.Members, ClusterVersion: p.report.ClusterVersion,
	}, nil
}

// peeker takes what it wants of the small buckets.
type peeker struct {
	report *Report
	index  uint64
	take   func(key, value []byte) error
}

func (p *peeker) Bucket(name []byte) (bool, error) {
	c := content{report: p.report, name: string(name)}
	switch c.name {
	case "meta":
		p.take = p.metaEntry
	case "cluster":
		p.take = func(key, value []byte) error {
			if string(key) == "clusterVersion" {
				p.report.ClusterVersion = string(value)
			}
			return nil
		}
	case "members":
		p.take = func(key, value []byte) error {
			c.memberEntry(string(key), value)
			return nil
		}
	default:
		return false, nil
	}
	return true, nil
}

func (p *peeker) Entry(key, value []byte) error { return p.take(key, value) }

func (p *peeker) metaEntry(key, value []byte) error {
	if string(key) == "consistent_index" {
		if len(value) != 8 {
			return boltfile.Corrupt("meta bucket: %s has %d bytes", key, len(value))
		}
		p.index = binary.BigEndian.Uint64(value)
		return nil
	}
	return (&metaReader{report: p.report}).Entry(key, value)
}
