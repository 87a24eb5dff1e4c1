package verify_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	bolt "go.etcd.io/bbolt"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/snapshot"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify/etcdtest"
)

// What Compact keeps of a history with all that etcd knows is, entry by entry, what etcd itself keeps when it compacts the
// last revision.
func TestCompactAsEtcdDoes(t *testing.T) {
	t.Parallel()
	for _, minor := range []string{"3.5", "3.6", "3.7"} {
		t.Run(minor, func(t *testing.T) {
			t.Parallel()
			s := etcdtest.Start(t, etcdtest.Find(t, minor))
			s.Fill(t, 200)
			revision := history(t, s)
			copied, done := compacted(t, s.Save(t))
			if _, err := s.Client.Compact(t.Context(), revision, clientv3.WithCompactPhysical()); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(keyBucket(t, s.Save(t)), keyBucket(t, copied)); d != "" {
				t.Errorf("etcd keeps -, the copy has +:\n%s", d)
			}
			status := etcdtest.SnapshotStatus(t, s.Binaries, copied)
			if status.Revision != revision {
				t.Errorf("etcdutl says that it is at revision %d, not %d", status.Revision, revision)
			}
			again, err := verify.File(t.Context(), copied, verify.Options{})
			if err != nil || !again.Trailer || again.Plain != done {
				t.Errorf("not as a proven snapshot: %v, %+v", err, again)
			}
			compactTwice(t, copied)
		})
	}
}

// An etcd restored from the copy is, to its clients, one restored from the original. And it can be copied again, with the mark
// that the restore has left in it.
func TestCompactThenRestore(t *testing.T) {
	t.Parallel()
	for _, minor := range []string{"3.5", "3.6", "3.7"} {
		t.Run(minor, func(t *testing.T) {
			t.Parallel()
			s := etcdtest.Start(t, etcdtest.Find(t, minor))
			s.Fill(t, 100)
			history(t, s)
			if _, err := s.Client.Delete(t.Context(), "/registry/random/2", clientv3.WithPrefix()); err != nil {
				t.Fatal(err)
			}
			original := s.Save(t)
			copied, _ := compacted(t, original)
			want, got := restored(t, s.Binaries, original), restored(t, s.Binaries, copied)
			if d := cmp.Diff(everything(t, want), everything(t, got)); d != "" {
				t.Errorf("of the original -, of the copy +:\n%s", d)
			}
			revision := history(t, got)
			again, _ := compacted(t, got.Save(t))
			if _, err := got.Client.Compact(t.Context(), revision, clientv3.WithCompactPhysical()); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(keyBucket(t, got.Save(t)), keyBucket(t, again)); d != "" {
				t.Errorf("after the restore, etcd keeps -, the copy has +:\n%s", d)
			}
		})
	}
}

// restored is an etcd on a snapshot.
func restored(t *testing.T, b etcdtest.Binaries, snapshot string) *etcdtest.Server {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	etcdtest.Tool(t, b.Etcdutl, "snapshot", "restore", snapshot, "--data-dir", dir, "--bump-revision", "100000", "--mark-compacted")
	return etcdtest.Start(t, b, "--data-dir", dir)
}

