// Package backup takes a snapshot of one member, proves it, and puts it where
// the user wants it. Nothing appears under its final name before it is proven.
package backup

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/seal"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/snapshot"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/survey"
)

// Compress says where zstd is used.
type Compress string

const (
	// CompressAuto compresses on the wire; the file is compressed when its name ends in .zst.
	CompressAuto Compress = "auto"
	// CompressNone compresses nothing.
	CompressNone Compress = "none"
	// CompressZstd compresses wire and file.
	CompressZstd Compress = "zstd"
)

// Prove says how much is proven before the file gets its name.
type Prove string

const (
	// ProveAuto is full for files and stream for standard output.
	ProveAuto Prove = "auto"
	// ProveStream: length and sha256 of the transfer and etcd's own trailer.
	ProveStream Prove = "stream"
	// ProveFull: besides, the whole database is read: structure, every key, revision, counts, hash.
	ProveFull Prove = "full"
)

// Config is what to back up, from where, to where.
type Config struct {
	// Plane is the control plane; for the direct way it is made from Direct by DirectPlane.
	Plane controlplane.ControlPlane
	// Direct are endpoints reached without a cluster; with them Via is reach.Direct.
	Direct []reach.DirectConfig
	// Context is the kubeconfig context's name, for the file's name and the sidecar.
	Context string
	// To is a file, a folder, or store.Stdout; with a Store the name of an object there, or one that ends in a slash (or is empty),
	// behind which a name is put.
	To string
	// Store is where it goes; nil: a file, or standard output.
	Store store.Store
	// Encrypt is for whom; none: it is not.
	Encrypt seal.Recipients
	// WithKeys saves the keys that a snapshot needs beside it, encrypted for the same.
	WithKeys bool
	// Scheduled says that a schedule asks for this, and nobody by hand.
	Scheduled bool
	// Member is the name or pod of the source; empty lets the survey choose.
	Member   string
	Via      reach.Way
	Compress Compress
	Prove    Prove
	// Raw copies the database file of a member that does not run.
	Raw   bool
	Force bool
	// LimitRate bounds the transfer, in bytes on the wire per second; 0 does not.
	LimitRate int64
	// Reach carries etcd's user and password, timeouts and the log.
	Reach reach.Options
	// DryRun stops before anything is created.
	DryRun bool
}

// Deps are what a backup needs of the world.
type Deps struct {
	Clients *reach.Clients // nil for the direct way
	Stdout  io.Writer
	Report  Reporter
	Now     func() time.Time
	Tool    string // name and version, for the sidecar
}

// Reporter is told how a backup goes. Progress is called from one goroutine at a time.
type Reporter interface {
	Step(format string, args ...any)
	Warn(format string, args ...any)
	// Progress: plain bytes done of total (0: not known), and bytes on the wire.
	Progress(done, total, wire int64)
	// Done ends the progress of a transfer.
	Done()
}

// Result is what a backup gives, and its stable JSON.
type Result struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	// File, Sidecar and Keys are paths or URLs; empty when written to standard output, and where no keys were asked for.
	File     string            `json:"file,omitempty"`
	Sidecar  string            `json:"sidecar,omitempty"`
	Keys     string            `json:"keys,omitempty"`
	Snapshot *snapshot.Sidecar `json:"snapshot,omitempty"` // nil after a dry run
	Survey   *survey.Survey    `json:"survey,omitempty"`   // nil for a raw copy
	Plan     *Plan             `json:"plan,omitempty"`     // for a dry run
	// WireBytes is what the transfer moved, WireSeconds how long it took.
	WireBytes    int64    `json:"wireBytes,omitempty"`
	WireSeconds  float64  `json:"wireSeconds,omitempty"`
	ProofSeconds float64  `json:"proofSeconds,omitempty"`
	TotalSeconds float64  `json:"totalSeconds,omitempty"`
	AgentPeakRSS int64    `json:"agentPeakRSS,omitempty"` // bytes
	AgentSeconds float64  `json:"agentSeconds,omitempty"` // CPU
	Attempts     int      `json:"attempts,omitempty"`
	Warnings     []string `json:"warnings,omitempty"`
}

// Plan is what a backup would do.
type Plan struct {
	Target  string    `json:"target"`
	Member  string    `json:"member"`
	Node    string    `json:"node,omitempty"`
	Why     string    `json:"why"`
	Via     reach.Way `json:"via"`
	File    string    `json:"file"`
	Creates []string  `json:"creates,omitempty"`
	Keys    []string  `json:"keys,omitempty"` // what would be read for these
	Size    int64     `json:"size"`           // bytes that are expected, plain
}

// ErrDiffers is returned together with a good Result: the snapshot is proven,
// but a member's data is not what the others have.
var ErrDiffers = errors.New("members hold different data")

// DifferError is ErrDiffers, with what the members' survey says.
type DifferError struct {
	Note     string
	Majority bool // most members agree
}

func (e *DifferError) Error() string { return ErrDiffers.Error() + ": " + e.Note }
func (e *DifferError) Unwrap() error { return ErrDiffers }

// Hint says what the backup is worth, and what to do.
func (e *DifferError) Hint() string {
	if !e.Majority {
		return "the file is good, but it is one member's word against another's: back up each with --member, and compare"
	}
	return "the file is good: it holds what most members agree on; the member that differs has to be replaced"
}

// ErrNoSource says that no member can give a snapshot.
type ErrNoSource struct {
	Survey *survey.Survey
	Reason string
}

func (e *ErrNoSource) Error() string { return "choose a member: " + e.Reason }

// ErrNoMember says that the member asked for is not there.
type ErrNoMember struct {
	Name string
	Have []string
}

func (e *ErrNoMember) Error() string {
	return fmt.Sprintf("no member %q; there are: %s", e.Name, join(e.Have))
}
