package restore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/snapshot"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify"
)

// source is a snapshot that has been proven, as a plain file.
type source struct {
	SnapshotRecord
	path          string // plain
	temp          string // folder to remove; "" when path is the user's own file
	kubeSystemUID string
	sidecar       *snapshot.Sidecar // nil: there is none
	packed        string            // zstd; "": not yet, or not possible
	packedProven  bool              // what was packed is what was proven
	packing       sync.Once
}

// prove reads the whole snapshot before anything is made in a cluster.
func prove(ctx context.Context, from string, raw bool) (*source, error) {
	report, err := verify.File(ctx, from, verify.Options{Raw: raw})
	if err != nil {
		return nil, err
	}
	if report.Raw && !raw {
		return nil, refuse("accept it with --skip-hash-check; it has been read whole, but a torn copy cannot be told from a good one", "restore %s: it is a copy of a database file, which has no hash that proves it", from)
	}
	s := &source{path: from, kubeSystemUID: report.KubeSystemUID}
	s.SnapshotRecord = SnapshotRecord{File: filepath.Base(from), Raw: report.Raw, Revision: report.Revision, LiveKeys: report.LiveKeys,
		Size: report.Plain.Size, SHA256: report.Plain.SHA256}
	if side, err := snapshot.ReadSidecar(from); err == nil {
		s.sidecar = side
	}
	if err := s.unpack(from); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// unpack makes a plain file of a compressed one: what is sent to the members can
// then be continued after a cut.
func (s *source) unpack(from string) (err error) {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	r, form, err := snapshot.Reader(f)
	if err != nil {
		return fmt.Errorf("read %s: %w", from, err)
	}
	defer r.Close()
	if form == snapshot.None {
		return nil
	}
	s.packed = from
	if s.temp, err = os.MkdirTemp("", "kubectl-etcd-restore-"); err != nil {
		return err
	}
	s.path = filepath.Join(s.temp, "snapshot.db")
	out, err := os.OpenFile(s.path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if _, err := io.Copy(out, r); err != nil {
		return fmt.Errorf("unpack %s: %w", from, err)
	}
	return nil
}

// content opens what is sent to the members. The first time it compresses it: there is an exec on its way, which costs
// more than that. Where it cannot be compressed, it goes as it is.
func (s *source) content() (c reach.Content, end func(), err error) {
	s.packing.Do(func() {
		if s.packed == "" {
			s.packed = s.pack()
		}
	})
	plain, err := os.Open(s.path)
	if err != nil {
		return c, nil, err
	}
	c = reach.Content{Plain: plain, Size: s.Size, SHA256: s.SHA256}
	packed, err := os.Open(s.packed)
	if err != nil {
		return c, func() { _ = plain.Close() }, nil
	}
	end = func() { _, _ = plain.Close(), packed.Close() }
	if info, err := packed.Stat(); err == nil {
		c.Packed, c.PackedSize, c.PackedProven = packed, info.Size(), s.packedProven && !s.Raw
	}
	return c, end, nil
}

// pack returns "" where that is not possible: no room, mostly.
func (s *source) pack() string {
	if s.temp == "" {
		dir, err := os.MkdirTemp("", "kubectl-etcd-restore-")
		if err != nil {
			return ""
		}
		s.temp = dir
	}
	path := filepath.Join(s.temp, "snapshot.db.zst")
	sum, err := compress(s.path, path)
	if err != nil {
		_ = os.Remove(path)
		return ""
	}
	s.packedProven = sum == s.SHA256
	return path
}

// compress returns the sha256 (hex) of what it read: once here is less than once on each member.
func compress(from, to string) (sum string, err error) {
	in, err := os.Open(from)
	if err != nil {
		return "", err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	enc, err := zstd.NewWriter(out, zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		return "", err
	}
	h := sha256.New()
	_, err = io.Copy(enc, io.TeeReader(in, h))
	return hex.EncodeToString(h.Sum(nil)), errors.Join(err, enc.Close())
}

func (s *source) close() {
	if s != nil && s.temp != "" {
		_ = os.RemoveAll(s.temp)
	}
}
