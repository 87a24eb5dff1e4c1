package verify_test

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify/etcdtest"
)

// counting counts what is read.
type counting struct {
	io.ReaderAt
	bytes int64
}

func (c *counting) ReadAt(p []byte, at int64) (int, error) {
	c.bytes += int64(len(p))
	return c.ReaderAt.ReadAt(p, at)
}

func peek(t *testing.T, path string) (*verify.Peeked, int64) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	r := &counting{ReaderAt: f}
	p, err := verify.Peek(t.Context(), r, info.Size())
	if err != nil {
		t.Fatal(err)
	}
	return p, r.bytes
}

// TestPeek compares a glance with the whole reading, and looks at how little it reads.
func TestPeek(t *testing.T) {
	eachMinor(t, func(t *testing.T, minor string, b etcdtest.Binaries) {
		s := etcdtest.Start(t, b)
		if p, _ := peek(t, s.Save(t)); p.Revision != 1 || p.CompactRevision != 0 {
			t.Errorf("empty: %+v", p)
		}
		s.Fill(t, 3000)
		path := s.Save(t)
		report, err := verify.File(t.Context(), path, verify.Options{})
		if err != nil {
			t.Fatal(err)
		}
		p, read := peek(t, path)
		if p.Revision != report.Revision || p.CompactRevision != report.CompactRevision || p.CompactRevision == 0 || p.ConsistentIndex == 0 ||
			p.ClusterVersion != report.ClusterVersion || len(p.Members) != 1 || p.Members[0].ID != report.Members[0].ID {
			t.Errorf("%+v, want %+v", p, report)
		}
		if read > 128<<10 || report.DBSize < 1<<20 {
			t.Errorf("%d of %d bytes were read", read, report.DBSize)
		}

		// A restore that raises the revision marks it as compacted, and etcd does the rest when it starts.
		dir := t.TempDir()
		etcdtest.Tool(t, b.Etcdutl, "snapshot", "restore", path, "--data-dir", filepath.Join(dir, "d"), "--bump-revision", "1000", "--mark-compacted")
		p, _ = peek(t, filepath.Join(dir, "d", "member", "snap", "db"))
		if p.Revision != report.Revision+1000 || p.CompactRevision != p.Revision || len(p.Members) != 1 {
			t.Errorf("raised: %+v", p)
		}

		// Where the last key is deleted, and the deletion compacted away, only the compaction tells the revision.
		ctx := t.Context()
		if _, err := s.Client.Put(ctx, "last", "x"); err != nil {
			t.Fatal(err)
		}
		d, err := s.Client.Delete(ctx, "last")
		if err != nil {
			t.Fatal(err)
		}
		etcdtest.Tool(t, b.Etcdctl, "--endpoints", s.Endpoint, "compact", "--physical", strconv.FormatInt(d.Header.Revision, 10))
		if p, _ := peek(t, s.Save(t)); p.Revision != d.Header.Revision || p.CompactRevision != d.Header.Revision {
			t.Errorf("%+v, want revision %d", p, d.Header.Revision)
		}
	})
}

// TestPeekAtDamage: whatever the bytes are, it ends, with an error of this package's or a result.
func TestPeekAtDamage(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	good, err := os.ReadFile(small(t))
	if err != nil {
		t.Fatal(err)
	}
	for i := range damages {
		what, data := damage(random, good)
		if _, err := verify.Peek(t.Context(), bytes.NewReader(data), int64(len(data))); err != nil && !typed(err) {
			t.Errorf("damage %d (%s): %v", i, what, err)
		}
	}
}
