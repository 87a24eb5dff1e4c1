// Package catalog says which snapshots a store holds, and which of them need not be kept. It reads names and sidecars only, and
// whatever it does not know is none of its business.
package catalog

import (
	"cmp"
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/snapshot"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/stored"
)

// readers is how many sidecars are read at the same time.
const readers = 32

// ours is how the names of our snapshots end. One without a sidecar may be on its way, or have been left.
var ours = regexp.MustCompile(`_\d{8}T\d{6}Z\.db(\.zst)?(\.age)?$`)

// snapshotName is how the names of snapshots end, and of what lies beside them.
var snapshotName = regexp.MustCompile(`\.db(\.zst)?(\.age)?(\.json)?$`)

// Named tells whether a name can be one of a snapshot: what is called otherwise belongs to somebody else.
func Named(name string) bool { return snapshotName.MatchString(name) }

// Entry is a snapshot in a store, and its stable JSON.
type Entry struct {
	Name string `json:"name"` // in the store
	URL  string `json:"url"`
	Size int64  `json:"size"` // bytes, as stored
	// Changed is when the store got it.
	Changed time.Time `json:"changed"`
	// Snapshot is its sidecar; nil: it is incomplete.
	Snapshot *snapshot.Sidecar `json:"snapshot,omitempty"`
	// Version is the store's of the object.
	Version string `json:"-"`
	// Wrong says why it must not be used: it is incomplete, or not what was written.
	Wrong string `json:"wrong,omitempty"`
}

// Proven says that it is whole, and that its content was proven when it was taken.
func (e Entry) Proven() bool {
	return e.Wrong == "" && (e.Snapshot.Proof == snapshot.ProofFull || e.Snapshot.Proof == snapshot.ProofStream)
}

// Plane identifies the control plane: by the UID of its kube-system namespace, which survives restores; where that is not known, by
// etcd's own id of the cluster, which does not.
func (e Entry) Plane() string {
	switch {
	case e.Snapshot == nil:
		return ""
	case e.Snapshot.Cluster.KubeSystemUID != "":
		return e.Snapshot.Cluster.KubeSystemUID
	}
	return "etcd cluster " + e.Snapshot.Cluster.ClusterID
}

// List finds all snapshots below a prefix, the newest first.
func List(ctx context.Context, s store.Store, prefix string) ([]Entry, error) {
	objects, sidecars := []store.Info{}, map[string]bool{}
	if err := s.List(ctx, prefix, func(i store.Info) error {
		if name, ok := strings.CutSuffix(i.Name, snapshot.SidecarPath("")); ok {
			sidecars[name] = true
		} else {
			objects = append(objects, i)
		}
		return nil
	}); err != nil {
		return nil, err
	}
	var mu sync.Mutex
	var out []Entry
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(readers)
	for _, i := range objects {
		if !sidecars[i.Name] && !ours.MatchString(i.Name) {
			continue
		}
		g.Go(func() error {
			e, err := read(gctx, s, i, sidecars[i.Name])
			if err != nil || e == nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			out = append(out, *e)
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	slices.SortFunc(out, func(a, b Entry) int {
		return cmp.Or(b.time().Compare(a.time()), strings.Compare(a.Name, b.Name))
	})
	return out, nil
}

// time is when it was taken, or where that is not known when the store got it.
func (e Entry) time() time.Time {
	if e.Snapshot != nil {
		return e.Snapshot.Created
	}
	return e.Changed
}

// read is nil for what is not ours.
func read(ctx context.Context, s store.Store, i store.Info, has bool) (*Entry, error) {
	e := &Entry{Name: i.Name, URL: s.URL(i.Name), Size: i.Size, Changed: i.Changed, Version: i.Version}
	if has {
		side, err := stored.Sidecar(ctx, s, i.Name)
		if errors.Is(err, snapshot.ErrInvalidSidecar) && !ours.MatchString(i.Name) {
			return nil, nil
		}
		if err != nil && !errors.Is(err, snapshot.ErrInvalidSidecar) {
			return nil, err
		}
		e.Snapshot = side
	}
	switch {
	case e.Snapshot == nil:
		e.Wrong = "incomplete"
	case e.Snapshot.Size != e.Size:
		e.Wrong = "not what was written"
	}
	return e, nil
}

// Newest is the newest proven one that fits; nil where there is none.
func Newest(all []Entry, fits func(Entry) bool) *Entry {
	for i := range all { // they are sorted
		if all[i].Proven() && fits(all[i]) {
			return &all[i]
		}
	}
	return nil
}
