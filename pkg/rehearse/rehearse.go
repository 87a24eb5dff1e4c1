// Package rehearse proves a snapshot the only way that counts in the end: it restores it, in a temporary folder, and
// starts a real etcd on it, which is asked for what the snapshot is known to hold. It runs where etcd's binaries are:
// on a workstation, or in a pod with the member's image.
package rehearse

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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
func Run(ctx context.Context, c Config) (_ *Result, err error) {
	begin := time.Now()
	defer func() {
		if err != nil && ctx.Err() != nil {
			err = ctx.Err()
		}
		if err != nil {
			err = fmt.Errorf("rehearse restore: %w", err)
		}
	}()
	if c.Progress == nil {
		c.Progress = func(string) {}
	}
	tools, err := findTools(ctx, c)
	if err != nil {
		return nil, err
	}
	report := c.Report
	if report == nil {
		c.Progress("verify")
		if report, err = verify.File(ctx, c.Snapshot, verify.Options{Raw: c.Raw, TempDir: c.Dir}); err != nil {
			return nil, err
		}
	}
	dir, err := makeDir(c)
	if err != nil {
		return nil, err
	}
	defer func() {
		if removeErr := os.RemoveAll(dir); removeErr != nil && err == nil {
			err = fmt.Errorf("remove temporary folder: %w", removeErr)
		}
	}()
	r := &Result{EtcdVersion: tools.etcdVersion, RestoreTool: filepath.Base(tools.restore), RestoreToolVersion: tools.restoreVersion}
	if err := rehearse(ctx, c, tools, report, dir, r); err != nil {
		return nil, err
	}
	r.Total = time.Since(begin)
	return r, nil
}

func rehearse(ctx context.Context, c Config, tools tools, report *verify.Report, dir string, r *Result) error {
	plain, took, err := unpack(ctx, c, dir)
	if err != nil {
		return err
	}
	r.Unpack = took

	c.Progress("restore")
	place, err := choosePlace(dir, report.AuthEnabled)
	if err != nil {
		return err
	}
	defer place.remove()
	var id *identity
	if report.AuthEnabled {
		if id, err = newIdentity(dir); err != nil {
			return err
		}
	}
	started := time.Now()
	if err := restore(ctx, tools, plain, place, report.Raw); err != nil {
		return err
	}
	r.Restore = time.Since(started)
	c.Progress("start")
	quota := c.QuotaBytes
	if quota == 0 {
		quota = max(minQuota, 2*report.DBSize)
	}
	timeout := c.StartTimeout
	if timeout == 0 {
		timeout = defaultStartTimeout
	}
	started = time.Now()
	server, err := startEtcd(tools.etcd, place, quota, id)
	if err != nil {
		return err
	}
	defer server.stop()
	client, err := server.waitHealthy(ctx, timeout)
	if err != nil {
		return err
	}
	defer client.Close()
	r.Start = time.Since(started)

	c.Progress("compare")
	return compare(ctx, client, server.endpoint, report, r)
}
