package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/frame"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/snapshot"
)

// partSuffix is what an upload is called until all of it is there and proven.
const partSuffix = ".part"

func readFile(ctx context.Context, s *Session) error {
	var req frame.ReadRequest
	if err := s.Decode(&req); err != nil {
		return err
	}
	f, err := os.Open(req.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	before, err := f.Stat()
	if err != nil {
		return err
	}
	if !before.Mode().IsRegular() {
		return frame.Errorf(frame.CodeBadRequest, "read %s: it is not a regular file", req.Path)
	}
	if req.Offset < 0 || req.Offset > before.Size() {
		return frame.Errorf(frame.CodeOffset, "read %s: offset %d of %d bytes", req.Path, req.Offset, before.Size())
	}
	reply := frame.ReadReply{Size: before.Size(), Mode: before.Mode(), ModTime: before.ModTime()}
	s.Progress(reply) // so that the client knows the size while it reads
	if err := s.Seed(snapshot.WithContext(ctx, io.LimitReader(f, req.Offset))); err != nil {
		return fmt.Errorf("read %s: %w", req.Path, err)
	}
	sent, err := io.Copy(s.Data(), io.LimitReader(f, before.Size()-req.Offset))
	if err != nil {
		return fmt.Errorf("read %s: %w", req.Path, err)
	}
	after, err := f.Stat()
	if err != nil {
		return err
	}
	if req.Offset+sent != before.Size() || after.Size() != before.Size() || !after.ModTime().Equal(before.ModTime()) {
		return frame.Errorf(frame.CodeChanged, "read %s: it was changed meanwhile", req.Path)
	}
	return s.End(reply)
}

func writeFile(ctx context.Context, s *Session) error {
	var req frame.WriteRequest
	if err := s.Decode(&req); err != nil {
		return err
	}
	if req.Offset < 0 || req.Offset > req.Size {
		return frame.Errorf(frame.CodeBadRequest, "write %s: offset %d of %d bytes", req.Path, req.Offset, req.Size)
	}
	part, err := openPart(ctx, req.Path+partSuffix)
	if err != nil {
		return err
	}
	defer part.Close()
	if err := continueAt(ctx, s, part, req.Offset); err != nil {
		return fmt.Errorf("write %s: %w", req.Path, err)
	}
	upload, err := s.Upload()
	if err != nil {
		return err
	}
	received, err := io.Copy(&steady{File: part}, upload)
	if errors.Is(err, frame.ErrCorrupt) {
		// What stands before the offset may be the culprit: none of it may be continued.
		err = errors.Join(err, part.Truncate(0))
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", req.Path, err)
	}
	if req.Offset+received != req.Size {
		return frame.Errorf(frame.CodeCorrupt, "write %s: %d bytes came, %d were announced", req.Path, req.Offset+received, req.Size)
	}
	end, _ := s.UploadEnd()
	if err := commit(part, req); err != nil {
		return err
	}
	return s.End(frame.WriteReply{Size: req.Size, SHA256: end.SHA256})
}

// steady writes to the disk what it is given as it comes. etcd may live on the same disk, and would have to wait for all
// of it at once. A disk that is slow gets a rest after each piece, as long as that took: half of its time is etcd's.
type steady struct {
	*os.File
	unsynced int
}

const (
	// syncEvery is how much may be waiting for the disk, in bytes.
	syncEvery = 16 << 20
	// slowSync is how long that may take. etcd warns of a sync that takes 100 ms, and its leader is doubted after a second.
	slowSync = 300 * time.Millisecond
	longRest = 5 * time.Second
)

func (s *steady) Write(b []byte) (int, error) {
	n, err := s.File.Write(b)
	if s.unsynced += n; err == nil && s.unsynced >= syncEvery {
		s.unsynced = 0
		begun := time.Now()
		err = s.Sync()
		time.Sleep(rest(time.Since(begun)))
	}
	return n, err
}

// rest is how long a disk is left alone that was busy for so long.
func rest(busy time.Duration) time.Duration {
	if busy < slowSync {
		return 0
	}
	return min(busy, longRest)
}

// ReadFrom is not the file's: that would go past Write.
func (s *steady) ReadFrom(r io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{s}, r)
}

// continueAt cuts the part to offset and puts what stands before it into the checksum.
func continueAt(ctx context.Context, s *Session, part *os.File, offset int64) error {
	info, err := part.Stat()
	if err != nil {
		return err
	}
	if info.Size() < offset {
		return frame.Errorf(frame.CodeOffset, "only %d bytes of it are there, not %d", info.Size(), offset)
	}
	if err := part.Truncate(offset); err != nil {
		return err
	}
	if err := s.SeedUpload(snapshot.WithContext(ctx, io.NewSectionReader(part, 0, offset))); err != nil {
		return err
	}
	_, err = part.Seek(offset, io.SeekStart)
	return err
}

// commit makes the part durable before it gets the name, and then the name.
func commit(part *os.File, req frame.WriteRequest) error {
	if err := part.Chmod(req.Mode.Perm()); err != nil {
		return err
	}
	if err := part.Sync(); err != nil {
		return err
	}
	if err := os.Rename(part.Name(), req.Path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(req.Path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// openPart opens the part and locks it. After a stalled link the agent of the attempt before may still be alive; it ends
// when it has heard nothing for a while, and until then it must not write between the lines of this one.
func openPart(ctx context.Context, path string) (*os.File, error) {
	poll := time.NewTicker(100 * time.Millisecond)
	defer poll.Stop()
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil && isStill(f, path) {
			return f, nil
		}
		f.Close()
		if err != nil && !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for the lock of %s: %w", path, context.Cause(ctx))
		case <-poll.C:
		}
	}
}

// isStill tells whether the open file still has its name: whoever had the lock before may have renamed it.
func isStill(f *os.File, path string) bool {
	opened, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Stat(path)
	return err == nil && os.SameFile(opened, named)
}

func statFile(ctx context.Context, s *Session) error {
	var req frame.StatRequest
	if err := s.Decode(&req); err != nil {
		return err
	}
	reply := frame.StatReply{Part: -1}
	if info, err := os.Stat(req.Path + partSuffix); err == nil {
		reply.Part = info.Size()
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	info, err := os.Stat(req.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return s.End(reply)
	case err != nil:
		return err
	}
	reply.Exists, reply.Size, reply.Mode = true, info.Size(), info.Mode()
	if req.Sum && info.Mode().IsRegular() {
		if reply.SHA256, err = sumFile(ctx, req.Path); err != nil {
			return err
		}
	}
	return s.End(reply)
}

func sumFile(ctx context.Context, path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, snapshot.WithContext(ctx, f)); err != nil {
		return "", fmt.Errorf("read %s: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
