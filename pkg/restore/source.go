package restore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	corev1 "k8s.io/api/core/v1"

	"github.com/dustin/go-humanize"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/snapshot"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/userapi"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify"
)

// source is a snapshot that has been proven, as a plain file. Its files are open, and those that were made here have
// no name any more where the system allows that: a client that is killed leaves no Secrets on the workstation.
type source struct {
	site.SnapshotRecord
	plain        *os.File
	files        []*os.File // all that are open
	left         []string   // files to remove: Windows deletes none that is open
	report       *verify.Report
	sidecar      *snapshot.Sidecar // nil: there is none
	sent         snapshot.Plain    // what plain is, once it is sent
	packed       *os.File          // zstd; nil: not yet, or not possible
	packedProven bool              // what was packed is what was proven
	packing      sync.Once
	unfit        error // why it must not be sent
	world        *world
}

// prove reads the whole snapshot before anything is made in a cluster.
func prove(ctx context.Context, cfg Config, raw bool) (_ *source, err error) {
	s := &source{world: newWorld(cfg.Plane)}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	from := cfg.From
	if cfg.Fetch != nil {
		from, err = s.fetch(ctx, cfg, raw)
	} else {
		err = s.local(ctx, cfg, raw)
	}
	if err != nil {
		return nil, err
	}
	report := s.report
	if report.Raw && !raw {
		return nil, site.Refuse("accept it with --skip-hash-check; it has been read whole, but a torn copy cannot be told from a good one", "restore %s: it is a copy of a database file, which has no hash that proves it", from)
	}
	s.SnapshotRecord = site.SnapshotRecord{File: filepath.Base(from), Raw: report.Raw, Revision: report.Revision, LiveKeys: report.LiveKeys,
		Size: report.Plain.Size, SHA256: report.Plain.SHA256, Objects: userapi.Countable(report.Objects)}
	return s, s.open(from)
}

// local reads a file.
func (s *source) local(ctx context.Context, cfg Config, raw bool) (err error) {
	path := cfg.From
	if s.report, err = verify.File(ctx, path, verify.Options{Raw: raw, Keep: s.telling(cfg)}); err != nil {
		return err
	}
	if side, err := snapshot.ReadSidecar(path); err == nil {
		s.sidecar = side
	}
	f, err := os.Open(path)
	if err == nil {
		s.files = append(s.files, f)
	}
	return err
}

// fetch reads what is elsewhere, once, and says what it is.
func (s *source) fetch(ctx context.Context, cfg Config, raw bool) (url string, _ error) {
	got, err := cfg.Fetch(ctx)
	if err != nil {
		return "", err
	}
	s.files = append(s.files, got.File)
	if got.Named() {
		s.left = append(s.left, got.Name())
	}
	s.sidecar = got.Sidecar
	s.report, err = verify.Opened(ctx, got.File, got.URL, got.Sidecar, verify.Options{Raw: raw, Keep: s.telling(cfg), TempDir: os.TempDir()})
	return got.URL, err
}

// telling chooses what is looked at.
func (s *source) telling(cfg Config) func(key, value []byte) bool {
	if cfg.Plane.Static() {
		return s.world.tells
	}
	return telling
}

// notes are what the user should know of the snapshot before saying yes.
func (s *source) notes() []string {
	var notes []string
	if s.report.MetaDamaged {
		notes = append(notes, s.File+": "+verify.NoteMeta)
	}
	return notes
}

// open makes a plain file of a compressed one: what is sent to the members can then be continued after a cut.
func (s *source) open(from string) error {
	f := s.files[0]
	info, err := f.Stat()
	if err != nil {
		return err
	}
	r, form, err := snapshot.Open(f, info.Size())
	if err != nil {
		return fmt.Errorf("read %s: %w", from, err)
	}
	defer r.Close()
	if form == snapshot.None {
		s.plain = f
		return nil
	}
	if form == snapshot.Zstd { // the agents unpack nothing else
		s.packed = f
	}
	if s.plain, err = s.make(); err != nil {
		return err
	}
	if _, err := io.Copy(s.plain, r); err != nil {
		return fmt.Errorf("unpack %s: %w", from, err)
	}
	return nil
}

// named makes a file that has a name until unname takes it.
func (s *source) named() (*os.File, error) {
	f, err := os.CreateTemp("", "kubectl-etcd-restore-")
	if err == nil {
		s.files = append(s.files, f)
	}
	return f, err
}

func (s *source) unname(f *os.File) {
	if os.Remove(f.Name()) != nil {
		s.left = append(s.left, f.Name())
	}
}

// make makes a file that is gone when this client is.
func (s *source) make() (*os.File, error) {
	f, err := s.named()
	if err == nil {
		s.unname(f)
	}
	return f, err
}

