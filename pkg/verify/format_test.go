package verify_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash/fnv"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"unicode/utf16"

	bolt "go.etcd.io/bbolt"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/snapshot"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify/etcdtest"
)

func gz(t *testing.T, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	_, err := w.Write(data)
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zipOf(t *testing.T, name string, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	f, err := w.Create(name)
	if err == nil {
		_, err = f.Write(data)
	}
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func tarOf(t *testing.T, name string, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(data)), Typeflag: tar.TypeReg})
	if err == nil {
		_, err = w.Write(data)
	}
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// wide is text as PowerShell writes it: one character of each byte, in UTF-16.
func wide(text []byte) []byte {
	out := []byte{0xff, 0xfe}
	for _, u := range utf16.Encode([]rune(string(text))) {
		out = binary.LittleEndian.AppendUint16(out, u)
	}
	return out
}

// TestPacked: what others pack is read as it is, also beside what is no snapshot.
func TestPacked(t *testing.T) {
	good, err := os.ReadFile(small(t))
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"s.db.gz": gz(t, good), "s.zip": zipOf(t, "snapshot", good), "s": gz(t, good)} {
		dir := t.TempDir()
		path := filepath.Join(dir, name)
		write(t, path, data)
		r, err := verify.File(t.Context(), path, verify.Options{})
		if err != nil || !r.Trailer || r.Proof != snapshot.ProofFull || r.Plain.Size != int64(len(good)) || r.Size != int64(len(data)) || len(r.SHA256) != 64 {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
		if left, _ := os.ReadDir(dir); len(left) != 1 {
			t.Errorf("left behind: %v", left)
		}
	}
}

