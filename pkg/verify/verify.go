// Package verify reads etcd snapshots from end to end without trusting a byte of them: trailer, compression, the
// database's structure, every key, and what the sidecar says. It answers what is in a snapshot, and whether all of it
// is what etcd sent.
//
// With its sidecar any changed byte of any file is found. Without: any changed byte of a plain snapshot, by its
// trailer; of a compressed one, any that changes what it holds. A raw database is "unproven" in any case: its sidecar
// speaks of the time since the copy only, and without one just what contradicts itself is found, not a changed byte in a
// value.
//
// It writes one thing: a copy without history, for restores (Compact).
//
// A file that ends well may still not start an etcd; for that there is package rehearse.
package verify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/boltfile"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/mvcc"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/snapshot"
)

// Options say how a file is verified. The zero value is what `kubectl etcd verify FILE` does.
type Options struct {
	// Raw accepts a database without a trailer, such as a copy of member/snap/db. A trailer that is there is checked.
	Raw bool
	// NoSidecar ignores the sidecar, FILE.json. Otherwise it is compared where it exists.
	NoSidecar bool
	// TempDir is where a compressed snapshot is unpacked, readable by the owner only and removed in the end. Default:
	// the file's folder, or the system's for temporary files where that cannot be written.
	TempDir string
	// LockTimeout is how long to wait for another process to close the database. Default: half a second.
	LockTimeout time.Duration
	// Keep chooses keys whose values are wanted, while all are read; they come with Report.Kept. What it is given is not its own.
	Keep func(key, value []byte) bool
	// Each, if set, is told of every entry of a key, in the order of revisions. What it is given is not its own.
	Each func(kv mvcc.KeyValue, deleted bool)
	// Progress, if set, is called now and then, never concurrently.
	Progress func(Progress)

	// mvcc.MaxLiveSlots is changed by tests only.
	maxLiveSlots int
}

// Progress says how far a verification is.
type Progress struct {
	// Done of Total bytes of work: reading, hashing and walking each count, so Total is more than the file's size. It
	// grows once, when the size of a compressed snapshot is known.
	Done, Total int64
}

// File verifies the snapshot at path, of whatever form: plain, compressed, or raw. It needs bounded memory, about
// 60 MiB at most. The error is one of this package's.
func File(ctx context.Context, path string, o Options) (*Report, error) {
	report, err := atPath(ctx, path, o)
	if err != nil {
		return nil, fmt.Errorf("verify %s: %w", path, err)
	}
	return report, nil
}

// Opened verifies a snapshot that is open, and may have no name any more; name is what it is called. sidecar, which may be nil,
// is of that very file.
func Opened(ctx context.Context, f *os.File, name string, sidecar *snapshot.Sidecar, o Options) (*Report, error) {
	report, err := verify(ctx, f, name, sidecar, o, false)
	if err != nil {
		return nil, fmt.Errorf("verify %s: %w", name, err)
	}
	return report, nil
}

// DB reads a snapshot of which every byte has been proven just now by a snapshot.Checker, as after a transfer: the
// database is read as in File, but nothing is hashed again and no sidecar is looked at. The database's lock is not taken:
// the file is the caller's own, and may have no name.
func DB(ctx context.Context, f *os.File, o Options) (*Report, error) {
	report, err := verify(ctx, f, f.Name(), nil, o, true)
	if err != nil {
		return nil, fmt.Errorf("read database %s: %w", f.Name(), err)
	}
	return report, nil
}

