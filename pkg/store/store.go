package store

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"time"
)

// Store keeps objects, each under a name with slashes in it. Whoever uses one does not know which it is.
//
// Errors wrap ErrExists, fs.ErrNotExist, fs.ErrPermission and ErrChanged where that is what is wrong; see Error for what they say.
type Store interface {
	// Create begins an object, which appears when its Writer is committed, and not before.
	Create(ctx context.Context, name string, o CreateOptions) (Writer, error)
	// Open reads an object from that byte on. With a version, only that one: otherwise the error is ErrChanged.
	Open(ctx context.Context, name string, offset int64, version string) (io.ReadCloser, error)
	// Stat finds an object without reading it.
	Stat(ctx context.Context, name string) (Info, error)
	// List tells of all objects whose names begin like this, page by page; not in any order. It ends with each's first error.
	List(ctx context.Context, prefix string, each func(Info) error) error
	// Delete removes an object; one that is not there is no error.
	Delete(ctx context.Context, name string) error
	// URL is an object's name for people, and what a command takes.
	URL(name string) string
}

// CreateOptions are the details of an object that is made.
type CreateOptions struct {
	// Size is how many bytes are expected; 0 where it is not known. It bounds nothing: more or fewer may come.
	Size int64
	// Replace lets it take the place of one that is there.
	Replace bool
}

// Writer is an object that is being written. Exactly one of Commit and Abort ends it.
type Writer interface {
	io.Writer
	// Commit makes the object appear, whole, and nowhere where there was one before, unless that may be replaced.
	Commit(ctx context.Context) (Info, error)
	// Abort leaves nothing of it, also when its context has ended. After Commit it does nothing.
	Abort()
}

// Info is what a store knows of an object.
type Info struct {
	Name    string
	Size    int64 // bytes
	Changed time.Time
	Version string // another one when the content is: an ETag, a generation
}

// Signer makes addresses that need no credentials.
type Signer interface {
	// Sign is a URL with which anybody can GET the object, for so long.
	Sign(ctx context.Context, name string, expires time.Duration) (string, error)
}

// Sweeper knows of uploads that were begun and have not ended: what a client that was killed has left.
type Sweeper interface {
	Uploads(ctx context.Context, prefix string, each func(Upload) error) error
	// Drop ends one, and what had arrived of it is gone.
	Drop(ctx context.Context, u Upload) error
}

// Upload is an object that has not appeared.
type Upload struct {
	Name  string
	ID    string
	Begun time.Time
}

// ErrChanged says that an object is another one than when it was looked at.
var ErrChanged = errors.New("it was changed meanwhile")

// Error is what a store says, with the way out if there is one.
type Error struct {
	What string // verb and noun: "read s3://bucket/name"
	Err  error
	Way  string
}

func (e *Error) Error() string { return e.What + ": " + e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// Hint is the way out.
func (e *Error) Hint() string { return e.Way }

// NotExist is fs.ErrNotExist in words that fit.
type NotExist string

// What is not there.
const (
	NoObject NotExist = "no such object"
	NoBucket NotExist = "no such bucket"
)

func (e NotExist) Error() string { return string(e) }

// Is fs.ErrNotExist.
func (e NotExist) Is(target error) bool { return target == fs.ErrNotExist }

// Missing tells whether an error is that there is no such object.
func Missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// ReadAll reads a small object: one of more than most bytes is refused.
func ReadAll(ctx context.Context, s Store, name string, most int64) ([]byte, error) {
	r, err := s.Open(ctx, name, 0, "")
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	data, err := io.ReadAll(io.LimitReader(r, most+1))
	if err != nil {
		return nil, &Error{What: "read " + s.URL(name), Err: err}
	}
	if int64(len(data)) > most {
		return nil, &Error{What: "read " + s.URL(name), Err: errors.New("it is too large for what it should be")}
	}
	return data, nil
}

// Put writes a small object at once.
func Put(ctx context.Context, s Store, name string, data []byte, replace bool) (Info, error) {
	w, err := s.Create(ctx, name, CreateOptions{Size: int64(len(data)), Replace: replace})
	if err != nil {
		return Info{}, err
	}
	defer w.Abort()
	if _, err := w.Write(data); err != nil {
		return Info{}, err
	}
	return w.Commit(ctx)
}
