package boltfile

import (
	"errors"
	"fmt"
)

// What can be wrong with a file. Every error of this package is one of these (errors.Is), a context's error, one of the
// visitor's, or an error of the operating system. Their words are those of who asks: the file is a snapshot, or ought to be.
var (
	// ErrNotDatabase: the file is no bbolt database.
	ErrNotDatabase = errors.New("not an etcd snapshot")
	// ErrTruncated: the file ends before the database does.
	ErrTruncated = errors.New("snapshot is truncated")
	// ErrCorrupt: pages of the database contradict each other, or what they hold does.
	ErrCorrupt = errors.New("database is corrupt")
	// ErrInUse: another process, most likely etcd, has the database open for writing.
	ErrInUse = errors.New("database in use")
)

// Corrupt is an ErrCorrupt that says where. It is for visitors, too, which see what pages cannot tell.
func Corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrCorrupt, fmt.Sprintf(format, args...))
}
