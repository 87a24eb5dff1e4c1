package inside

import (
	"cmp"
	"slices"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/mvcc"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/snapshot"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify"
)

// maxSized bounds of how many keys the size is remembered: about 400 MiB. No Kubernetes has as many.
const maxSized = 8 << 20

// Space is what takes the room in a snapshot. As JSON it is stable: fields are only ever added.
type Space struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	File       string `json:"file"`
	// DBSize is that of the database in bytes, of which Free are in pages that hold nothing.
	DBSize int64 `json:"dbSize"`
	Free   int64 `json:"dbSizeFree"`
	// Total is the sum of all Usage.
	Total Usage   `json:"total"`
	Usage []Usage `json:"usage"`
}

// Usage is what the objects of one kind take in one namespace, or what was summed up: then Kind or Namespace are empty.
type Usage struct {
	// Kind is as keys have it: pods, services/specs, stable.example.com/crontabs; empty for keys of no object.
	Kind      string `json:"kind,omitempty"`
	Namespace string `json:"namespace,omitempty"`
	// Objects exist, and their keys and values have so many Bytes.
	Objects int64 `json:"objects"`
	Bytes   int64 `json:"bytes"`
	// Revisions are those that were written over or deleted since, with so many HistoryBytes: a compaction gives them back.
	Revisions    int64 `json:"historyRevisions"`
	HistoryBytes int64 `json:"historyBytes"`
}

func (u *Usage) add(o Usage) {
	u.Objects, u.Bytes, u.Revisions, u.HistoryBytes = u.Objects+o.Objects, u.Bytes+o.Bytes, u.Revisions+o.Revisions, u.HistoryBytes+o.HistoryBytes
}

// Sizes adds up what every key takes, while a snapshot is verified: its Each goes into verify.Options.
type Sizes struct {
	prefix string
	now    map[mvcc.KeyHash]sized
	index  map[Usage]uint32 // with nothing but kind and namespace
	usage  []Usage
	full   bool
}

type sized struct{ usage, bytes uint32 }

// NewSizes makes one; prefix is that of the control plane's keys.
func NewSizes(prefix string) *Sizes {
	return &Sizes{prefix: prefix, now: map[mvcc.KeyHash]sized{}, index: map[Usage]uint32{}}
}

// Each is told of a revision of a key.
func (s *Sizes) Each(kv mvcc.KeyValue, deleted bool) {
	size := uint32(len(kv.Key) + len(kv.Value))
	i := s.find(kv.Key)
	u := &s.usage[i]
	h := mvcc.HashKey(kv.Key)
	if old, ok := s.now[h]; ok {
		u.Objects--
		u.Bytes -= int64(old.bytes)
		u.Revisions++
		u.HistoryBytes += int64(old.bytes)
		delete(s.now, h)
	}
	if deleted {
		u.Revisions++
		u.HistoryBytes += int64(size)
		return
	}
	u.Objects++
	u.Bytes += int64(size)
	if len(s.now) >= maxSized {
		s.full = true
		return
	}
	s.now[h] = sized{i, size}
}

func (s *Sizes) find(key []byte) uint32 {
	var u Usage
	u.Kind, u.Namespace = verify.ObjectOf(key, s.prefix)
	i, ok := s.index[u]
	if !ok {
		i = uint32(len(s.usage))
		s.index[u], s.usage = i, append(s.usage, u)
	}
	return i
}

// By is what a Space is summed up by.
type By string

// What there is.
const (
	ByKind      By = "kind"
	ByNamespace By = "namespace"
	ByBoth      By = "both"
)

// Space sums up, the largest first; namespace, where it is not empty, leaves out all others. ok is false where the keys were too many
// to tell what of them is history.
func (s *Sizes) Space(r *verify.Report, by By, namespace string) (_ *Space, ok bool) {
	out := &Space{APIVersion: snapshot.APIVersion, Kind: "SnapshotSpace", File: r.File, DBSize: r.DBSize, Free: r.DBSize - r.InUse, Usage: []Usage{}}
	at := map[Usage]int{}
	for _, u := range s.usage {
		if namespace != "" && u.Namespace != namespace {
			continue
		}
		out.Total.add(u)
		var name Usage
		if by != ByNamespace {
			name.Kind = u.Kind
		}
		if by != ByKind {
			name.Namespace = u.Namespace
		}
		i, known := at[name]
		if !known {
			i = len(out.Usage)
			at[name], out.Usage = i, append(out.Usage, name)
		}
		out.Usage[i].add(u)
	}
	slices.SortFunc(out.Usage, func(a, b Usage) int {
		return cmp.Or(cmp.Compare(b.Bytes+b.HistoryBytes, a.Bytes+a.HistoryBytes), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Namespace, b.Namespace))
	})
	return out, !s.full
}