// content is what is sent to the members. The first time it is made smaller: there is an exec on its way, which costs more
// than that. Where that is not possible (no room, mostly), it goes as it is. History is left out where the revisions
// become compacted anyway. What etcd's quota (bytes; 0 where it is not known) does not take without history is refused.
func (s *source) content(ctx context.Context, compacted bool, quota int64, tell site.Reporter) (reach.Content, error) {
	s.packing.Do(func() { s.unfit = s.shrink(ctx, compacted, quota, tell) })
	c := reach.Content{Plain: s.plain, Size: s.sent.Size, SHA256: s.sent.SHA256}
	if s.packed == nil || s.unfit != nil {
		return c, s.unfit
	}
	if info, err := s.packed.Stat(); err == nil {
		c.Packed, c.PackedSize, c.PackedProven = s.packed, info.Size(), s.packedProven && !s.Raw
	}
	return c, nil
}

// shrink fails where the snapshot is not any more what was proven.
func (s *source) shrink(ctx context.Context, compacted bool, quota int64, tell site.Reporter) error {
	s.sent = snapshot.Plain{Size: s.Size, SHA256: s.SHA256}
	if compacted {
		over := s.exceeds(quota)
		most := s.Size / 2 // more is not worth the work
		if over {
			most = quota
		}
		stays, err := s.compact(ctx, most, over)
		switch {
		case over && (err == nil || errors.Is(err, verify.ErrNoHistory)) && stays > quota:
			return site.Refuse("raise it where etcd is started, and restart the members with it; then restore again",
				"restore %s: etcd could not write: its quota (--quota-backend-bytes) is %s, and without any history the snapshot has %s", s.File,
				humanize.IBytes(uint64(quota)), humanize.IBytes(uint64(stays)))
		case err == nil:
			tell.Step("leave out the history of %s: %s remain of %s", s.File, humanize.IBytes(uint64(s.sent.Size)), humanize.IBytes(uint64(s.Size)))
			return nil
		case errors.Is(err, verify.ErrCorrupt), ctx.Err() != nil:
			return err
		case !errors.Is(err, verify.ErrNoHistory):
			tell.Step("the history of %s is sent, too: %v", s.File, err)
		}
	}
	if s.packed == nil {
		s.packed, s.packedProven = s.pack(ctx, s.plain, s.sent)
	}
	return nil
}

// compact replaces what is sent by a packed copy without history, if that has at most so many bytes. All of it would be
// stored, built and read at the start once per member, to be dropped then. It returns how many bytes stay. A copy that cannot
// be packed is sent only where it must be.
func (s *source) compact(ctx context.Context, most int64, must bool) (stays int64, err error) {
	to, err := s.named()
	if err != nil {
		return 0, err
	}
	again, err := os.OpenFile(to.Name(), os.O_RDWR, 0)
	s.unname(to)
	if err != nil {
		return 0, errors.Join(err, to.Close())
	}
	done, err := verify.Compact(ctx, s.plain, s.report, most, to, again)
	if err != nil {
		return done.Size, errors.Join(err, to.Close()) // gives its room back
	}
	packed, proven := s.pack(ctx, to, done)
	if packed == nil && s.packed != nil && !must { // the original is, already
		return done.Size, errors.Join(errors.New("no room to compress what remains"), to.Close())
	}
	s.plain, s.sent, s.packed, s.packedProven = to, done, packed, proven
	return done.Size, nil
}

// pack returns nil where that is not possible, and whether what it packed has that sum.
func (s *source) pack(ctx context.Context, plain *os.File, what snapshot.Plain) (packed *os.File, proven bool) {
	f, err := s.make()
	if err != nil {
		return nil, false
	}
	sum, err := snapshot.Compress(ctx, f, io.NewSectionReader(plain, 0, what.Size))
	if err != nil {
		_ = f.Close()
		return nil, false
	}
	return f, sum == what.SHA256
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

// exceeds tells whether the snapshot as it is is larger than a quota: etcd compares its file, free pages and all.
func (s *source) exceeds(quota int64) bool { return quota > 0 && s.report.DBSize > quota }

// What is kept of a snapshot while it is proven: what can be in the way afterwards.
const (
	masterLeases  = "/masterleases/"
	storedSecrets = "/secrets/"
	tokenType     = corev1.SecretTypeServiceAccountToken
)

// webhookKinds are how keys name them, and what people call them.
var webhookKinds = map[string]string{
	"/validatingwebhookconfigurations/": "ValidatingWebhookConfiguration",
	"/mutatingwebhookconfigurations/":   "MutatingWebhookConfiguration",
}

// telling chooses what is looked at.
func telling(key, value []byte) bool {
	for kind := range webhookKinds {
		if bytes.Contains(key, []byte(kind)) {
			return true
		}
	}
	return bytes.Contains(key, []byte(masterLeases)) || bytes.Contains(key, []byte(storedSecrets)) && bytes.Contains(value, []byte(tokenType))
}
