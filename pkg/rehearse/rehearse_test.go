package rehearse_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	bolt "go.etcd.io/bbolt"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/rehearse"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify/etcdtest"
)

// run rehearses and checks that the folder for it is empty again and no etcd is left.
func run(t *testing.T, ctx context.Context, b etcdtest.Binaries, c rehearse.Config) (*rehearse.Result, error) {
	t.Helper()
	c.Dir, c.Etcd, c.Etcdutl = t.TempDir(), b.Etcd, b.Etcdutl
	r, err := rehearse.Run(ctx, c)
	if left, _ := os.ReadDir(c.Dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	if n := processesIn(t, c.Dir); n != 0 {
		t.Errorf("%d processes still run", n)
	}
	if _, statErr := os.Stat(c.Snapshot); statErr != nil {
		t.Errorf("snapshot is gone: %v", statErr)
	}
	return r, err
}

func TestRun(t *testing.T) {
	for _, minor := range etcdtest.Minors {
		t.Run("etcd-"+minor, func(t *testing.T) {
			b := etcdtest.Find(t, minor)
			s := etcdtest.Start(t, b)
			live := s.Fill(t, 500)
			path := s.Save(t)
			r, err := run(t, t.Context(), b, rehearse.Config{Snapshot: path})
			if err != nil {
				t.Fatal(err)
			}
			if r.LiveKeys != live || !r.HashKVCompared || r.Restore <= 0 || r.Start <= 0 || r.Unpack != 0 ||
				!strings.HasPrefix(r.EtcdVersion, minor+".") || !strings.HasPrefix(r.RestoreToolVersion, minor+".") {
				t.Errorf("result %+v", r)
			}

			compressed := compress(t, path)
			r, err = run(t, t.Context(), b, rehearse.Config{Snapshot: compressed})
			if err != nil {
				t.Fatal(err)
			}
			if r.Unpack <= 0 {
				t.Errorf("result %+v", r)
			}
		})
	}
}

func TestRunRaw(t *testing.T) {
	b := etcdtest.Find(t, "3.6")
	s := etcdtest.Start(t, b)
	s.Fill(t, 50)
	s.Stop()
	if _, err := run(t, t.Context(), b, rehearse.Config{Snapshot: s.DB}); !errors.Is(err, verify.ErrNoTrailer) {
		t.Errorf("raw database without being asked to: %v", err)
	}
	if _, err := run(t, t.Context(), b, rehearse.Config{Snapshot: s.DB, Raw: true}); err != nil {
		t.Error(err)
	}
}

// TestRunWritten: a snapshot that another program has opened for writing is restored without its last 32 bytes.
func TestRunWritten(t *testing.T) {
	b := etcdtest.Find(t, "3.6")
	s := etcdtest.Start(t, b)
	live := s.Fill(t, 50)
	path := s.Save(t)
	db, err := bolt.Open(path, 0o600, nil)
	if err = errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := run(t, t.Context(), b, rehearse.Config{Snapshot: path}); !errors.Is(err, verify.ErrWritten) {
		t.Errorf("without being asked to: %v", err)
	}
	if r, err := run(t, t.Context(), b, rehearse.Config{Snapshot: path, Raw: true}); err != nil || r.LiveKeys != live {
		t.Errorf("got %+v, %v", r, err)
	}
}

func TestRunEmpty(t *testing.T) {
	b := etcdtest.Find(t, "3.6")
	r, err := run(t, t.Context(), b, rehearse.Config{Snapshot: etcdtest.Start(t, b).Save(t)})
	if err != nil {
		t.Fatal(err)
	}
	if r.LiveKeys != 0 || r.Revision != 1 {
		t.Errorf("result %+v", r)
	}
}

func TestRunAfterBumpedRestore(t *testing.T) {
	b := etcdtest.Find(t, "3.6")
	s := etcdtest.Start(t, b)
	live := s.Fill(t, 50)
	dir := t.TempDir()
	etcdtest.Tool(t, b.Etcdutl, "snapshot", "restore", s.Save(t), "--data-dir", filepath.Join(dir, "d"),
		"--bump-revision", "1000000000", "--mark-compacted")
	r, err := run(t, t.Context(), b, rehearse.Config{Snapshot: filepath.Join(dir, "d", "member", "snap", "db"), Raw: true})
	if err != nil {
		t.Fatal(err)
	}
	if r.LiveKeys != live || r.Revision < 1000000000 {
		t.Errorf("result %+v, want %d keys", r, live)
	}
}

func TestRunDetectsDifference(t *testing.T) {
	b := etcdtest.Find(t, "3.6")
	s := etcdtest.Start(t, b)
	s.Fill(t, 50)
	path := s.Save(t)
	for field, change := range map[string]func(*verify.Report){
		"revision": func(r *verify.Report) { r.Revision += 10 },
		"liveKeys": func(r *verify.Report) { r.LiveKeys++ },
		"hashKV":   func(r *verify.Report) { r.HashKV++ },
	} {
		report, err := verify.File(t.Context(), path, verify.Options{})
		if err != nil {
			t.Fatal(err)
		}
		change(report)
		_, err = run(t, t.Context(), b, rehearse.Config{Snapshot: path, Report: report})
		var mismatch *rehearse.MismatchError
		if !errors.As(err, &mismatch) || mismatch.Field != field || !errors.Is(err, rehearse.ErrMismatch) {
			t.Errorf("%s: got %v", field, err)
		}
	}
}

func TestRunReportsAlarms(t *testing.T) {
	b := etcdtest.Find(t, "3.6")
	s := etcdtest.Start(t, b, "--quota-backend-bytes", "100000")
	for {
		if _, err := s.Client.Put(t.Context(), "big", strings.Repeat("x", 50000)); err != nil {
			break
		}
	}
	r, err := run(t, t.Context(), b, rehearse.Config{Snapshot: s.Save(t)})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Alarms) != 1 || r.Alarms[0] != "NOSPACE" {
		t.Errorf("alarms %v", r.Alarms)
	}
}

