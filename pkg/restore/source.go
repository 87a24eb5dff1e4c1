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

// source is a snapshot that has been proven, as a plain file. Its files are open, and those that were made here have
// no name any more where the system allows that: a client that is killed leaves no Secrets on the workstation.
type source struct {
	SnapshotRecord
	plain         *os.File
	files         []*os.File // all that are open
	left          []string   // files to remove: Windows deletes none that is open
	report        *verify.Report
	kubeSystemUID string
	sidecar       *snapshot.Sidecar // nil: there is none
	sent          snapshot.Plain    // what plain is, once it is sent
	packed        *os.File          // zstd; nil: not yet, or not possible
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
	s := &source{report: report, kubeSystemUID: report.KubeSystemUID}
	s.SnapshotRecord = SnapshotRecord{File: filepath.Base(from), Raw: report.Raw, Revision: report.Revision, LiveKeys: report.LiveKeys,
		Size: report.Plain.Size, SHA256: report.Plain.SHA256}
	if side, err := snapshot.ReadSidecar(from); err == nil {
		s.sidecar = side
	}
	if err := s.open(from); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// open makes a plain file of a compressed one: what is sent to the members can then be continued after a cut.
func (s *source) open(from string) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	s.files = append(s.files, f)
	r, form, err := snapshot.Reader(f)
	if err != nil {
		return fmt.Errorf("read %s: %w", from, err)
	}
	defer r.Close()
	if form == snapshot.None {
		s.plain = f
		return nil
	}
	s.packed = f
	if s.plain, err = s.make(); err != nil {
		return err
	}
	if _, err := io.Copy(s.plain, r); err != nil {
		return fmt.Errorf("unpack %s: %w", from, err)
	}
	return nil
}

// make makes a file that is gone when this client is.
func (s *source) make() (*os.File, error) {
	f, err := os.CreateTemp("", "kubectl-etcd-restore-")
	if err == nil {
		s.files = append(s.files, f)
		s.unname(f.Name())
	}
	return f, err
}

func (s *source) unname(file string) {
	if os.Remove(file) != nil {
		s.left = append(s.left, file)
	}
}

// content is what is sent to the members. The first time it is made smaller: there is an exec on its way, which costs more
// than that. It goes as it is where that is not possible: no room, mostly. History is left out where the revisions
// become compacted anyway, which is what compacted says; smaller is told then, and to how many bytes.
func (s *source) content(ctx context.Context, compacted bool, smaller func(bytes int64)) reach.Content {
	s.packing.Do(func() {
		s.sent = snapshot.Plain{Size: s.Size, SHA256: s.SHA256}
		if compacted && s.compact(ctx) == nil {
			smaller(s.sent.Size)
		}
		if s.packed == nil {
			s.pack()
		}
	})
	c := reach.Content{Plain: s.plain, Size: s.sent.Size, SHA256: s.sent.SHA256}
	if s.packed == nil {
		return c
	}
	if info, err := s.packed.Stat(); err == nil {
		c.Packed, c.PackedSize, c.PackedProven = s.packed, info.Size(), s.packedProven && !s.Raw
	}
	return c
}

// compact replaces what is sent by a copy without history. All of it would be stored, built and read at the start once
// per member, to be dropped then.
func (s *source) compact(ctx context.Context) error {
	to, err := os.CreateTemp("", "kubectl-etcd-restore-")
	if err != nil {
		return err
	}
	s.files = append(s.files, to)
	again, err := os.OpenFile(to.Name(), os.O_RDWR, 0)
	s.unname(to.Name())
	if err != nil {
		return err
	}
	done, err := verify.Compact(ctx, s.plain, s.report, to, again)
	if err != nil {
		return err
	}
	s.plain, s.sent, s.packed = to, done, nil
	return nil
}

// pack does nothing where that is not possible.
func (s *source) pack() {
	f, err := s.make()
	if err != nil {
		return
	}
	if sum, err := compress(io.NewSectionReader(s.plain, 0, s.sent.Size), f); err == nil {
		s.packed, s.packedProven = f, sum == s.sent.SHA256
	}
}

// compress returns the sha256 (hex) of what it read: once here is less than once on each member.
func compress(from io.Reader, to io.Writer) (sum string, err error) {
	enc, err := zstd.NewWriter(to, zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		return "", err
	}
	h := sha256.New()
	_, err = io.Copy(enc, io.TeeReader(from, h))
	return hex.EncodeToString(h.Sum(nil)), errors.Join(err, enc.Close())
}

func (s *source) close() {
	if s == nil {
		return
	}
	for _, f := range s.files {
		_ = f.Close()
	}
	for _, name := range s.left {
		_ = os.Remove(name)
	}
}
