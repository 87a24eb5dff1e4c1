package verify_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/snapshot"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify/etcdtest"
)

// eachMinor runs a test against every version of etcd.
func eachMinor(t *testing.T, f func(t *testing.T, minor string, b etcdtest.Binaries)) {
	for _, minor := range etcdtest.Minors {
		t.Run("etcd-"+minor, func(t *testing.T) { f(t, minor, etcdtest.Find(t, minor)) })
	}
}

func TestAgreesWithEtcdutl(t *testing.T) {
	eachMinor(t, func(t *testing.T, minor string, b etcdtest.Binaries) {
		s := etcdtest.Start(t, b)
		live := s.Fill(t, 3000)
		path := s.Save(t)
		hash, err := s.Client.HashKV(t.Context(), s.Endpoint, 0)
		if err != nil {
			t.Fatal(err)
		}
		r, err := verify.File(t.Context(), path, verify.Options{})
		if err != nil {
			t.Fatal(err)
		}
		want := etcdtest.SnapshotStatus(t, b, path)
		got := etcdtest.Status{Hash: r.Hash, Revision: r.Revision, TotalKey: r.LiveKeys, TotalSize: r.DBSize, Version: r.StorageVersion}
		if minor == "3.5" {
			got.TotalKey = r.Entries // it counts the entries of all buckets
		}
		if got != want {
			t.Errorf("got %+v, etcdutl says %+v", got, want)
		}
		if r.LiveKeys != live {
			t.Errorf("%d live keys, want %d", r.LiveKeys, live)
		}
		// The kube-system namespace and /registry/middle are no ConfigMaps.
		if want := map[string]int64{"namespaces": 1, "configmaps": live - 2}; !maps.Equal(r.Objects, want) {
			t.Errorf("objects %v, want %v", r.Objects, want)
		}
		if r.HashKV != hash.Hash || r.CompactRevision != hash.CompactRevision {
			t.Errorf("HashKV %d at compact revision %d, etcd says %d at %d", r.HashKV, r.CompactRevision, hash.Hash, hash.CompactRevision)
		}
		if r.KubeSystemUID != etcdtest.KubeSystemUID {
			t.Errorf("kube-system UID %q", r.KubeSystemUID)
		}
		if len(r.Members) != 1 || r.Members[0].Name != "test" {
			t.Errorf("members %+v", r.Members)
		}
		if !r.Trailer || r.Raw || r.Proof != snapshot.ProofFull || r.ClusterVersion != minor+".0" {
			t.Errorf("report %+v", r)
		}
	})
}

// TestHashKVAfterCompaction: what was written over or deleted since a compaction is not part of a member's hash, though
// the database still has it.
func TestHashKVAfterCompaction(t *testing.T) {
	eachMinor(t, func(t *testing.T, _ string, b etcdtest.Binaries) {
		s := etcdtest.Start(t, b)
		s.Fill(t, 100)
		for i := 1; i < 40; i += 2 {
			key := fmt.Sprintf("/registry/configmaps/namespace-%d/object-%d", i%7, i)
			_, err := s.Client.Put(t.Context(), key, "later")
			if err == nil && i%3 == 0 {
				_, err = s.Client.Delete(t.Context(), key)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		path := s.Save(t)
		hash, err := s.Client.HashKV(t.Context(), s.Endpoint, 0)
		if err != nil {
			t.Fatal(err)
		}
		r, err := verify.File(t.Context(), path, verify.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if r.HashKV != hash.Hash || r.HashKV == 0 {
			t.Errorf("HashKV %d, etcd says %d", r.HashKV, hash.Hash)
		}
	})
}

// TestAuthEnabled: with etcd's authentication on, off again, and never on.
func TestAuthEnabled(t *testing.T) {
	eachMinor(t, func(t *testing.T, _ string, b etcdtest.Binaries) {
		s := etcdtest.Start(t, b)
		check := func(path string, want bool) {
			t.Helper()
			if r, err := verify.File(t.Context(), path, verify.Options{Raw: true}); err != nil || r.AuthEnabled != want {
				t.Errorf("got %+v, %v; want %t", r, err, want)
			}
		}
		check(s.Save(t), false)
		s.EnableAuth(t)
		const auth = "root:" + etcdtest.Password
		save := func() string {
			path := filepath.Join(t.TempDir(), "snapshot.db")
			etcdtest.Tool(t, b.Etcdctl, "--endpoints", s.Endpoint, "--user", auth, "snapshot", "save", path)
			return path
		}
		check(save(), true)
		etcdtest.Tool(t, b.Etcdctl, "--endpoints", s.Endpoint, "--user", auth, "auth", "disable")
		check(s.Save(t), false)
	})
}

func TestCancelled(t *testing.T) {
	path := small(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := verify.File(ctx, path, verify.Options{}); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
}

// TestDB is for a backup that has proven the bytes already, of each form.
func TestDB(t *testing.T) {
	path := small(t)
	want, err := verify.File(t.Context(), path, verify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path+".zst", pack(t, data))
	// It is not looked at: it is written after this.
	write(t, snapshot.SidecarPath(path), []byte("not a sidecar"))
	for _, path := range []string{path, path + ".zst"} {
		got, err := verify.DB(t.Context(), opened(t, path), verify.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got.Content != want.Content || !got.Trailer || got.Raw || got.SHA256 != "" || got.Plain.Size != want.Plain.Size {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
}

func TestProgress(t *testing.T) {
	s := etcdtest.Start(t, etcdtest.Find(t, "3.6"))
	for i := range 20 {
		if _, err := s.Client.Put(t.Context(), fmt.Sprint("key", i), strings.Repeat("x", 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	path := s.Save(t)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path+".zst", pack(t, data))
	for _, path := range []string{path, path + ".zst"} {
		var last verify.Progress
		calls := 0
		_, err := verify.File(t.Context(), path, verify.Options{Progress: func(p verify.Progress) {
			if p.Done < last.Done || p.Done > p.Total {
				t.Errorf("%+v after %+v", p, last)
			}
			last = p
			calls++
		}})
		if err != nil || calls < 3 || last.Done < last.Total/2 {
			t.Errorf("%d calls, last %+v, %v", calls, last, err)
		}
	}
}

func opened(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}