func atPath(ctx context.Context, path string, o Options) (*Report, error) {
	f, err := openFile(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var sidecar *snapshot.Sidecar
	if !o.NoSidecar {
		sidecar, err = snapshot.ReadSidecar(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	r, err := verify(ctx, f, path, sidecar, o, false)
	if err == nil && sidecar != nil {
		r.Sidecar = snapshot.SidecarPath(path)
	}
	return r, err
}

func verify(ctx context.Context, f *os.File, path string, sidecar *snapshot.Sidecar, o Options, proven bool) (*Report, error) {
	start := time.Now()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	size := info.Size()
	if size == 0 {
		return nil, ErrEmpty
	}
	r := &Report{APIVersion: snapshot.APIVersion, Kind: ReportKind, File: path, Size: size, Proof: snapshot.ProofFull}
	if sidecar != nil && sidecar.Size != size {
		return nil, &SidecarError{Field: "size", Sidecar: formatInt(sidecar.Size), File: formatInt(size)}
	}
	j := &job{path: path, o: o, proven: proven, report: r, tracker: tracker{f: o.Progress}}
	if sidecar != nil {
		j.raw = sidecar.Raw
	}
	err = j.run(ctx, f)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if sidecar != nil {
		// The file's hash is known also when its content is bad: that it changed since it was written says more.
		if r.SHA256 != "" && r.SHA256 != sidecar.SHA256 {
			return nil, &SidecarError{Field: "sha256", Sidecar: sidecar.SHA256, File: r.SHA256, Cause: err}
		}
	}
	if err != nil {
		return nil, err
	}
	if sidecar != nil {
		if err := compare(sidecar, r); err != nil {
			return nil, err
		}
	}
	if r.Raw { // a sidecar proves that the copy did not change since; nothing proves that it was good then
		r.Proof = snapshot.ProofUnproven
	}
	r.Duration = time.Since(start)
	return r, nil
}

func openFile(path string) (*os.File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	// Looked at before it is opened: opening a pipe would block.
	switch {
	case info.IsDir():
		return nil, fmt.Errorf("%w: it is a folder", ErrNotFile)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%w: its type is %s", ErrNotFile, info.Mode().Type())
	case info.Size() == 0:
		return nil, ErrEmpty
	}
	return os.Open(path)
}

// job is one verification.
type job struct {
	path    string
	o       Options
	proven  bool
	raw     bool // the sidecar says so
	report  *Report
	tracker tracker
}

func (j *job) run(ctx context.Context, f *os.File) error {
	var head [4]byte
	if _, err := f.ReadAt(head[:], 0); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	j.report.Compression = snapshot.DetectCompression(head[:])
	if j.report.Compression != snapshot.None {
		return j.runCompressed(ctx, f)
	}
	if !j.proven { // a file that was just written is its writer's, who may hold the lock
		unlock, err := boltfile.LockShared(ctx, f, j.o.LockTimeout)
		if err != nil {
			return err
		}
		defer unlock()
	}
	j.report.Plain.Size = j.report.Size
	return j.runPlain(ctx, f)
}

// runPlain hashes the file and reads the database at the same time, on two cores. What the hash says goes
// first: where bytes changed, what they did to the database is of no interest.
func (j *job) runPlain(ctx context.Context, f io.ReaderAt) error {
	db, dbErr := j.openPlain(ctx, f)
	if errors.Is(dbErr, ErrNotSnapshot) {
		return j.explain(f, j.report.Size, dbErr)
	}
	if j.proven {
		j.tracker.addTotal(j.report.Plain.Size)
		if dbErr != nil {
			return dbErr
		}
		return j.readDatabase(ctx, db)
	}
	j.tracker.addTotal(2 * j.report.Plain.Size)
	walkCtx, stop := context.WithCancel(ctx)
	defer stop()
	walked := make(chan error, 1)
	if dbErr == nil {
		go func() { walked <- j.readDatabase(walkCtx, db) }()
	} else {
		walked <- dbErr
	}
	checker := snapshot.NewChecker()
	err := copyContext(ctx, checker, io.NewSectionReader(f, 0, j.report.Plain.Size), j.tracker.add)
	if err == nil {
		err = j.judgeTrailer(checker, db, dbErr)
	}
	switch {
	case errors.Is(err, ErrWritten):
		return j.judgeWritten(<-walked)
	case err == nil:
		err = <-walked
	default:
		stop()
		<-walked
	}
	return j.orLonger(ctx, f, db, dbErr, err)
}

// judgeWritten says what to do with a database that was written to since it was taken, given how reading it went.
func (j *job) judgeWritten(dbErr error) error {
	switch {
	case dbErr != nil:
		return fmt.Errorf("%w (%w)", ErrTrailer, dbErr)
	case !j.o.Raw:
		return ErrWritten
	}
	j.report.Raw = true
	return nil
}

// orLonger tells of what is wrong with a file whether it is that bytes were added.
func (j *job) orLonger(ctx context.Context, r io.ReaderAt, db *boltfile.File, dbErr, err error) error {
	if ctx.Err() != nil || !errors.Is(err, ErrTrailer) && !errors.Is(err, ErrTruncated) && !errors.Is(err, ErrCorrupt) {
		return err
	}
	if longer := j.longer(ctx, r, db, dbErr); longer != nil {
		return longer
	}
	return err
}

// openPlain opens the database before its trailer, if it has one.
func (j *job) openPlain(ctx context.Context, f io.ReaderAt) (*boltfile.File, error) {
	size := j.report.Plain.Size
	if snapshot.HasTrailer(size) {
		size -= snapshot.TrailerSize
		j.report.Trailer = j.proven
	} else {
		j.report.Raw = true
	}
	db, err := boltfile.Open(f, size)
	if err != nil {
		return nil, err
	}
	if err := foreign(ctx, db); err != nil {
		return nil, err
	}
	return db, nil
}

// judgeTrailer says whether the trailer proves the file, given how opening the database went.
func (j *job) judgeTrailer(checker *snapshot.Checker, db *boltfile.File, dbErr error) error {
	proof, err := checker.Finish()
	j.report.Plain = snapshot.Plain{Size: proof.Size, SHA256: proof.SHA256}
	if j.report.Compression == snapshot.None {
		j.report.SHA256 = proof.SHA256
	}
	j.report.Trailer = proof.Trailer
	switch {
	case err == nil:
		return nil
	case errors.Is(dbErr, ErrTruncated):
		return dbErr
	case errors.Is(err, ErrNoTrailer):
		if j.o.Raw || j.raw {
			return nil
		}
		if proof.Size%512 != 0 && dbErr == nil {
			return fmt.Errorf("%w: %d bytes cannot be a whole snapshot", ErrTruncated, proof.Size)
		}
	case dbErr == nil && db.Written() && db.Size()+snapshot.TrailerSize == proof.Size:
		return ErrWritten
	}
	return err
}

func (j *job) readDatabase(ctx context.Context, db *boltfile.File) error {
	slots := j.o.maxLiveSlots
	if slots == 0 {
		slots = mvcc.MaxLiveSlots
	}
	return readContent(ctx, db, j.report, slots, !j.proven, j.o, j.tracker.add)
}

// tracker adds up progress from two goroutines and reports it every few megabytes.
type tracker struct {
	f        func(Progress)
	mu       sync.Mutex
	progress Progress
	reported int64
}

const progressStep = 4 << 20

func (t *tracker) add(n int64) {
	if t.f == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.progress.Done += n
	if t.progress.Done-t.reported >= progressStep {
		t.reported = t.progress.Done
		t.f(t.progress)
	}
}

func (t *tracker) addTotal(n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.progress.Total += n
}

// copyContext copies until the end or until ctx is done.
func copyContext(ctx context.Context, w io.Writer, r io.Reader, progress func(int64)) error {
	buf := make([]byte, 1<<20)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := r.Read(buf)
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return err
			}
			progress(int64(n))
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
