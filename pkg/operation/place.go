package operation

import (
	"context"
	"errors"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
)

// What a Place answers where it cannot do what it was asked. Its errors are one of these and still say what it says itself.
var (
	ErrNotThere = errors.New("there is none")
	ErrConflict = errors.New("it is not as it was")
	// ErrRefused is an answer that no other try changes.
	ErrRefused = errors.New("it is not allowed")
)

// Place is where journals and locks live: the cluster whose control plane they are of (Cluster), or, where that is what is
// restored, another one. It has to be there whatever an operation does meanwhile.
//
// Each is written as a whole and has a version, which changes with each write. Who writes over a version that is not there any
// more has ErrConflict, so that of two who write at once one hears of the other.
type Place interface {
	// Journals are all of a namespace; "" is all namespaces.
	Journals(ctx context.Context, namespace string) ([]Entry, error)
	Journal(ctx context.Context, namespace, id string) (Entry, error)
	// CreateJournal has ErrConflict where there is one.
	CreateJournal(ctx context.Context, e Entry) (Entry, error)
	// UpdateJournal writes over e.Version, or over whatever is there if that is empty; ErrNotThere: it was deleted.
	UpdateJournal(ctx context.Context, e Entry) (Entry, error)
	// DeleteJournal deletes it; one that is gone is no error.
	DeleteJournal(ctx context.Context, namespace, id string) error

	Claim(ctx context.Context, namespace, name string) (Claim, error)
	// CreateClaim has ErrConflict where there is one.
	CreateClaim(ctx context.Context, c Claim) (Claim, error)
	// UpdateClaim writes over c.Version.
	UpdateClaim(ctx context.Context, c Claim) (Claim, error)
	// DeleteClaim deletes what has c.Version; one that is gone is no error.
	DeleteClaim(ctx context.Context, c Claim) error
	// Where names one of its journals, for people, and what to type to look at it and to delete it.
	Where(namespace, id string) (name, look, remove string)
}

// Entry is a journal where it lives.
type Entry struct {
	Namespace, ID string
	Version       string // as its place counts; not for comparing which is newer
	Revision      int64  // of the etcd that it lives in, when it was last written; 0: not known
	Text          string
	// Said without reading the text: what it is of, when it was begun, and how far it is.
	Target  string
	Phase   plan.Phase
	Created time.Time
}

// Claim is a lock where it lives: who holds it, since when, and when that client has last said so.
type Claim struct {
	Namespace, Name string
	Version         string
	Revision        int64         // as in Entry
	Holder          string        // "": nobody
	Since, Renewed  time.Time     // by the holder's clock; zero: not known
	For             time.Duration // how long it outlives its holder; 0: not known
}