// TestFormats: what a file is, if no snapshot, and the command that makes one of it; which is run, and has to.
func TestFormats(t *testing.T) {
	good, err := os.ReadFile(small(t))
	if err != nil {
		t.Fatal(err)
	}
	text := []byte(base64.StdEncoding.EncodeToString(good))
	lines := inLines(text)
	for name, c := range map[string]struct {
		data       []byte
		what, hint string
		undoes     string // what the hint's command makes; empty: it is not run
	}{
		"tar":             {tarOf(t, "inner.db", good), "a tar archive", "undo that with: tar -xf FILE", "inner.db"},
		"tar.gz":          {gz(t, tarOf(t, "inner.db", good)), "a tar archive within gzip", "undo that with: tar -xf FILE", "inner.db"},
		"tar in zip":      {zipOf(t, "a.tar", tarOf(t, "inner.db", good)), "a tar archive within zip", "look at what comes out of: unzip FILE", ""},
		"gzip twice":      {gz(t, gz(t, good)), "gzip data within gzip", "look at what comes out of: gzip -dc FILE > unpacked", "unpacked"},
		"zstd in zip":     {zipOf(t, "a.db.zst", pack(t, good)), "zstd data within zip", "look at what comes out of: unzip FILE", ""},
		"zip of nothing":  {zipOf(t, "a/", nil), "a zip archive: it holds no file", "name the snapshot that comes out of: unzip FILE", ""},
		"base64":          {text, "base64 text of a snapshot", "undo that with: base64 -d < FILE > good.db", "good.db"},
		"base64, lines":   {lines, "base64 text of a snapshot", `undo that with: tr -d '\r' < FILE | base64 -d > good.db`, "good.db"},
		"PEM":             {append(append([]byte("-----BEGIN CERTIFICATE-----\r\n"), lines...), "-----END CERTIFICATE-----\r\n"...), "base64 text of a snapshot", `undo that with: grep -v '^-----' < FILE | tr -d '\r' | base64 -d > good.db`, "good.db"},
		"base64 of gzip":  {[]byte(base64.StdEncoding.EncodeToString(gz(t, good))), "base64 text of gzip data", "undo that with: base64 -d < FILE > good.db", "good.db"},
		"UTF-16":          {wide([]byte("what a program has printed")), "UTF-16 text, as PowerShell's > makes of any output", "let the program write its file itself", ""},
		"base64, UTF-16":  {wide(lines), "base64 text of a snapshot in UTF-16", `undo that with: iconv -f UTF-16 -t ASCII FILE | tr -d '\r' | base64 -d > good.db`, "good.db"},
		"age":             {[]byte("age-encryption.org/v1\n-> X25519 abc\n"), "encrypted with age", "undo that with: age -d -i KEY -o good.db FILE", ""},
		"age, armoured":   {[]byte("-----BEGIN AGE ENCRYPTED FILE-----\nYWdl\n"), "encrypted with age", "undo that with: age -d -i KEY -o good.db FILE", ""},
		"xz":              {[]byte("\xfd7zXZ\x00\x00\x04"), "xz data", "undo that with: xz -dc FILE > good.db", ""},
		"XML":             {[]byte("<?xml version='1.0'?>\n<Error><Code>NoSuchBucket</Code></Error>"), `an XML document that says "NoSuchBucket"`, "it came in the place of the snapshot: see what it says (head -c 500 FILE), and download again", ""},
		"HTML":            {[]byte("\n<!DOCTYPE html><html><head><title>Sign in</title>"), `an HTML page that says "Sign in"`, "it came in the place of the snapshot", ""},
		"JSON":            {[]byte(`{"message": "not found"}`), "a JSON document", "it came in the place of the snapshot", ""},
		"a sidecar":       {[]byte(`{"apiVersion": "kubectl-etcd.io/v1", "kind": "Snapshot"}`), "the sidecar of a snapshot", "name the snapshot that it lies beside", ""},
		"Git LFS":         {[]byte("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"), "what Git LFS left in the place of the file", "undo that with: git lfs pull --include FILE", ""},
		"SQLite":          {[]byte("SQLite format 3\x00"), "an SQLite database, as k3s has without etcd (kine)", "", ""},
		"a name to quote": {text, "base64 text of a snapshot", "undo that with: base64 -d < FILE > good.db", "good.db"},
	} {
		t.Run(name, func(t *testing.T) {
			path, shown := filepath.Join(t.TempDir(), "file.db"), ""
			if shown = path; name == "a name to quote" {
				path = filepath.Join(filepath.Dir(path), "it's here.db")
				shown = "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
			}
			write(t, path, c.data)
			_, err := verify.File(t.Context(), path, verify.Options{})
			var format *verify.FormatError
			if !errors.Is(err, verify.ErrNotSnapshot) || !errors.As(err, &format) || !strings.HasSuffix(err.Error(), ": not an etcd snapshot: it is "+c.what) {
				t.Fatalf("got %v", err)
			}
			if hint := format.Hint(); !strings.HasPrefix(hint, strings.Replace(c.hint, "FILE", shown, 1)) {
				t.Errorf("hint: %s", hint)
			}
			undo(t, format.Hint(), c.undoes)
		})
	}
}

// undo runs the command that a hint ends in, and proves what comes out.
func undo(t *testing.T, command, makes string) {
	t.Helper()
	if makes == "" || runtime.GOOS == "windows" {
		return
	}
	dir := t.TempDir()
	command = command[strings.LastIndex(command, ": ")+2:]
	cmd := exec.Command("sh", "-c", command)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", command, err, out)
	}
	if r, err := verify.File(t.Context(), filepath.Join(dir, makes), verify.Options{}); err != nil || r.Proof != snapshot.ProofFull {
		t.Errorf("what %s makes: %v", command, err)
	}
}

func inLines(text []byte) []byte {
	var out []byte
	for ; len(text) > 76; text = text[76:] {
		out = append(append(out, text[:76]...), "\r\n"...)
	}
	return append(append(out, text...), '\n')
}

