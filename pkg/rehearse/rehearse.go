// Package rehearse proves a snapshot the only way that counts in the end: it restores it, in a temporary folder, and
// starts a real etcd on it, which is asked for what the snapshot is known to hold. It runs where etcd's binaries are:
// on a workstation, or in a pod with the member's image.
package rehearse

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify"
)

const (
	defaultStartTimeout = 2 * time.Minute
	minQuota            = 8 << 30
)

// What can go wrong with a rehearsal, besides what package verify says of the file.
var (
	// ErrNoBinary: a program that is needed is not there, or does not run here.
	ErrNoBinary = errors.New("etcd program not found")
	// ErrRestore: etcd's own tool refuses to restore the snapshot.
	ErrRestore = errors.New("restore failed")
	// ErrStart: etcd does not start on the restored data, or does not answer in time.
	ErrStart = errors.New("etcd does not start on the restored data")
	// ErrMismatch: the restored etcd answers something else than the snapshot holds; the error is a *MismatchError.
	ErrMismatch = errors.New("restored etcd differs from the snapshot")
)

// MismatchError names what differs.
type MismatchError struct {
	// Field is "revision", "liveKeys" or "hashKV".
	Field string
	// Snapshot and Etcd are the two values.
	Snapshot, Etcd int64
}

func (e *MismatchError) Error() string {
	return fmt.Sprintf("%v: %s is %d in the snapshot, %d in etcd", ErrMismatch, e.Field, e.Snapshot, e.Etcd)
}

func (e *MismatchError) Unwrap() error { return ErrMismatch }

// Config says what is rehearsed and with which programs.
type Config struct {
	// Snapshot is the path of the snapshot, plain or compressed.
	Snapshot string
	// Raw accepts a database without etcd's trailer.
	Raw bool
	// Etcd and Etcdutl are the programs, by default those on PATH. Etcdutl may be an etcdctl of version 3.4 or before,
	// which restores too.
	Etcd, Etcdutl string
	// Dir is where the temporary folder is made, with room for the database, twice where the snapshot is
	// compressed. Default: the snapshot's folder, or os.TempDir where that cannot be written.
	Dir string
	// QuotaBytes is etcd's quota. Default: 8 GiB, or twice the database where that is more.
	QuotaBytes int64
	// StartTimeout bounds the time from the start of etcd until it answers. Default: two minutes.
	StartTimeout time.Duration
	// Report is what verify.File found in this very snapshot. Without one, the snapshot is verified first.
	Report *verify.Report
	// Progress, if set, is told what is being done: "verify", "unpack", "restore", "start", "compare".
	Progress func(step string)
}

// Result is what a rehearsal found. As JSON it is stable: fields are only ever added.
type Result struct {
	// EtcdVersion is that of the etcd that was started; RestoreTool and RestoreToolVersion of what restored.
	EtcdVersion        string `json:"etcdVersion"`
	RestoreTool        string `json:"restoreTool"`
	RestoreToolVersion string `json:"restoreToolVersion"`

	// Revision, LiveKeys and HashKV are etcd's answers, which agree with the snapshot. HashKVCompared is false where an
	// interrupted compaction leaves open what the hash covers.
	Revision        int64  `json:"revision"`
	CompactRevision int64  `json:"compactRevision"`
	LiveKeys        int64  `json:"liveKeys"`
	HashKV          uint32 `json:"hashKV"`
	HashKVCompared  bool   `json:"hashKVCompared"`
	DBSize          int64  `json:"dbSize"`
	// Alarms are those that the snapshot carries: after a restore, NOSPACE must be disarmed before etcd takes writes.
	Alarms []string `json:"alarms,omitempty"`

	// Unpack is zero for a plain snapshot. Restore and Start are what a real restore of this member would take, on this
	// machine.
	Unpack  time.Duration `json:"unpackNanoseconds"`
	Restore time.Duration `json:"restoreNanoseconds"`
	Start   time.Duration `json:"startNanoseconds"`
	Total   time.Duration `json:"totalNanoseconds"`
}

// Run rehearses a restore. Whatever happens, etcd is stopped and the temporary folder is removed before it returns.
func Run(ctx context.Context, c Config) (*Result, error) {
	begin := time.Now()
	s, err := serve(ctx, c)
	if err == nil {
		s.config.Progress("compare")
		err = errors.Join(compare(ctx, s.Client, s.Endpoint, s.Report, &s.result), s.Close())
	}
	if err != nil {
		return nil, failed(ctx, "rehearse restore", err)
	}
	s.result.Total = time.Since(begin)
	return &s.result, nil
}

func failed(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return fmt.Errorf("%s: %w", what, err)
}
