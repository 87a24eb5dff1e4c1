package restore

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify/etcdtest"
)

// What is packed is what was proven, or the agents sum it up themselves.
func TestPackedProven(t *testing.T) {
	file, tmp := filepath.Join(t.TempDir(), "snapshot.db"), t.TempDir()
	t.Setenv("TMPDIR", tmp)
	if err := os.WriteFile(file, []byte("proven"), 0o600); err != nil {
		t.Fatal(err)
	}
	const proven, other = "db5344cc58ca48817a3419331e212b30fc77d25358dcf6b65d8be54c60328491", "d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa"
	for name, c := range map[string]struct {
		sha256 string
		raw    bool
		want   bool
	}{
		"what was proven":        {proven, false, true},
		"changed since":          {other, false, false},
		"no checksum of its own": {proven, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := &source{SnapshotRecord: site.SnapshotRecord{SHA256: c.sha256, Raw: c.raw, Size: 6}}
			defer s.close()
			f, err := os.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			s.files = append(s.files, f)
			if err := s.open(file); err != nil {
				t.Fatal(err)
			}
			content, err := s.content(t.Context(), false, 0, &told{})
			if err != nil {
				t.Fatal(err)
			}
			if left, _ := os.ReadDir(tmp); len(left) > 0 && runtime.GOOS != "windows" {
				t.Errorf("whoever kills this client finds %v", left)
			}
			if content.Packed == nil || content.PackedProven != c.want {
				t.Errorf("packed %v, proven %t", content.Packed != nil, content.PackedProven)
			}
		})
	}
}

// told is what a user reads.
type told struct {
	site.Reporter
	steps []string
}

func (r *told) Warn(format string, args ...any) { r.Step("! "+format, args...) }

func (r *told) Step(format string, args ...any) {
	r.steps = append(r.steps, fmt.Sprintf(format, args...))
}

// withHistory is a snapshot of 200 revisions of one key, of 12 KiB each.
func withHistory(t *testing.T) string { return withKeys(t, 1) }

// withKeys is one of so many keys.
func withKeys(t *testing.T, keys int) string {
	t.Helper()
	s := etcdtest.Start(t, etcdtest.Find(t, "3.6"))
	for i := range 200 {
		if _, err := s.Client.Put(t.Context(), fmt.Sprint("/registry/last", i%keys), strings.Repeat(fmt.Sprint(i), 4096)); err != nil {
			t.Fatal(err)
		}
	}
	return s.Save(t)
}