func TestRunCancelled(t *testing.T) {
	b := etcdtest.Find(t, "3.6")
	s := etcdtest.Start(t, b)
	s.Fill(t, 50)
	path := s.Save(t)
	for _, step := range []string{"verify", "restore", "start", "compare"} {
		ctx, cancel := context.WithCancel(t.Context())
		_, err := run(t, ctx, b, rehearse.Config{Snapshot: path, Progress: func(now string) {
			if now == step {
				cancel()
			}
		}})
		cancel()
		if !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled in %s: got %v", step, err)
		}
	}
}

// TestRunStartFails gives etcd no time.
func TestRunStartFails(t *testing.T) {
	b := etcdtest.Find(t, "3.6")
	path := etcdtest.Start(t, b).Save(t)
	_, err := run(t, t.Context(), b, rehearse.Config{Snapshot: path, StartTimeout: time.Nanosecond})
	if !errors.Is(err, rehearse.ErrStart) || !strings.Contains(err.Error(), "last words") {
		t.Errorf("got %v", err)
	}
}

func TestRunWithoutPrograms(t *testing.T) {
	b := etcdtest.Find(t, "3.6")
	path := etcdtest.Start(t, b).Save(t)
	for _, c := range []rehearse.Config{
		{Snapshot: path, Etcd: filepath.Join(t.TempDir(), "absent"), Etcdutl: b.Etcdutl},
		{Snapshot: path, Etcd: b.Etcd, Etcdutl: path},
		{Snapshot: path, Etcd: os.Args[0], Etcdutl: b.Etcdutl},
	} {
		if _, err := rehearse.Run(t.Context(), c); !errors.Is(err, rehearse.ErrNoBinary) {
			t.Errorf("got %v", err)
		}
	}
}

// TestRunWithAuth: an etcd whose authentication is on answers only to its users, and nobody has to tell a password.
func TestRunWithAuth(t *testing.T) {
	for _, minor := range etcdtest.Minors {
		t.Run("etcd-"+minor, func(t *testing.T) {
			b := etcdtest.Find(t, minor)
			s := etcdtest.Start(t, b)
			live := s.Fill(t, 50)
			s.EnableAuth(t)
			path := filepath.Join(t.TempDir(), "snapshot.db")
			etcdtest.Tool(t, b.Etcdctl, "--endpoints", s.Endpoint, "--user", "root:"+etcdtest.Password, "snapshot", "save", path)
			r, err := run(t, t.Context(), b, rehearse.Config{Snapshot: path})
			if err != nil {
				t.Fatal(err)
			}
			if r.LiveKeys != live || !r.HashKVCompared {
				t.Errorf("result %+v, want %d keys", r, live)
			}

			// Who does not know of it is told at once.
			report, err := verify.File(t.Context(), path, verify.Options{})
			if err != nil || !report.AuthEnabled {
				t.Fatalf("report %+v, %v", report, err)
			}
			report.AuthEnabled = false
			_, err = run(t, t.Context(), b, rehearse.Config{Snapshot: path, Report: report})
			if err == nil || errors.Is(err, rehearse.ErrStart) || !strings.Contains(err.Error(), "its authentication is on") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestRunPlaces: without a folder the snapshot's is taken, and the system's only where that cannot be written. Neither a
// long nor a strange name of it is in the way of etcd's sockets.
func TestRunPlaces(t *testing.T) {
	b := etcdtest.Find(t, "3.6")
	saved, err := os.ReadFile(etcdtest.Start(t, b).Save(t))
	if err != nil {
		t.Fatal(err)
	}
	// Short, as the sockets' has to be.
	temp, err := os.MkdirTemp("", "re")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(temp) })
	t.Setenv("TMPDIR", temp)
	for _, folder := range []string{"plain", strings.Repeat("long", 50), "50 % ünusual?#"} {
		t.Run(folder[:4], func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), folder)
			path := filepath.Join(dir, "snapshot.db")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, saved, 0o600); err != nil {
				t.Fatal(err)
			}
			t.Chdir(filepath.Dir(dir))
			for _, c := range []rehearse.Config{{Snapshot: path}, {Snapshot: path, Dir: folder}} {
				c.Etcd, c.Etcdutl = b.Etcd, b.Etcdutl
				var in []string
				c.Progress = func(step string) {
					if step == "compare" {
						in, _ = filepath.Glob(filepath.Join(dir, "etcd-rehearsal-*", "data"))
					}
				}
				if _, err := rehearse.Run(t.Context(), c); err != nil {
					t.Error(err)
				}
				if len(in) != 1 {
					t.Errorf("data in %v, want a folder beside the snapshot", in)
				}
			}
			left, _ := filepath.Glob(filepath.Join(dir, "*"))
			more, _ := filepath.Glob(filepath.Join(temp, "etcd-*"))
			if len(left) != 1 || len(more) != 0 {
				t.Errorf("left behind: %v, %v", left, more)
			}
		})
	}
}

func TestRunRelativePath(t *testing.T) {
	b := etcdtest.Find(t, "3.6")
	path := etcdtest.Start(t, b).Save(t)
	t.Chdir(filepath.Dir(path))
	if _, err := run(t, t.Context(), b, rehearse.Config{Snapshot: filepath.Base(path)}); err != nil {
		t.Error(err)
	}
}

func compress(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()
	path += ".zst"
	if err := os.WriteFile(path, enc.EncodeAll(data, nil), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
