package verify

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/snapshot"
)

// runCompressed unpacks the snapshot to a temporary file, since a database needs random access, hashing both forms
// on the way, and then reads the database.
func (j *job) runCompressed(ctx context.Context, f *os.File) error {
	temp, err := createTemp(j.o.TempDir, j.path)
	if err != nil {
		return err
	}
	defer temp.close()

	checker := snapshot.NewChecker()
	to := &bounded{to: temp}
	if j.proven {
		err = decompress(ctx, j.source(f), to)
	} else {
		err = j.unpack(ctx, f, io.MultiWriter(to, checker))
	}
	if errors.Is(err, snapshot.ErrArchive) {
		return &FormatError{What: "a " + err.Error(), Way: fmt.Sprintf("name the snapshot that comes out of: unzip %s", quoted(j.path)), Cause: err}
	}
	if err != nil {
		return j.explain(temp, to.written, err)
	}
	if j.report.Plain.Size, err = temp.Seek(0, io.SeekCurrent); err != nil {
		return err
	}
	if j.report.Plain.Size == 0 {
		return ErrEmpty
	}
	j.tracker.addTotal(j.report.Plain.Size)
	db, dbErr := j.openPlain(ctx, temp)
	if errors.Is(dbErr, ErrNotSnapshot) {
		return j.explain(temp, j.report.Plain.Size, dbErr)
	}
	if !j.proven {
		err := j.judgeTrailer(checker, db, dbErr)
		if errors.Is(err, ErrWritten) {
			return j.judgeWritten(j.readDatabase(ctx, db))
		}
		if err != nil {
			return j.orLonger(ctx, temp, db, dbErr, err)
		}
	}
	if dbErr == nil {
		dbErr = j.readDatabase(ctx, db)
	}
	if j.proven {
		return dbErr
	}
	return j.orLonger(ctx, temp, db, dbErr, dbErr)
}

// source reads the stored file and reports progress.
func (j *job) source(f *os.File) io.Reader {
	j.tracker.addTotal(j.report.Size)
	return &progressReader{r: io.NewSectionReader(f, 0, j.report.Size), add: j.tracker.add}
}

// unpack writes the plain snapshot to w. The stored file's hash is in the report afterwards, also after an error.
func (j *job) unpack(ctx context.Context, f *os.File, w io.Writer) error {
	stored := sha256.New()
	source := io.TeeReader(j.source(f), stored)
	var err error
	if j.report.Compression == snapshot.Zip { // which is not read in one go
		if err := copyContext(ctx, io.Discard, source, func(int64) {}); err != nil {
			return err
		}
		err = j.unzip(ctx, f, w)
	} else {
		err = decompress(ctx, source, w)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	// What the decoder left unread, after damage, still counts for the hash.
	if drainErr := copyContext(ctx, io.Discard, source, func(int64) {}); drainErr != nil {
		return drainErr
	}
	j.report.SHA256 = hex.EncodeToString(stored.Sum(nil))
	return err
}

func decompress(ctx context.Context, source io.Reader, w io.Writer) error {
	plain, _, err := snapshot.Reader(source)
	if err != nil {
		return err
	}
	defer plain.Close()
	return copyContext(ctx, w, plain, func(int64) {})
}

func (j *job) unzip(ctx context.Context, f io.ReaderAt, w io.Writer) error {
	plain, _, err := snapshot.Open(f, j.report.Size)
	if err != nil {
		return err
	}
	defer plain.Close()
	return copyContext(ctx, w, plain, func(int64) {})
}

type progressReader struct {
	r   io.Reader
	add func(int64)
}

func (p *progressReader) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	p.add(int64(n))
	return n, err
}

// tempFile is an open file that nothing is left of once it is closed; where the system allows it, not even if the
// process is killed.
type tempFile struct {
	*os.File
	removed bool
}

// createTemp makes a file for the unpacked form of path. The file's own folder is preferred, because the system's
// folder for temporary files is often in memory.
func createTemp(dir, path string) (*tempFile, error) {
	pattern := "." + filepath.Base(path) + ".verify-*"
	if dir != "" {
		f, err := os.CreateTemp(dir, pattern)
		return newTempFile(f, err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), pattern)
	if err != nil {
		f, err = os.CreateTemp("", pattern)
	}
	return newTempFile(f, err)
}

func newTempFile(f *os.File, err error) (*tempFile, error) {
	if err != nil {
		return nil, fmt.Errorf("create temporary file: %w", err)
	}
	// Windows refuses to remove an open file.
	return &tempFile{File: f, removed: os.Remove(f.Name()) == nil}, nil
}

func (t *tempFile) close() {
	t.File.Close()
	if !t.removed {
		os.Remove(t.Name())
	}
}
