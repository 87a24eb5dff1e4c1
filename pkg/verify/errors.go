package verify

import (
	"errors"
	"fmt"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/boltfile"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/snapshot"
)

// What can be wrong with a file. Every error of this package is one of these (errors.Is), a context's error, or an
// error of the operating system.
var (
	// ErrEmpty: the file has no bytes.
	ErrEmpty = snapshot.ErrEmpty
	// ErrNotFile: a folder, a device or something else that is not a file.
	ErrNotFile = errors.New("not a file")
	// ErrNotSnapshot: the file is no etcd database of any kind.
	ErrNotSnapshot = boltfile.ErrNotDatabase
	// ErrTruncated: the file ends before the database it holds does, or in its trailer.
	ErrTruncated = boltfile.ErrTruncated
	// ErrTrailer: at least one byte of the snapshot differs from what etcd sent.
	ErrTrailer = snapshot.ErrTrailer
	// ErrNoTrailer: a whole database without a trailer, most likely a copy of member/snap/db; Options.Raw accepts it.
	// It is also an ErrTrailer, so test for it first.
	ErrNoTrailer = snapshot.ErrNoTrailer
	// ErrWritten: another program has opened the database for writing, so that the trailer cannot match any more. As far as can
	// be seen the database is whole; Options.Raw accepts it, without its trailer. It is also an ErrTrailer, so test for it first.
	ErrWritten = fmt.Errorf("another program has opened the database for writing since it was taken: %w", errWritten{})
	// ErrCompressed: the compressed stream is damaged or ends too early.
	ErrCompressed = snapshot.ErrCompressed
	// ErrCorrupt: pages or keys of the database contradict each other.
	ErrCorrupt = boltfile.ErrCorrupt
	// ErrInUse: another process, most likely etcd, has the database open for writing.
	ErrInUse = boltfile.ErrInUse
	// ErrSidecar: the sidecar and the file disagree; the error is a *SidecarError.
	ErrSidecar = errors.New("sidecar disagrees")
	// ErrInvalidSidecar: what is beside the snapshot is not a sidecar.
	ErrInvalidSidecar = snapshot.ErrInvalidSidecar
)

// errWritten is an ErrTrailer that does not call damaged what is none.
type errWritten struct{}

func (errWritten) Error() string {
	return "the trailer does not match any more, and nothing proves what it holds"
}
func (errWritten) Is(target error) bool { return target == ErrTrailer }

// SidecarError names the first field of the sidecar that disagrees with the file.
type SidecarError struct {
	// Field is the sidecar's field in JSON, such as "sha256" or "plain.size".
	Field string
	// Sidecar and File are the two values.
	Sidecar, File string
	// Cause is what is wrong with the file itself, where that is known too.
	Cause error
}

func (e *SidecarError) Error() string {
	msg := fmt.Sprintf("%v: its %s is %s, the file's is %s", ErrSidecar, e.Field, e.Sidecar, e.File)
	if e.Cause != nil {
		msg += fmt.Sprintf(" (%v)", e.Cause)
	}
	return msg
}

// Unwrap makes the error both an ErrSidecar and its cause.
func (e *SidecarError) Unwrap() []error {
	if e.Cause == nil {
		return []error{ErrSidecar}
	}
	return []error{ErrSidecar, e.Cause}
}
