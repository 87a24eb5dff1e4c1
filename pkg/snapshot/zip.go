package snapshot

import (
	"archive/zip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
)

const (
	// maxDirectory bounds what is read of an archive's list of files, and so memory.
	maxDirectory = 1 << 20
	// maxLooked bounds in how many files of an archive a snapshot is looked for.
	maxLooked = 64
	// magicAt is where a database says that it is one, after the header of its first page.
	magicAt, boltMagic = 16, 0xED0CDAED
)

// ErrArchive says that a zip archive cannot be read as one snapshot.
var ErrArchive = errors.New("zip archive")

// IsDatabase tells from its first bytes, 20 or more, whether something is a bbolt database.
func IsDatabase(head []byte) bool {
	return len(head) >= magicAt+4 && binary.LittleEndian.Uint32(head[magicAt:]) == boltMagic
}

// openZip opens the only snapshot of an archive. There may be other files beside it.
func openZip(r io.ReaderAt, size int64) (io.ReadCloser, error) {
	keeper := &readerAt{r: r, left: maxDirectory}
	d := &decoder{source: &keeper.errorKeeper}
	archive, err := zip.NewReader(keeper, size)
	switch {
	case errors.Is(err, errDirectory):
		return nil, fmt.Errorf("%w: it holds too many files", ErrArchive)
	case err != nil:
		return nil, d.explain(err)
	}
	keeper.left = 0
	f, err := onlySnapshot(archive.File)
	if err != nil {
		return nil, err
	}
	plain, err := f.Open()
	if errors.Is(err, zip.ErrAlgorithm) {
		return nil, fmt.Errorf("%w: %s is compressed by method %d", ErrArchive, f.Name, f.Method)
	}
	if err != nil {
		return nil, d.explain(err)
	}
	d.r, d.close = plain, func() { _ = plain.Close() }
	return d, nil
}

// onlySnapshot is the only file of an archive or, of several, the only database.
func onlySnapshot(all []*zip.File) (*zip.File, error) {
	var files, databases []*zip.File
	for _, f := range all {
		if f.Mode().IsRegular() && !strings.HasPrefix(f.Name, "__MACOSX/") && !strings.HasPrefix(path.Base(f.Name), ".") {
			files = append(files, f)
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%w: it holds no file", ErrArchive)
	}
	if len(files) > maxLooked {
		return nil, fmt.Errorf("%w: it holds %d files, too many to look for the snapshot", ErrArchive, len(files))
	}
	if len(files) > 1 {
		for _, f := range files {
			if startsDatabase(f) {
				databases = append(databases, f)
			}
		}
		if len(databases) != 1 {
			return nil, fmt.Errorf("%w: it holds %d files, and %d of them are snapshots", ErrArchive, len(files), len(databases))
		}
		files = databases
	}
	if files[0].Flags&1 != 0 {
		return nil, fmt.Errorf("%w: it is encrypted", ErrArchive)
	}
	return files[0], nil
}

func startsDatabase(f *zip.File) bool {
	if f.Flags&1 != 0 {
		return false
	}
	r, err := f.Open()
	if err != nil {
		return false
	}
	defer func() { _ = r.Close() }()
	head := make([]byte, magicAt+4)
	_, err = io.ReadFull(r, head)
	return err == nil && IsDatabase(head)
}

var errDirectory = errors.New("its directory is too long")

// readerAt is an errorKeeper for archives. It lets no more than left bytes be read, unless that is 0.
type readerAt struct {
	errorKeeper
	r    io.ReaderAt
	left int64
}

func (k *readerAt) ReadAt(p []byte, at int64) (int, error) {
	if k.left > 0 {
		if k.left -= int64(len(p)); k.left <= 0 {
			k.left = 1
			return 0, errDirectory
		}
	}
	n, err := k.r.ReadAt(p, at)
	if err != nil && err != io.EOF {
		k.err = err
	}
	return n, err
}