// TestBomb: a few kilobytes that unpack to more than a disk holds are given up early.
func TestBomb(t *testing.T) {
	good, err := os.ReadFile(small(t))
	if err != nil {
		t.Fatal(err)
	}
	mega := make([]byte, 1<<20)
	zeros := bytes.Repeat(gz(t, mega), 150)
	for name, c := range map[string]struct {
		data []byte
		want error
	}{
		"of nothing":          {zeros, verify.ErrNotSnapshot},
		"behind a snapshot":   {append(gz(t, good), zeros...), verify.ErrLonger},
		"behind a good start": {append(gz(t, good[:40]), zeros...), verify.ErrCorrupt},
		"of a made-up size":   {gz(t, append(claiming(good, 1<<37), mega...)), verify.ErrCorrupt},
		"of nothing, zip":     {zipOf(t, "a", bytes.Repeat(mega, 40)), verify.ErrNotSnapshot},
		"of nothing, zstd":    {bytes.Repeat(pack(t, mega), 1<<8), verify.ErrNotSnapshot},
	} {
		path := filepath.Join(t.TempDir(), "bomb")
		write(t, path, c.data)
		if _, err := verify.File(t.Context(), path, verify.Options{}); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// claiming is a database whose first header says that it has so many pages.
func claiming(db []byte, pages uint64) []byte {
	out := make([]byte, 64<<20)
	copy(out, db)
	page := int(binary.LittleEndian.Uint32(db[24:]))
	for _, at := range []int{16, page + 16} { // both meta pages: magic, version, page size, flags, root, freelist, high-water mark, txid, sum
		binary.LittleEndian.PutUint64(out[at+40:], pages)
		sum := fnv.New64a()
		_, _ = sum.Write(out[at : at+56])
		binary.LittleEndian.PutUint64(out[at+56:], sum.Sum64())
	}
	return out
}

// TestLonger: bytes that were added are told, and what undoes it is run.
func TestLonger(t *testing.T) {
	good, err := os.ReadFile(small(t))
	if err != nil {
		t.Fatal(err)
	}
	unix2dos := bytes.ReplaceAll(good, []byte("\n"), []byte("\r\n"))
	for name, c := range map[string]struct {
		data  []byte
		words string
		undo  bool
	}{
		"a line end":        {append(bytes.Clone(good), '\n'), "a line end was added", true},
		"a DOS line end":    {append(bytes.Clone(good), "\r\n"...), "a line end was added", true},
		"twice":             {append(bytes.Clone(good), good...), "it is there 2 times", true},
		"a byte":            {append(bytes.Clone(good), 0), "something was added behind it", true},
		"a sector":          {append(bytes.Clone(good), make([]byte, 512)...), "something was added behind it", true},
		"line ends":         {unix2dos, "line feeds became CR LF", true},
		"line ends, packed": {gz(t, unix2dos), "line feeds became CR LF", false},
		"in the middle":     {append(append(bytes.Clone(good[:50_000]), "12345"...), good[50_000:]...), "are the database and its trailer", false},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "file.db")
			write(t, path, c.data)
			_, err := verify.File(t.Context(), path, verify.Options{})
			var longer *verify.LongerError
			if !errors.As(err, &longer) || !errors.Is(err, verify.ErrLonger) || !strings.Contains(err.Error(), c.words) {
				t.Fatalf("got %v", err)
			}
			// Of line ends there may be some in the header.
			if !strings.HasPrefix(name, "line ends") && (longer.Want != int64(len(good)) || longer.Size != int64(len(c.data))) {
				t.Errorf("%d of %d bytes", longer.Want, longer.Size)
			}
			if c.undo {
				undo(t, longer.Hint(), "good.db")
			} else if longer.Hint() == "" {
				t.Error("no hint")
			}
		})
	}
}

