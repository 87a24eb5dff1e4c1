package catalog

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/snapshot"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
)

const sum = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// put stores a snapshot of n bytes and its sidecar.
func put(t *testing.T, s store.Store, name, plane string, created time.Time, n int) {
	t.Helper()
	side := snapshot.Sidecar{Size: int64(n), SHA256: sum, Proof: snapshot.ProofStream, Plain: snapshot.Plain{Size: int64(n), SHA256: sum}, Created: created, Source: snapshot.Source{Namespace: "team-a", Name: "etcd"}}
	side.Cluster.KubeSystemUID = plane
	data, err := side.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{name: []byte(strings.Repeat("x", n)), name + ".json": data} {
		if _, err := store.Put(t.Context(), s, name, data, false); err != nil {
			t.Fatal(err)
		}
	}
}

// TestNewest: two clusters in one prefix are told apart, and what is not whole is nobody's newest.
func TestNewest(t *testing.T) {
	t.Parallel()
	s := store.Folder(t.TempDir())
	put(t, s, "p/a.db", "one", now.Add(-3*time.Hour), 5)
	put(t, s, "p/b.db", "two", now.Add(-2*time.Hour), 5)
	put(t, s, "p/c.db", "one", now.Add(-time.Hour), 5)
	if _, err := store.Put(t.Context(), s, "p/c.db", []byte("other"+"x"), true); err != nil { // not what was written
		t.Fatal(err)
	}
	all, err := List(t.Context(), s, "p/")
	if err != nil || len(all) != 3 {
		t.Fatal(all, err)
	}
	for plane, want := range map[string]string{"one": "p/a.db", "two": "p/b.db"} {
		if e := Newest(all, func(e Entry) bool { return e.Plane() == plane }); e == nil || e.Name != want {
			t.Errorf("%s: %+v", plane, e)
		}
	}
	if e := Newest(all, func(Entry) bool { return false }); e != nil {
		t.Errorf("%+v", e)
	}
}

// TestManyForeign: 100,000 objects that are not ours cost their names, and no more.
func TestManyForeign(t *testing.T) {
	t.Parallel()
	before := heap()
	all, err := List(t.Context(), many{Folder: store.Folder(t.TempDir()), n: 100_000}, "")
	if err != nil || len(all) != 0 {
		t.Fatal(len(all), err)
	}
	if used := heap() - before; used > 128<<20 {
		t.Errorf("%d MiB", used>>20)
	}
}

func heap() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.Sys)
}

// many has so many names besides.
type many struct {
	store.Folder
	n int
}

func (m many) List(_ context.Context, _ string, each func(store.Info) error) error {
	for i := range m.n {
		if err := each(store.Info{Name: fmt.Sprintf("foreign/object-%08d.bin", i), Size: 1}); err != nil {
			return err
		}
	}
	return nil
}
