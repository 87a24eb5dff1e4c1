package snapshot

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"testing"
)

// database is a stream that begins as a bbolt file does.
func database(size int) []byte {
	data := stream(size)
	binary.LittleEndian.PutUint32(data[magicAt:], boltMagic)
	return data
}

type member struct {
	name string
	data []byte
}

func zipped(t *testing.T, method uint16, files ...member) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, f := range files {
		into, err := w.CreateHeader(&zip.FileHeader{Name: f.name, Method: method})
		if err == nil {
			_, err = into.Write(f.data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzipped(t *testing.T, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(data)
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func openAll(data []byte) ([]byte, Compression, error) {
	r, c, err := Open(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, c, err
	}
	got, err := io.ReadAll(r)
	return got, c, errors.Join(err, r.Close())
}

func TestOpen(t *testing.T) {
	db := database(100_000)
	extra := []member{{"__MACOSX/._a.db", db}, {".hidden", db}, {"folder/", nil}}
	for name, c := range map[string]struct {
		stored      []byte
		compression Compression
	}{
		"plain":               {db, None},
		"zstd":                {encode(t, db), Zstd},
		"gzip":                {gzipped(t, db), Gzip},
		"gzip, zeros behind":  {append(gzipped(t, db), make([]byte, 512)...), Gzip},
		"gzip in two parts":   {append(gzipped(t, db[:5000]), gzipped(t, db[5000:])...), Gzip},
		"zip":                 {zipped(t, zip.Deflate, member{"snapshot", db}), Zip},
		"zip, stored":         {zipped(t, zip.Store, member{"a/b/snapshot", db}), Zip},
		"zip, what else":      {zipped(t, zip.Deflate, append(extra, member{"a.db", db})...), Zip},
		"zip, with a sidecar": {zipped(t, zip.Deflate, member{"a.db.json", []byte("{}")}, member{"a.db", db}), Zip},
	} {
		got, compression, err := openAll(c.stored)
		if err != nil || compression != c.compression || !bytes.Equal(got, db) {
			t.Errorf("%s: %q, %d bytes, %v", name, compression, len(got), err)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	db := database(100_000)
	good, packed := zipped(t, zip.Deflate, member{"a.db", db}), gzipped(t, db)
	flipped := bytes.Clone(good)
	flipped[5000] ^= 1
	secret := bytes.Clone(good)
	for _, header := range []string{"PK\x03\x04\x14\x00", "PK\x01\x02"} {
		at := bytes.Index(secret, []byte(header))
		if header == "PK\x01\x02" {
			at += 2
		}
		secret[at+6] |= 1
	}
	var many []member
	for i := range 20_000 {
		many = append(many, member{fmt.Sprint("a file with a name of some length, number ", i), nil})
	}
	for name, c := range map[string]struct {
		stored []byte
		want   error
		words  string
	}{
		"gzip, cut":           {packed[:len(packed)/2], ErrCompressed, ""},
		"gzip, only a start":  {packed[:5], ErrCompressed, ""},
		"gzip, then others":   {append(append(bytes.Clone(packed), make([]byte, 512)...), "garbage"...), ErrCompressed, ""},
		"gzip, bytes behind":  {append(bytes.Clone(packed), "garbage"...), ErrCompressed, ""},
		"gzip, sum":           {append(bytes.Clone(packed[:len(packed)-8]), make([]byte, 8)...), ErrCompressed, ""},
		"zip, cut":            {good[:len(good)/2], ErrCompressed, ""},
		"zip, flipped":        {flipped, ErrCompressed, ""},
		"zip, no snapshot":    {zipped(t, zip.Deflate, member{"a", []byte("a")}, member{"b", []byte("b")}), ErrArchive, "zip archive: it holds 2 files, and 0 of them are snapshots"},
		"zip, two snapshots":  {zipped(t, zip.Deflate, member{"a", db}, member{"b", db}), ErrArchive, "zip archive: it holds 2 files, and 2 of them are snapshots"},
		"zip, only folders":   {zipped(t, zip.Store, member{"a/", nil}), ErrArchive, "zip archive: it holds no file"},
		"zip, encrypted":      {secret, ErrArchive, "zip archive: it is encrypted"},
		"zip, too many files": {zipped(t, zip.Store, many...), ErrArchive, "zip archive: it holds too many files"},
	} {
		_, _, err := openAll(c.stored)
		if !errors.Is(err, c.want) || c.words != "" && err.Error() != c.words {
			t.Errorf("%s: got %v", name, err)
		}
	}
	// A disk that fails is no damaged archive.
	broken := errors.New("disk is gone")
	r, _, err := Open(failsAt{bytes.NewReader(good), 4000, broken}, int64(len(good)))
	if err == nil {
		_, err = io.ReadAll(r)
	}
	if !errors.Is(err, broken) || errors.Is(err, ErrCompressed) {
		t.Errorf("got %v", err)
	}
}

// failsAt fails for what lies around one byte.
type failsAt struct {
	r   io.ReaderAt
	at  int64
	err error
}

func (f failsAt) ReadAt(p []byte, at int64) (int, error) {
	if at <= f.at && f.at < at+int64(len(p)) {
		return 0, f.err
	}
	return f.r.ReadAt(p, at)
}