// touched is a snapshot that another program has opened for writing.
func touched(t *testing.T) string {
	t.Helper()
	path := small(t)
	db, err := bolt.Open(path, 0o600, nil)
	if err == nil {
		err = db.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// TestWritten: the trailer of a snapshot that was opened for writing cannot match any more. It is told, and accepted as raw.
func TestWritten(t *testing.T) {
	path := touched(t)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path+".gz", gz(t, data))
	for _, path := range []string{path, path + ".gz"} {
		if _, err := verify.File(t.Context(), path, verify.Options{}); !errors.Is(err, verify.ErrWritten) || !errors.Is(err, verify.ErrTrailer) {
			t.Errorf("got %v", err)
		}
		r, err := verify.File(t.Context(), path, verify.Options{Raw: true})
		if err != nil || !r.Raw || r.Trailer || r.Proof != snapshot.ProofUnproven || r.LiveKeys == 0 || len(r.Notes) != 0 {
			t.Errorf("got %+v, %v", r, err)
		}
	}
	// One that was also damaged, and one that was only damaged, are not accepted.
	damaged := bytes.Clone(data)
	for at := 8192; at < len(damaged)-32; at += 4096 { // the page's own number
		damaged[at] ^= 0xff
	}
	write(t, path, damaged)
	if _, err := verify.File(t.Context(), path, verify.Options{Raw: true}); !errors.Is(err, verify.ErrTrailer) || errors.Is(err, verify.ErrWritten) {
		t.Errorf("damaged, too: %v", err)
	}
	path = small(t)
	if damaged, err = os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	damaged[len(damaged)/2] ^= 1
	write(t, path, damaged)
	if _, err := verify.File(t.Context(), path, verify.Options{Raw: true}); !errors.Is(err, verify.ErrTrailer) || errors.Is(err, verify.ErrWritten) {
		t.Errorf("damaged: %v", err)
	}
}

// TestMetaDamaged: a copy whose newest meta page is bad is read as it was before, and that is told.
func TestMetaDamaged(t *testing.T) {
	s := etcdtest.Start(t, etcdtest.Find(t, "3.6"))
	s.Fill(t, 20)
	s.Stop()
	data, err := os.ReadFile(s.DB)
	if err != nil {
		t.Fatal(err)
	}
	pageSize := binary.LittleEndian.Uint32(data[16+8:])
	for _, at := range []uint32{0, pageSize} {
		damaged := bytes.Clone(data)
		damaged[at+16+20] ^= 1
		path := filepath.Join(t.TempDir(), "db")
		write(t, path, damaged)
		r, err := verify.File(t.Context(), path, verify.Options{Raw: true})
		if err != nil || !r.MetaDamaged || len(r.Notes) != 1 || r.Notes[0] != verify.NoteMeta {
			t.Errorf("page at %d: %+v, %v", at, r, err)
		}
	}
	if r, err := verify.File(t.Context(), s.DB, verify.Options{Raw: true}); err != nil || r.MetaDamaged {
		t.Errorf("undamaged: %+v, %v", r, err)
	}
}

// TestForeignDatabase: etcd is not the only user of bbolt.
func TestForeignDatabase(t *testing.T) {
	for name, c := range map[string]struct {
		buckets []string
		words   string
	}{
		"none":    {nil, "a bbolt database without anything in it"},
		"another": {[]string{"v1", "meta"}, `a bbolt database of another program, with the buckets "meta", "v1"`},
		"many":    {[]string{"a", "b", "c", "d", "e", "f", "g"}, `with the buckets "a", "b", "c", "d", "e", and 2 more`},
	} {
		path := filepath.Join(t.TempDir(), "db")
		db, err := bolt.Open(path, 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		err = db.Update(func(tx *bolt.Tx) error {
			for _, b := range c.buckets {
				if _, err := tx.CreateBucket([]byte(b)); err != nil {
					return err
				}
			}
			return nil
		})
		if err = errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		write(t, path+".gz", gz(t, withTrailer(data)))
		for _, path := range []string{path, path + ".gz"} {
			for _, raw := range []bool{false, true} {
				_, err := verify.File(t.Context(), path, verify.Options{Raw: raw})
				if !errors.Is(err, verify.ErrNotSnapshot) || !strings.HasSuffix(err.Error(), c.words) {
					t.Errorf("%s, raw %t: got %v", name, raw, err)
				}
			}
		}
	}
}
