package verify

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/boltfile"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/snapshot"
)

// ErrLonger: bytes were added to a snapshot, behind it or within; the error is a *LongerError.
var ErrLonger = errors.New("longer than a snapshot")

// LongerError says by how much, and what has added the bytes where that can be told.
type LongerError struct {
	// Size is what there is, Want what the database and its trailer have; 0 where its header is damaged, too.
	Size, Want int64
	// Why is a clause; Way makes a snapshot of it that is whole.
	Why, Way string
}

func (e *LongerError) Error() string {
	msg := ErrLonger.Error()
	if e.Want > 0 {
		msg = fmt.Sprintf("%v by %d bytes: there are %d, and %d are the database and its trailer", ErrLonger, e.Size-e.Want, e.Size, e.Want)
	}
	if e.Why != "" {
		msg += ": " + e.Why
	}
	return msg
}

func (e *LongerError) Unwrap() error { return ErrLonger }

// Hint is the way to a good snapshot.
func (e *LongerError) Hint() string {
	if e.Way != "" {
		return e.Way
	}
	return "copy it again, as it is: exec without -t, FTP in binary mode, not through a shell's variable, an editor or git"
}

// longer tells whether bytes were added to a snapshot whose trailer does not match: nil where they were not. It reads the file
// once more.
func (j *job) longer(ctx context.Context, r io.ReaderAt, db *boltfile.File, dbErr error) error {
	e := &LongerError{Size: j.report.Plain.Size}
	switch {
	case db != nil:
		if e.Want = db.Size() + snapshot.TrailerSize; e.Size <= e.Want || e.Size%512 == 0 { // the file of an etcd that runs is longer, too
			return nil
		}
	case !errors.Is(dbErr, ErrCorrupt):
		return nil
	}
	first, unix := snapshot.NewChecker(), &unixLines{to: snapshot.NewChecker()}
	var last [1]byte
	if err := copyContext(ctx, unix, io.NewSectionReader(r, 0, e.Size), func(int64) {}); err != nil {
		return err
	}
	if e.Want > 0 {
		if err := copyContext(ctx, first, io.NewSectionReader(r, 0, e.Want), func(int64) {}); err != nil {
			return err
		}
		if _, err := r.ReadAt(last[:], e.Size-1); err != nil {
			return err
		}
	}
	name := quoted(j.path)
	if j.report.Compression != snapshot.None {
		name = "UNPACKED-FILE"
	}
	_, firstErr := first.Finish()
	switch {
	case unix.whole():
		e.Why = "line feeds became CR LF, as by a terminal (exec -t), FTP in text mode, or git"
		e.Way = undo + fmt.Sprintf("perl -pe 's/\\r\\n/\\n/' %s > %s", name, good)
	case firstErr != nil && e.Want == 0:
		return nil
	case firstErr != nil:
	case e.Size-e.Want <= 2 && last[0] == '\n':
		e.Why = "a line end was added, as by an editor or a shell"
	case e.Size%e.Want == 0:
		e.Why = fmt.Sprintf("it is there %d times, as after >> or an upload that was taken up twice", e.Size/e.Want)
	default:
		e.Why = "something was added behind it"
	}
	if firstErr == nil {
		e.Way = fmt.Sprintf("its first %d bytes are a whole snapshot; take them with: head -c %d %s > %s", e.Want, e.Want, name, good)
	}
	return e
}

// unixLines undoes what makes CR LF of each line feed.
type unixLines struct {
	to    *snapshot.Checker
	cr    bool
	pairs int64
	buf   []byte
}

func (u *unixLines) Write(p []byte) (int, error) {
	out := u.buf[:0]
	for _, b := range p {
		if u.cr && b == '\n' {
			u.pairs++
		} else if u.cr {
			out = append(out, '\r')
		}
		if u.cr = b == '\r'; !u.cr {
			out = append(out, b)
		}
	}
	u.buf = out
	_, err := u.to.Write(out)
	return len(p), err
}

// whole ends it, and tells whether a snapshot came out.
func (u *unixLines) whole() bool {
	if u.cr {
		_, _ = u.to.Write([]byte{'\r'})
	}
	_, err := u.to.Finish()
	return u.pairs > 0 && err == nil
}

// bounded writes what is unpacked, and stops where it can be no snapshot: a few bytes can unpack to more than any disk holds.
type bounded struct {
	to             *tempFile
	written, limit int64
}

// maxDatabase is more than any etcd has; a header that claims more is made up.
const maxDatabase = 1 << 40

func (b *bounded) Write(p []byte) (int, error) {
	if b.limit == 0 && b.written >= boltfile.HeaderSize {
		size, err := boltfile.Claimed(b.to, b.written)
		if err != nil {
			return 0, err
		}
		if size > maxDatabase {
			return 0, boltfile.Corrupt("its header says %d bytes", size)
		}
		// A copy of etcd's file may be longer than what is used of it, by 64 MiB at most.
		b.limit = size + max(size, 4*boltfile.HeaderSize) + snapshot.TrailerSize
	}
	if b.limit > 0 && b.written+int64(len(p)) > b.limit {
		return 0, fmt.Errorf("%w: more than %d bytes", ErrLonger, b.limit)
	}
	n, err := b.to.Write(p)
	b.written += int64(n)
	return n, err
}