// everything is what a client can read: all keys, with what etcd knows of each, the revision, and which leases there are.
func everything(t *testing.T, s *etcdtest.Server) map[string]string {
	t.Helper()
	all, err := s.Client.Get(t.Context(), "", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	leases, err := s.Client.Leases(t.Context())
	if err != nil || len(leases.Leases) == 0 {
		t.Fatalf("leases %v: %v", leases, err)
	}
	if _, err := s.Client.Get(t.Context(), "", clientv3.WithPrefix(), clientv3.WithRev(all.Header.Revision-1)); !errors.Is(err, rpctypes.ErrCompacted) {
		t.Errorf("an older revision: %v", err)
	}
	out := map[string]string{"": fmt.Sprint("revision ", all.Header.Revision, " leases ", leases.Leases)}
	for _, kv := range all.Kvs {
		out[string(kv.Key)] = fmt.Sprintf("created %d, modified %d, version %d, lease %d: %s", kv.CreateRevision, kv.ModRevision, kv.Version, kv.Lease, kv.Value)
	}
	return out
}

// history writes what Fill does not: leases, transactions, keys that come, go and come back, large values; no deletion in
// the end. It returns the last revision.
func history(t *testing.T, s *etcdtest.Server) (revision int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	lease, err := s.Client.Grant(ctx, 3600)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 400 {
		key := fmt.Sprintf("/registry/random/%d", r.IntN(40))
		value := strings.Repeat(fmt.Sprint(i), 1+r.IntN(5000))
		switch r.IntN(5) {
		case 0:
			_, err = s.Client.Delete(ctx, key)
		case 1:
			_, err = s.Client.Delete(ctx, "/registry/random/1", clientv3.WithPrefix())
		case 2:
			_, err = s.Client.Put(ctx, key, value, clientv3.WithLease(lease.ID))
		case 3:
			_, err = s.Client.Txn(ctx).Then(clientv3.OpPut(key, value), clientv3.OpPut(key+"/a", value), clientv3.OpDelete(key+"/b"), clientv3.OpPut(key+"/c", "")).Commit()
		default:
			_, err = s.Client.Put(ctx, key, value)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	p, err := s.Client.Put(ctx, "/registry/last", "last")
	if err != nil {
		t.Fatal(err)
	}
	return p.Header.Revision
}

// compactTwice: what has no history gains nothing.
func compactTwice(t *testing.T, path string) {
	t.Helper()
	if _, _, err := tryCompact(t, path); !errors.Is(err, verify.ErrNoHistory) {
		t.Errorf("once more: %v", err)
	}
}

// A revision at which a key was deleted is where the snapshot stands, and stays.
func TestCompactKeepsTheLastRevision(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t, etcdtest.Find(t, "3.6"))
	s.Fill(t, 60)
	r, err := s.Client.Delete(t.Context(), "/registry/configmaps/", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	path, _ := compacted(t, s.Save(t))
	if got := etcdtest.SnapshotStatus(t, s.Binaries, path).Revision; got != r.Header.Revision {
		t.Errorf("revision %d, want %d", got, r.Header.Revision)
	}
	if n := len(keyBucket(t, path)); n != 3 { // kube-system, the middle, and one deletion
		t.Errorf("%d entries", n)
	}
}

// A snapshot that changes between its proof and the copy is noticed, wherever the change is.
func TestCompactNoticesAChange(t *testing.T) {
	t.Parallel()
	path := small(t)
	report, err := verify.File(t.Context(), path, verify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data = bytes.ReplaceAll(data, []byte("0123456789abcdef"), []byte("0123456789abcde_")) // the first alone may be in a free page
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := compactFile(t, path, report); !errors.Is(err, verify.ErrCorrupt) || !strings.Contains(err.Error(), "has changed since it was verified") {
		t.Errorf("%v", err)
	}
}

// cancelled cancels at so many bytes.
type cancelled struct {
	io.ReaderAt
	left   int
	cancel context.CancelFunc
}

func (c *cancelled) ReadAt(p []byte, off int64) (int, error) {
	if c.left -= len(p); c.left < 0 {
		c.cancel()
	}
	return c.ReaderAt.ReadAt(p, off)
}

// More than one transaction of the copy; the same original makes the same copy; and it can be interrupted anywhere.
func TestCompactLarge(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t, etcdtest.Find(t, "3.6"))
	r := rand.New(rand.NewPCG(3, 4))
	for i := range 100 {
		if _, err := s.Client.Put(t.Context(), fmt.Sprintf("/registry/large/%d", i%40), string(etcdtest.Object(r, 1<<20))); err != nil {
			t.Fatal(err)
		}
	}
	path := s.Save(t)
	first, done := compacted(t, path)
	if done.Size < 40<<20 || len(keyBucket(t, first)) != 40 {
		t.Errorf("the copy has %d bytes and %d entries", done.Size, len(keyBucket(t, first)))
	}
	if _, again := compacted(t, path); again != done {
		t.Errorf("one copy is %v, the other %v", done, again)
	}
	report, err := verify.File(t.Context(), path, verify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int{0, 50 << 20, int(report.DBSize) + 50<<20} {
		ctx, cancel := context.WithCancel(t.Context())
		from, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer from.Close()
		if _, _, err := compactFrom(ctx, t, &cancelled{from, at, cancel}, report); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled after %d bytes: %v", at, err)
		}
	}
}

// A file that cannot be written is an error, and no panic of bbolt's.
func TestCompactCannotWrite(t *testing.T) {
	t.Parallel()
	path := small(t)
	report, err := verify.File(t.Context(), path, verify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var files [3]*os.File
	for i := range files {
		if files[i], err = os.Open(path); err != nil {
			t.Fatal(err)
		}
		defer files[i].Close()
	}
	if _, err := verify.Compact(t.Context(), files[0], report, report.Plain.Size/2, files[1], files[2]); err == nil || !strings.HasPrefix(err.Error(), "copy snapshot without history: ") {
		t.Errorf("%v", err)
	}
	if now, err := verify.File(t.Context(), path, verify.Options{}); err != nil || now.SHA256 != report.SHA256 {
		t.Errorf("the original is another one: %v", err)
	}
}

// compacted is the path of the copy.
func compacted(t *testing.T, path string) (string, snapshot.Plain) {
	t.Helper()
	to, done, err := tryCompact(t, path)
	if err != nil {
		t.Fatal(err)
	}
	return to, done
}

func tryCompact(t *testing.T, path string) (string, snapshot.Plain, error) {
	t.Helper()
	report, err := verify.File(t.Context(), path, verify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return compactFile(t, path, report)
}

func compactFile(t *testing.T, path string, report *verify.Report) (string, snapshot.Plain, error) {
	t.Helper()
	from, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	return compactFrom(t.Context(), t, from, report)
}

func compactFrom(ctx context.Context, t *testing.T, from io.ReaderAt, report *verify.Report) (string, snapshot.Plain, error) {
	t.Helper()
	to, err := os.Create(filepath.Join(t.TempDir(), "compacted.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	again, err := os.OpenFile(to.Name(), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	done, err := verify.Compact(ctx, from, report, report.Plain.Size/2, to, again)
	return to.Name(), done, err
}

// keyBucket is what bbolt itself reads.
func keyBucket(t *testing.T, path string) map[string]string {
	t.Helper()
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	entries := map[string]string{}
	if err := db.View(func(tx *bolt.Tx) error {
		return tx.Bucket([]byte("key")).ForEach(func(k, v []byte) error {
			entries[fmt.Sprintf("%x", k)] = string(v)
			return nil
		})
	}); err != nil {
		t.Fatal(err)
	}
	return entries
}