// History is not sent, unless it has to be: what is sent then is what was proven.
func TestSentWithoutHistory(t *testing.T) {
	history, mostlyLive := withHistory(t), withKeys(t, 150)
	for name, c := range map[string]struct {
		compacted, noRoom, want bool
		mostlyLive              bool
		quota                   int64 // KiB
		says, refused           string
	}{
		"mostly no history":                  {compacted: true, mostlyLive: true},
		"mostly none, but the quota is less": {compacted: true, mostlyLive: true, quota: 2300, says: "leave out the history of snapshot.db: "},
		"and less than that":                 {compacted: true, mostlyLive: true, quota: 1400, refused: "restore snapshot.db: etcd could not write: its quota (--quota-backend-bytes) is 1.4 MiB, and "},
		"the quota takes what is no history": {compacted: true, quota: 256, want: true, says: "leave out the history of snapshot.db: "},
		"the quota does not":                 {compacted: true, quota: 10, refused: "restore snapshot.db: etcd could not write: its quota (--quota-backend-bytes) is 10 KiB, and "},
		"left out":                           {compacted: true, want: true, says: "leave out the history of snapshot.db: "},
		"the revisions are kept":             {},
		"no room for a copy":                 {compacted: true, noRoom: true, says: "the history of snapshot.db is sent, too: "},
	} {
		t.Run(name, func(t *testing.T) {
			tmp, file := t.TempDir(), history
			if c.mostlyLive {
				file = mostlyLive
			}
			src, err := prove(t.Context(), Config{From: file}, false)
			if err != nil {
				t.Fatal(err)
			}
			defer src.close()
			t.Setenv("TMPDIR", tmp)
			if c.noRoom {
				t.Setenv("TMPDIR", filepath.Join(tmp, "none"))
			}
			var user told
			content, err := src.content(t.Context(), c.compacted, c.quota<<10, &user)
			if left, _ := os.ReadDir(tmp); len(left) > 0 && runtime.GOOS != "windows" {
				t.Errorf("whoever kills this client finds %v", left)
			}
			if c.refused != "" {
				if err == nil || !strings.HasPrefix(err.Error(), c.refused) {
					t.Errorf("%v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if smaller := content.Size*2 < src.Size; smaller != c.want || !c.want && (content.SHA256 != src.SHA256) != (c.quota > 0) {
				t.Errorf("%d bytes of %d are sent, with sum %s of %s", content.Size, src.Size, content.SHA256, src.SHA256)
			}
			if said := strings.Join(user.steps, "|"); !strings.HasPrefix(said, c.says) || c.says == "" && said != "" {
				t.Errorf("the user reads %q, not %q", said, c.says)
			}
			checkSent(t, src, content)
		})
	}
}

// checkSent compares what is sent with what was announced.
func checkSent(t *testing.T, src *source, content reach.Content) {
	t.Helper()
	sent := filepath.Join(t.TempDir(), "sent.db")
	data := make([]byte, content.Size)
	if _, err := content.Plain.ReadAt(data, 0); err != nil && err != io.EOF {
		t.Fatal(err)
	}
	if err := os.WriteFile(sent, data, 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := verify.File(t.Context(), sent, verify.Options{})
	if err != nil || got.Plain.SHA256 != content.SHA256 || got.Revision != src.Revision || got.LiveKeys != src.LiveKeys {
		t.Errorf("not what was announced: %v, %+v", err, got)
	}
	if content.Packed != nil && !content.PackedProven {
		t.Error("what was packed is not what is sent")
	}
}

// A snapshot that is not any more what was proven is not sent at all.
func TestSentChanged(t *testing.T) {
	file := withHistory(t)
	src, err := prove(t.Context(), Config{From: file}, false)
	if err != nil {
		t.Fatal(err)
	}
	defer src.close()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	data = bytes.ReplaceAll(data, []byte("199199199199"), []byte("199199199198")) // the first alone may be in a free page
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := src.content(t.Context(), true, 0, &told{}); !errors.Is(err, verify.ErrCorrupt) {
			t.Errorf("%v", err)
		}
	}
}

// TestProvePacked: what others have packed is sent as any other snapshot is; what was written to since goes as a raw database
// where the user insists.
func TestProvePacked(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	plain := withHistory(t)
	data, err := os.ReadFile(plain)
	if err != nil {
		t.Fatal(err)
	}
	packed := filepath.Join(t.TempDir(), "packed.db.gz")
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err = w.Write(data)
	if err = errors.Join(err, w.Close(), os.WriteFile(packed, b.Bytes(), 0o600)); err != nil {
		t.Fatal(err)
	}
	src, err := prove(t.Context(), Config{From: packed}, false)
	if err != nil {
		t.Fatal(err)
	}
	defer src.close()
	content, err := src.content(t.Context(), false, 0, &told{})
	if err != nil {
		t.Fatal(err)
	}
	sent := make([]byte, content.Size)
	if _, err := content.Plain.ReadAt(sent, 0); err != nil || !bytes.Equal(sent, data) || !content.PackedProven || content.Packed == src.files[0] {
		t.Errorf("%d bytes, packed %v, proven %t: %v", len(sent), content.Packed != nil, content.PackedProven, err)
	}

	db, err := bolt.Open(plain, 0o600, nil)
	if err = errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := prove(t.Context(), Config{From: plain}, false); !errors.Is(err, verify.ErrWritten) {
		t.Errorf("written to: %v", err)
	}
	written, err := prove(t.Context(), Config{From: plain}, true)
	if err != nil {
		t.Fatal(err)
	}
	defer written.close()
	if !written.Raw || len(written.notes()) != 0 {
		t.Errorf("written to: %+v, notes %q", written.SnapshotRecord, written.notes())
	}
}

// TestNotes: what is wrong with a snapshot that is restored all the same.
func TestNotes(t *testing.T) {
	s := &source{SnapshotRecord: site.SnapshotRecord{File: "x.db"}, report: &verify.Report{MetaDamaged: true}}
	if notes := s.notes(); len(notes) != 1 || notes[0] != "x.db: "+verify.NoteMeta {
		t.Errorf("notes %q", notes)
	}
}
