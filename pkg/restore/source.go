package restore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

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
}

// prove reads the whole snapshot before anything is made in a cluster.
func prove(ctx context.Context, from string, raw bool) (*source, error) {
	report, err := verify.File(ctx, from, verify.Options{Raw: raw})
	if err != nil {
		return nil, err
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

func (s *source) close() {
	if s != nil && s.temp != "" {
		_ = os.RemoveAll(s.temp)
	}
}
