package verify_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/fnv"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/snapshot"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify/etcdtest"
)

func TestBadFiles(t *testing.T) {
	good, err := os.ReadFile(small(t))
	if err != nil {
		t.Fatal(err)
	}
	n := len(good)
	flipped := bytes.Clone(good)
	flipped[n/2] ^= 1
	wrongTrailer := bytes.Clone(good)
	wrongTrailer[n-1] ^= 1
	for name, c := range map[string]struct {
		data []byte
		want error
	}{
		"empty":                  {nil, verify.ErrEmpty},
		"one byte":               {[]byte{1}, verify.ErrNotSnapshot},
		"text":                   {bytes.Repeat([]byte("not a snapshot\n"), 1000), verify.ErrNotSnapshot},
		"zeros":                  {make([]byte, 1<<16), verify.ErrNotSnapshot},
		"trailer of text":        {withTrailer(bytes.Repeat([]byte("text"), 4096)), verify.ErrNotSnapshot},
		"half":                   {good[:n/2], verify.ErrTruncated},
		"one page":               {good[:4096], verify.ErrTruncated},
		"trailer cut":            {good[:n-1], verify.ErrTruncated},
		"no trailer":             {good[:n-32], verify.ErrNoTrailer},
		"flipped":                {flipped, verify.ErrTrailer},
		"wrong trailer":          {wrongTrailer, verify.ErrTrailer},
		"bytes behind":           {append(bytes.Clone(good), 0), verify.ErrLonger},
		"compressed empty":       {pack(t, nil), verify.ErrEmpty},
		"compressed text":        {pack(t, bytes.Repeat([]byte("text"), 4096)), verify.ErrNotSnapshot},
		"compressed half":        {pack(t, good)[:1000], verify.ErrCompressed},
		"compressed no trailer":  {pack(t, good[:n-32]), verify.ErrNoTrailer},
		"compressed half inside": {pack(t, good[:n/2]), verify.ErrTruncated},
		"compressed flipped":     {pack(t, flipped), verify.ErrTrailer},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "file.db")
			write(t, path, c.data)
			_, err := verify.File(t.Context(), path, verify.Options{})
			if !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if left, _ := os.ReadDir(dir); len(left) != 1 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
	t.Run("folder", func(t *testing.T) {
		if _, err := verify.File(t.Context(), t.TempDir(), verify.Options{}); !errors.Is(err, verify.ErrNotFile) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("absent", func(t *testing.T) {
		if _, err := verify.File(t.Context(), filepath.Join(t.TempDir(), "x"), verify.Options{}); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("got %v", err)
		}
	})
}

// TestHugeHeaderValues sets each number that a database's headers hold to large values, with valid checksums, so that
// only the number's own check can stop it.
func TestHugeHeaderValues(t *testing.T) {
	good, err := os.ReadFile(small(t))
	if err != nil {
		t.Fatal(err)
	}
	good = good[:len(good)-snapshot.TrailerSize]
	const pageSize = 4096
	path := filepath.Join(t.TempDir(), "db")
	check := func(what string, data []byte) {
		write(t, path, withTrailer(data))
		if _, err := verify.File(t.Context(), path, verify.Options{}); err == nil || !typed(err) {
			t.Errorf("%s: got %v", what, err)
		}
	}
	for _, value := range []uint64{1<<64 - 2, 1 << 63, 1 << 40, 1 << 31, 1<<16 - 1, 0} {
		for what, at := range map[string]int{"page size": 8, "root": 16, "freelist": 32, "pages": 40} {
			data := bytes.Clone(good)
			for _, meta := range [][]byte{data[16:], data[pageSize+16:]} {
				if what == "page size" {
					binary.LittleEndian.PutUint32(meta[at:], uint32(value))
				} else {
					binary.LittleEndian.PutUint64(meta[at:], value)
				}
				sum := fnv.New64a()
				sum.Write(meta[:56])
				binary.LittleEndian.PutUint64(meta[56:], sum.Sum64())
			}
			check(what, data)
		}
		// Of every page in use: count, overflow, and of its first element everything.
		root := binary.LittleEndian.Uint64(good[16+16:])
		for what, at := range map[string]int{"count": 10, "overflow": 12, "element flags": 16, "pos": 20, "key size": 24, "value size": 28} {
			if at == 10 && value&0xffff == 0 || at == 12 && uint32(value) == 0 {
				continue // a page may be empty and need not overflow
			}
			data := bytes.Clone(good)
			page := data[root*pageSize:]
			if at == 10 {
				binary.LittleEndian.PutUint16(page[at:], uint16(value))
			} else if at == 16 {
				binary.LittleEndian.PutUint32(page[at:], uint32(value)&^1)
			} else {
				binary.LittleEndian.PutUint32(page[at:], uint32(value))
			}
			check("root page's "+what, data)
		}
	}
}

func TestRaw(t *testing.T) {
	s := etcdtest.Start(t, etcdtest.Find(t, "3.6"))
	live := s.Fill(t, 100)
	s.Stop()
	if _, err := verify.File(t.Context(), s.DB, verify.Options{}); !errors.Is(err, verify.ErrNoTrailer) {
		t.Errorf("got %v", err)
	}
	r, err := verify.File(t.Context(), s.DB, verify.Options{Raw: true})
	if err != nil {
		t.Fatal(err)
	}
	if !r.Raw || r.Trailer || r.Proof != snapshot.ProofUnproven || r.LiveKeys > live || r.LiveKeys == 0 {
		t.Errorf("report %+v", r)
	}
	// With a sidecar that says so, it need not be said again; it is still unproven.
	writeSidecar(t, s.DB, r)
	if r, err = verify.File(t.Context(), s.DB, verify.Options{}); err != nil || r.Proof != snapshot.ProofUnproven || r.Sidecar == "" {
		t.Errorf("got %+v, %v", r, err)
	}
}

func TestInUse(t *testing.T) {
	s := etcdtest.Start(t, etcdtest.Find(t, "3.6"))
	if _, err := verify.File(t.Context(), s.DB, verify.Options{Raw: true}); !errors.Is(err, verify.ErrInUse) {
		t.Errorf("etcd runs: got %v", err)
	}
	s.Stop()
	if _, err := verify.File(t.Context(), s.DB, verify.Options{Raw: true}); err != nil {
		t.Errorf("etcd stopped: %v", err)
	}
	// Who only reads does not disturb.
	db, err := bolt.Open(s.DB, 0o600, &bolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := verify.File(t.Context(), s.DB, verify.Options{Raw: true}); err != nil {
		t.Errorf("another reader: %v", err)
	}
}

func TestNoKeys(t *testing.T) {
	eachMinor(t, func(t *testing.T, minor string, b etcdtest.Binaries) {
		path := etcdtest.Start(t, b).Save(t)
		r, err := verify.File(t.Context(), path, verify.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if r.TotalKeys != 0 || r.LiveKeys != 0 || len(r.Notes) != 1 {
			t.Errorf("report %+v", r)
		}
		if want := etcdtest.SnapshotStatus(t, b, path); r.Hash != want.Hash || r.Revision != want.Revision {
			t.Errorf("got %+v, etcdutl says %+v", r, want)
		}
	})
}

func TestSidecarDisagrees(t *testing.T) {
	path := small(t)
	good, err := verify.File(t.Context(), path, verify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	other := hex.EncodeToString(make([]byte, 32))
	for field, change := range map[string]func(*snapshot.Sidecar){
		"size":                   func(s *snapshot.Sidecar) { s.Size++ },
		"sha256":                 func(s *snapshot.Sidecar) { s.SHA256 = other },
		"compression":            func(s *snapshot.Sidecar) { s.Compression = snapshot.Zstd },
		"plain.size":             func(s *snapshot.Sidecar) { s.Plain.Size++ },
		"plain.sha256":           func(s *snapshot.Sidecar) { s.Plain.SHA256 = other },
		"raw":                    func(s *snapshot.Sidecar) { s.Raw = true },
		"revision":               func(s *snapshot.Sidecar) { s.Revision++ },
		"compactRevision":        func(s *snapshot.Sidecar) { s.CompactRevision++ },
		"totalKeys":              func(s *snapshot.Sidecar) { s.TotalKeys++ },
		"liveKeys":               func(s *snapshot.Sidecar) { s.LiveKeys++ },
		"hash":                   func(s *snapshot.Sidecar) { s.Hash++ },
		"dbSize":                 func(s *snapshot.Sidecar) { s.DBSize++ },
		"revisionBefore":         func(s *snapshot.Sidecar) { s.RevisionBefore++ },
		"revisionAfter":          func(s *snapshot.Sidecar) { s.RevisionAfter-- },
		"cluster.storageVersion": func(s *snapshot.Sidecar) { s.Cluster.StorageVersion = "3.9.0" },
		"cluster.kubeSystemUID":  func(s *snapshot.Sidecar) { s.Cluster.KubeSystemUID = "another" },
	} {
		s := sidecarOf(good)
		change(&s)
		if err := snapshot.WriteSidecar(path, s); err != nil {
			t.Fatal(err)
		}
		_, err := verify.File(t.Context(), path, verify.Options{})
		var disagrees *verify.SidecarError
		if !errors.As(err, &disagrees) || disagrees.Field != field || !errors.Is(err, verify.ErrSidecar) {
			t.Errorf("%s: got %v", field, err)
		}
		if _, err := verify.File(t.Context(), path, verify.Options{NoSidecar: true}); err != nil {
			t.Errorf("%s: sidecar ignored: %v", field, err)
		}
	}
	write(t, snapshot.SidecarPath(path), []byte("{}"))
	if _, err := verify.File(t.Context(), path, verify.Options{}); !errors.Is(err, verify.ErrInvalidSidecar) {
		t.Errorf("got %v", err)
	}
}

// TestSidecarErrorSaysWhatIsWrongWithTheFile: a changed byte is reported as a change since the backup, and as damage.
func TestSidecarErrorSaysWhatIsWrongWithTheFile(t *testing.T) {
	path := small(t)
	r, err := verify.File(t.Context(), path, verify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	writeSidecar(t, path, r)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	write(t, path, data)
	_, err = verify.File(t.Context(), path, verify.Options{})
	if !errors.Is(err, verify.ErrSidecar) || !errors.Is(err, verify.ErrTrailer) || !strings.Contains(err.Error(), "sha256") {
		t.Errorf("got %v", err)
	}
}

func TestPipeIsRefused(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("device files have no path of this kind on Windows")
	}
	if _, err := verify.File(t.Context(), "/dev/null", verify.Options{}); !errors.Is(err, verify.ErrNotFile) {
		t.Errorf("got %v", err)
	}
}

func withTrailer(data []byte) []byte {
	sum := sha256.Sum256(data)
	return append(bytes.Clone(data), sum[:]...)
}
