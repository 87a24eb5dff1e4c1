package backup_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/backup"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/seal"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/snapshot"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store/disktest"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify"
)

func TestBadDestinations(t *testing.T) {
	t.Parallel()
	c := cluster(t, "3.6")
	dir := t.TempDir()
	for name, put := range map[string]func(string) error{
		"there.db":        func(p string) error { return os.WriteFile(p, []byte("old"), 0o600) },
		"folder.db.part":  func(p string) error { return os.Mkdir(p, 0o755) },
		"symlink.db.part": func(p string) error { return os.Symlink("/etc/hostname", p) },
		"file":            func(p string) error { return os.WriteFile(p, nil, 0o600) },
	} {
		if err := put(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, b := range []struct {
		to       string
		compress backup.Compress
		is       error
		words    string
	}{
		{"there.db", backup.CompressAuto, store.ErrExists, "there.db"},
		{"folder.db", backup.CompressAuto, nil, "folder.db.part: not a regular file"},
		{"symlink.db", backup.CompressAuto, nil, "symlink.db.part: not a regular file"},
		{"absent/x.db", backup.CompressAuto, fs.ErrNotExist, "absent"},
		{"absent/", backup.CompressAuto, fs.ErrNotExist, "absent"},
		{"file/x.db", backup.CompressAuto, nil, "file"},
		{"x.db", backup.CompressZstd, nil, "does not end in .zst"},
		{"x.db.zst", backup.CompressNone, nil, "--compress=none"},
	} {
		cfg := config(t, endpoints(c)...)
		cfg.To, cfg.Compress = dir+"/"+b.to, b.compress
		_, err := run(t, cfg, &listener{})
		if err == nil || b.is != nil && !errors.Is(err, b.is) || !strings.Contains(err.Error(), b.words) {
			t.Errorf("%s: %v", b.to, err)
		}
	}
	empty(t, dir, "there.db", "folder.db.part", "symlink.db.part", "file")
}

func TestForce(t *testing.T) {
	t.Parallel()
	c := cluster(t, "3.6")
	cfg := config(t, endpoints(c)...)
	cfg.To = filepath.Join(cfg.To, "x.db")
	old := must(t, cfg)
	c.Put(t, "new", "x")
	cfg.Force = true
	r := must(t, cfg)
	if r.Snapshot.Revision != old.Snapshot.Revision+1 {
		t.Errorf("%+v", r.Snapshot)
	}
	proven(t, c.Members[0].Binaries, r) // with the new sidecar
}

func TestTwoAtOnce(t *testing.T) {
	t.Parallel()
	c := cluster(t, "3.6")
	c.PutBytes(t, 9<<20)
	cfg := config(t, endpoints(c)...)
	dir := cfg.To
	cfg.To = filepath.Join(dir, "x.db")
	tried := false
	l := &listener{onProgress: func(int64, int64, int64) {
		if tried {
			return
		}
		tried = true
		if _, err := run(t, cfg, &listener{}); !errors.Is(err, store.ErrBusy) {
			t.Errorf("the second backup: %v", err)
		}
	}}
	r, err := run(t, cfg, l)
	if err != nil || !tried {
		t.Fatal(err)
	}
	proven(t, c.Members[0].Binaries, r)
	empty(t, dir, "x.db", "x.db.json")
}

// A file that gets the name meanwhile stays, and so does its sidecar.
func TestNameTakenMeanwhile(t *testing.T) {
	t.Parallel()
	c := cluster(t, "3.6")
	c.PutBytes(t, 5<<20)
	cfg := config(t, endpoints(c)...)
	dir := cfg.To
	cfg.To = filepath.Join(dir, "x.db")
	l := &listener{onProgress: func(int64, int64, int64) {
		for _, p := range []string{cfg.To, snapshot.SidecarPath(cfg.To)} {
			if err := os.WriteFile(p, []byte("theirs"), 0o600); err != nil {
				t.Error(err)
			}
		}
	}}
	if _, err := run(t, cfg, l); !errors.Is(err, store.ErrExists) {
		t.Errorf("%v", err)
	}
	empty(t, dir, "x.db", "x.db.json")
	for _, p := range []string{cfg.To, snapshot.SidecarPath(cfg.To)} {
		if b, _ := os.ReadFile(p); string(b) != "theirs" {
			t.Errorf("%s is not what it was", p)
		}
	}
}

// Without its sidecar a snapshot is not given its name.
// TestSidecarTakenMeanwhile: a file that got the sidecar's name during the transfer is nobody's to replace.
func TestSidecarTakenMeanwhile(t *testing.T) {
	t.Parallel()
	c := cluster(t, "3.6")
	c.PutBytes(t, 9<<20)
	cfg := config(t, endpoints(c)...)
	dir := cfg.To
	cfg.To = filepath.Join(dir, "x.db")
	_, err := run(t, cfg, &listener{onProgress: func(int64, int64, int64) {
		if err := os.WriteFile(snapshot.SidecarPath(cfg.To), []byte("theirs"), 0o600); err != nil {
			t.Error(err)
		}
	}})
	if err == nil || !strings.Contains(err.Error(), "x.db.json") {
		t.Errorf("got %v", err)
	}
	if b, err := os.ReadFile(snapshot.SidecarPath(cfg.To)); err != nil || string(b) != "theirs" {
		t.Errorf("the other file: %q, %v", b, err)
	}
	empty(t, dir, "x.db.json")
}

func TestSidecarCannotBeWritten(t *testing.T) {
	t.Parallel()
	c := cluster(t, "3.6")
	cfg := config(t, endpoints(c)...)
	dir := cfg.To
	cfg.To = filepath.Join(dir, "x.db")
	if err := os.Mkdir(snapshot.SidecarPath(cfg.To), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := run(t, cfg, &listener{}); err == nil || !strings.Contains(err.Error(), "x.db.json") {
		t.Errorf("%v", err)
	}
	empty(t, dir, "x.db.json")
}

// What a killed client left is written over, and what it left of a sidecar does not matter.
func TestStalePart(t *testing.T) {
	t.Parallel()
	c := cluster(t, "3.6")
	cfg := config(t, endpoints(c)...)
	cfg.To = filepath.Join(cfg.To, "x.db")
	if err := os.WriteFile(cfg.To+".part", make([]byte, 10<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	proven(t, c.Members[0].Binaries, must(t, cfg))
	empty(t, filepath.Dir(cfg.To), "x.db", "x.db.json")
}

func TestDiskTooSmall(t *testing.T) {
	t.Parallel()
	c := cluster(t, "3.6")
	c.PutBytes(t, 6<<20)
	cfg := config(t, endpoints(c)...)
	cfg.To = disktest.Small(t, "1m")
	to, err := seal.To([]string{"age1k4zd0uelql3zq0l7l9eajwtzkqr3mchv0ww9zqkf9pefeuxq0uyqlm9pf3"})
	if err != nil {
		t.Fatal(err)
	}
	for _, cfg.Encrypt = range []seal.Recipients{{}, to} {
		var full *backup.ErrNoSpace
		if _, err := run(t, cfg, &listener{}); !errors.As(err, &full) || full.Have > 1<<20 || full.Need <= full.Have {
			t.Errorf("%v", err)
		}
		empty(t, cfg.To)
	}
}

func TestDiskFull(t *testing.T) {
	t.Parallel()
	c := cluster(t, "3.6")
	c.PutBytes(t, 16<<20)
	dir := disktest.Small(t, "40m")
	for _, to := range []string{"x.db", "x.db.zst"} {
		cfg := config(t, endpoints(c)...)
		cfg.To = filepath.Join(dir, to)
		ballast := filepath.Join(dir, "ballast")
		l := &listener{onProgress: func(int64, int64, int64) {
			f, err := os.OpenFile(ballast, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
			if err != nil {
				t.Error(err)
				return
			}
			for err == nil { // somebody else fills the disk
				_, err = f.Write(make([]byte, 64<<10))
			}
			f.Close()
		}}
		if _, err := run(t, cfg, l); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), to) {
			t.Errorf("%s: %v", to, err)
		}
		empty(t, dir, "ballast")
		if err := os.Remove(ballast); err != nil {
			t.Error(err)
		}
	}
}

// A compressed file is unpacked beside itself for its proof: no room for that is no proof.
func TestNoRoomForTheProof(t *testing.T) {
	t.Parallel()
	c := cluster(t, "3.6")
	c.PutBytes(t, 10<<20)
	cfg := config(t, endpoints(c)...)
	// Room for the whole of it, which is asked for first, and not for that beside what it is packed into: how large it is depends on how many
	// of the writes etcd has committed at once.
	st, err := c.Members[0].Client(t).Status(t.Context(), c.Members[0].Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	dir := disktest.Small(t, fmt.Sprint(st.DbSize+5<<20))
	cfg.To = filepath.Join(dir, "x.db.zst")
	if _, err := run(t, cfg, &listener{}); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("%v", err)
	}
	empty(t, dir)
	cfg.Prove = backup.ProveStream
	if r := must(t, cfg); r.Snapshot.Proof != snapshot.ProofStream || r.Snapshot.Content != nil {
		t.Errorf("%+v", r.Snapshot)
	}
	if _, err := verify.File(t.Context(), cfg.To, verify.Options{TempDir: t.TempDir()}); err != nil {
		t.Error(err)
	}
}
