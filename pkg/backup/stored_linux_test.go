package backup_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/backup"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/snapshot"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store/disktest"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store/storetest"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/stored"
)

// odd is a folder that does not let itself be read before it is committed, as a bucket does not, and that misbehaves.
type odd struct {
	store.Folder
	before func() error // each write
}

type oddWriter struct {
	store.Writer
	before func() error
}

func (s odd) Create(ctx context.Context, name string, o store.CreateOptions) (store.Writer, error) {
	w, err := s.Folder.Create(ctx, name, o)
	return &oddWriter{w, s.before}, err
}

func (w *oddWriter) Write(p []byte) (int, error) {
	if w.before != nil {
		if err := w.before(); err != nil {
			return 0, err
		}
	}
	return w.Writer.Write(p)
}

// whole fails where the store holds anything but one proven snapshot and its sidecar.
func whole(t *testing.T, s store.Store, proof snapshot.ProofLevel) {
	t.Helper()
	names := storetest.Names(t, s, "")
	if len(names) != 2 || names[1] != snapshot.SidecarPath(names[0]) {
		t.Fatalf("%q", names)
	}
	got, err := stored.Fetch(t.Context(), s, names[0], stored.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got.Sidecar == nil || got.Sidecar.Proof != proof {
		t.Errorf("%+v", got.Sidecar)
	}
	_ = got.Close()
}

func into(t *testing.T, s store.Store, endpoints ...string) backup.Config {
	t.Helper()
	cfg := config(t, endpoints...)
	cfg.Store, cfg.To = s, ""
	return cfg
}

func TestStoreCutIsBegunAnew(t *testing.T) {
	t.Parallel()
	p := cuttable(t)
	p.CutAfter(3<<20, 2)
	s := odd{Folder: store.Folder(t.TempDir())}
	if r, err := run(t, into(t, s, p.Endpoint), &listener{}); err != nil || r.Attempts != 3 {
		t.Fatalf("%+v, %v", r, err)
	}
	whole(t, s, snapshot.ProofFull)
	p.CutAfter(3<<20, 100)
	s = odd{Folder: store.Folder(t.TempDir())}
	if _, err := run(t, into(t, s, p.Endpoint), &listener{}); err == nil {
		t.Error("no error")
	}
	if names := storetest.Names(t, s, ""); len(names) != 0 {
		t.Errorf("left: %q", names)
	}
}

// TestStoreGone: a store that cannot be begun anew after a cut is said, too.
func TestStoreGone(t *testing.T) {
	t.Parallel()
	p := cuttable(t)
	p.CutAfter(3<<20, 1)
	s := &once{Folder: store.Folder(t.TempDir())}
	if _, err := run(t, into(t, s, p.Endpoint), &listener{}); err == nil || !strings.Contains(err.Error(), "and for another attempt: the store is gone") {
		t.Errorf("%v", err)
	}
	if names := storetest.Names(t, s, ""); len(names) != 0 {
		t.Errorf("left: %q", names)
	}
}

// once makes one object, and no other.
type once struct {
	store.Folder
	made bool
}

func (s *once) Create(ctx context.Context, name string, o store.CreateOptions) (store.Writer, error) {
	if s.made {
		return nil, errors.New("the store is gone")
	}
	s.made = true
	w, err := s.Folder.Create(ctx, name, o)
	return &oddWriter{w, nil}, err
}

// TestStoreSlow: a store that takes nothing does not keep the transfer from its end.
func TestStoreSlow(t *testing.T) {
	t.Parallel()
	p := cuttable(t)
	come := make(chan struct{})
	var once sync.Once
	s := odd{store.Folder(t.TempDir()), func() error {
		select {
		case <-come:
			return nil
		case <-time.After(time.Minute):
			return errors.New("the transfer waits for the store")
		}
	}}
	l := &steps{on: "proving: ", do: func() { once.Do(func() { close(come) }) }}
	if _, err := backup.Run(t.Context(), backup.Deps{Stdout: io.Discard, Report: l, Now: time.Now, Tool: "test"}, into(t, s, p.Endpoint)); err != nil {
		t.Fatal(err)
	}
	whole(t, s, snapshot.ProofFull)
}

// steps does something when a step begins.
type steps struct {
	listener
	on string
	do func()
}

func (l *steps) Step(format string, args ...any) {
	if strings.HasPrefix(format, l.on) {
		l.do()
	}
}

// TestStoreFails: a store that fails in the middle is said, soon, and has nothing.
func TestStoreFails(t *testing.T) {
	t.Parallel()
	p := cuttable(t)
	n := 0
	full := errors.New("the store is full")
	s := odd{store.Folder(t.TempDir()), func() error {
		if n++; n > 2 {
			return full
		}
		return nil
	}}
	if _, err := run(t, into(t, s, p.Endpoint), &listener{}); !errors.Is(err, full) {
		t.Errorf("%v", err)
	}
	if names := storetest.Names(t, s, ""); len(names) != 0 {
		t.Errorf("left: %q", names)
	}
}

func TestStoreInterrupted(t *testing.T) {
	t.Parallel()
	p := cuttable(t)
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	l := &listener{onProgress: func(int64, int64, int64) { cancel() }}
	if _, err := backup.Run(ctx, deps(l, io.Discard), into(t, odd{Folder: store.Folder(dir)}, p.Endpoint)); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			t.Errorf("left: %s", path)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}

// TestStoreNoRoom: where there is no room for the proof, that is said, and only the stream is proven; asked for a full proof it is refused.
func TestStoreNoRoom(t *testing.T) {
	c := cluster(t, "3.6")
	c.PutBytes(t, 16<<20)
	t.Setenv("TMPDIR", disktest.Small(t, "4m"))
	s := odd{Folder: store.Folder(t.TempDir())}
	cfg := into(t, s, endpoints(c)...)
	cfg.Prove = backup.ProveFull
	var room *backup.ErrNoSpace
	if _, err := run(t, cfg, &listener{}); !errors.As(err, &room) {
		t.Errorf("%v", err)
	}
	cfg.Prove = backup.ProveAuto
	l := &listener{}
	if _, err := run(t, cfg, l); err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(l.warnings, func(w string) bool { return strings.Contains(w, "only the stream is proven") }) {
		t.Errorf("%q", l.warnings)
	}
	t.Setenv("TMPDIR", t.TempDir())
	whole(t, s, snapshot.ProofStream)
}
