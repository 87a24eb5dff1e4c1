package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/agentapi"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/answer"
)

// ErrInUse says that a process holds the database's lock.
var ErrInUse = errors.New("database is in use: its etcd still runs")

// rawCopy sends member/snap/db of a stopped member. The only proof that etcd
// has let go of its data is the lock on that file, so the copy takes it, shared,
// and keeps it: an etcd that starts meanwhile waits.
func rawCopy(ctx context.Context, s *Session) error {
	var req agentapi.RawRequest
	if err := s.Decode(&req); err != nil {
		return err
	}
	path := filepath.Join(req.DataDir, "member", "snap", "db")
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("open database %s: not a regular file", path) // a pipe would block
	}
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open database: %w", err)
	}
	defer func() { _ = f.Close() }()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			return ErrInUse
		}
		return fmt.Errorf("lock %s: %w", path, err)
	}
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("open database: %w", err)
	}
	reply, err := answer.Pump(req.Compress, s.Data(), func(w io.Writer) error {
		return copyWithProgress(ctx, w, f, info.Size(), func(done int64) {
			s.Progress(agentapi.SnapshotProgress{Done: done, Total: info.Size()})
		})
	})
	if err != nil {
		return err
	}
	if reply.Plain.Size != info.Size() {
		return fmt.Errorf("read %s: %d bytes came, the file has %d", path, reply.Plain.Size, info.Size())
	}
	reply.Usage = usage()
	return s.End(reply)
}

func copyWithProgress(ctx context.Context, w io.Writer, r io.Reader, size int64, progress func(done int64)) error {
	var done int64
	for {
		n, err := io.CopyN(w, r, answer.ProgressEvery)
		done += n
		if done > 0 || size == 0 {
			progress(done)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

func usage() agentapi.Usage {
	var ru unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &ru) != nil {
		return agentapi.Usage{}
	}
	return agentapi.Usage{PeakRSS: int64(ru.Maxrss) << 10, CPU: durationOf(ru.Utime) + durationOf(ru.Stime)}
}

func durationOf(t unix.Timeval) time.Duration { return time.Duration(t.Nano()) }
