package backup_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/backup"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/snapshot"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/survey"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify/etcdtest"
)

// listener hears what a backup says, and lets a test act on its progress.
type listener struct {
	mu         sync.Mutex
	steps      []string
	warnings   []string
	onProgress func(done, total, wire int64)
}

func (l *listener) Step(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.steps = append(l.steps, fmt.Sprintf(format, args...))
}

func (l *listener) Warn(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.warnings = append(l.warnings, fmt.Sprintf(format, args...))
}

func (l *listener) Progress(done, total, wire int64) {
	if l.onProgress != nil {
		l.onProgress(done, total, wire)
	}
}

func (l *listener) Done() {}

// config backs up these endpoints without a cluster, into a folder of the test's.
func config(t *testing.T, endpoints ...string) backup.Config {
	t.Helper()
	c := backup.Config{To: t.TempDir(), Via: reach.Direct, Compress: backup.CompressAuto, Prove: backup.ProveAuto,
		Plane: controlplane.ControlPlane{Layout: controlplane.External, Name: "test"}}
	for _, e := range endpoints {
		c.Direct = append(c.Direct, reach.DirectConfig{Endpoint: e})
		c.Plane.Members = append(c.Plane.Members, controlplane.Member{Name: "at-" + e, Endpoint: e})
	}
	return c
}

func endpoints(c *etcdtest.Cluster) []string {
	var out []string
	for _, m := range c.Members {
		out = append(out, m.Endpoint)
	}
	return out
}

func deps(l *listener, stdout io.Writer) backup.Deps {
	return backup.Deps{Stdout: stdout, Report: l, Now: time.Now, Tool: "test"}
}

func run(t *testing.T, cfg backup.Config, l *listener) (*backup.Result, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return backup.Run(ctx, deps(l, io.Discard), cfg)
}

func must(t *testing.T, cfg backup.Config) *backup.Result {
	t.Helper()
	r, err := run(t, cfg, &listener{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// empty checks that nothing is in the folder but what is named.
func empty(t *testing.T, dir string, but ...string) {
	t.Helper()
	es, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range es {
		if !slices.Contains(but, e.Name()) {
			t.Errorf("%s was left in the folder", e.Name())
		}
	}
}

func cluster(t *testing.T, minors ...string) *etcdtest.Cluster {
	t.Helper()
	var bs []etcdtest.Binaries
	for _, m := range minors {
		bs = append(bs, etcdtest.Find(t, m))
	}
	c := etcdtest.StartCluster(t, etcdtest.Config{Binaries: bs})
	for i := range 20 {
		c.Put(t, fmt.Sprintf("key-%d", i%10), strings.Repeat("value ", i))
	}
	return c
}

// proven checks a backup by etcd's own tool and by verify, sidecar included.
func proven(t *testing.T, b etcdtest.Binaries, r *backup.Result) {
	t.Helper()
	report, err := verify.File(t.Context(), r.File, verify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if report.Sidecar != r.Sidecar || report.Proof != snapshot.ProofFull {
		t.Errorf("%+v", report)
	}
	for _, path := range []string{r.File, r.Sidecar} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info, err)
		}
	}
	if report.Compression != snapshot.None {
		return
	}
	s := etcdtest.SnapshotStatus(t, b, r.File)
	if s.Hash != r.Snapshot.Hash || s.Revision != r.Snapshot.Revision || s.TotalSize != r.Snapshot.DBSize {
		t.Errorf("etcdutl says %+v, the sidecar %+v", s, r.Snapshot.Content)
	}
}

func TestBackup(t *testing.T) {
	t.Parallel()
	for _, minor := range etcdtest.Minors {
		t.Run(minor, func(t *testing.T) {
			t.Parallel()
			c := cluster(t, minor)
			for _, f := range []struct {
				to       string
				compress backup.Compress
				form     snapshot.Compression
			}{
				{"", backup.CompressAuto, snapshot.None},
				{"", backup.CompressNone, snapshot.None},
				{"", backup.CompressZstd, snapshot.Zstd},
				{"a.db", backup.CompressAuto, snapshot.None},
				{"a.db.zst", backup.CompressAuto, snapshot.Zstd},
				{"b.db.zst", backup.CompressZstd, snapshot.Zstd},
			} {
				cfg := config(t, endpoints(c)...)
				cfg.To, cfg.Compress, cfg.Context = filepath.Join(cfg.To, f.to), f.compress, "prod"
				r := must(t, cfg)
				if r.Snapshot.Compression != f.form || r.Attempts != 1 || r.WireBytes == 0 || r.Survey == nil || len(r.Warnings) > 0 {
					t.Errorf("%+v: %+v", f, r)
				}
				if f.to == "" && (!strings.HasPrefix(filepath.Base(r.File), "prod_test_") || !strings.HasSuffix(r.File, f.form.Extension())) {
					t.Errorf("file %s", r.File)
				}
				if s := r.Snapshot; s.LiveKeys != 10 || s.Source.Member != "m1" || s.Source.Via != "direct" || s.Cluster.ClusterID == "" || !strings.HasPrefix(s.Cluster.EtcdVersion, minor) {
					t.Errorf("%+v", s)
				}
				proven(t, c.Members[0].Binaries, r)
				empty(t, filepath.Dir(r.File), filepath.Base(r.File), filepath.Base(r.Sidecar))
			}
		})
	}
}

// An etcd in which nothing was ever written can be backed up too.
func TestNoKeys(t *testing.T) {
	t.Parallel()
	for _, minor := range etcdtest.Minors {
		t.Run(minor, func(t *testing.T) {
			t.Parallel()
			c := etcdtest.StartCluster(t, etcdtest.Config{Binaries: []etcdtest.Binaries{etcdtest.Find(t, minor)}})
			r := must(t, config(t, endpoints(c)...))
			if r.Snapshot.LiveKeys != 0 {
				t.Errorf("%+v", r.Snapshot)
			}
			proven(t, c.Members[0].Binaries, r)
		})
	}
}

func TestStdout(t *testing.T) {
	t.Parallel()
	c := cluster(t, "3.6")
	for _, compress := range []backup.Compress{backup.CompressAuto, backup.CompressNone, backup.CompressZstd} {
		cfg := config(t, endpoints(c)...)
		cfg.To, cfg.Compress = store.Stdout, compress
		var out bytes.Buffer
		r, err := backup.Run(t.Context(), deps(&listener{}, &out), cfg)
		if err != nil {
			t.Fatal(err)
		}
		if r.File != "" || r.Sidecar != "" || r.Snapshot.Proof != snapshot.ProofStream || r.Snapshot.Size != int64(out.Len()) {
			t.Errorf("%s: %+v, %d bytes came", compress, r.Snapshot, out.Len())
		}
		plain, form, err := snapshot.Reader(&out)
		if err != nil || (form == snapshot.Zstd) != (compress == backup.CompressZstd) {
			t.Fatal(form, err)
		}
		check := snapshot.NewChecker()
		if _, err := io.Copy(check, plain); err != nil {
			t.Fatal(err)
		}
		if p, err := check.Finish(); err != nil || !p.Trailer || p.SHA256 != r.Snapshot.Plain.SHA256 {
			t.Errorf("%+v, %v", p, err)
		}
	}
}

func TestChoosesAFollower(t *testing.T) {
	t.Parallel()
	c := cluster(t, "3.6", "3.6", "3.6")
	r := must(t, config(t, endpoints(c)...))
	leader := c.Leader(t).Name
	if r.Snapshot.Source.Member == leader || r.Survey.Consistency != survey.Equal {
		t.Errorf("source %s, leader %s, %s", r.Snapshot.Source.Member, leader, r.Survey.Consistency)
	}
	cfg := config(t, endpoints(c)...)
	cfg.Member = leader
	if r := must(t, cfg); r.Snapshot.Source.Member != leader {
		t.Errorf("source %s, asked for %s", r.Snapshot.Source.Member, leader)
	}
	cfg.Member = "nobody"
	var none *backup.ErrNoMember
	if _, err := run(t, cfg, &listener{}); !errors.As(err, &none) || !slices.Equal(none.Have, []string{"m1", "m2", "m3"}) {
		t.Errorf("%v", err)
	}

	// One member is down: another is taken, and the user hears of it.
	down := c.Followers(t)[0]
	down.Stop()
	l := &listener{}
	r, err := run(t, config(t, endpoints(c)...), l)
	if err != nil || r.Snapshot.Source.Member == down.Name || !slices.ContainsFunc(l.warnings, func(w string) bool { return strings.Contains(w, down.Endpoint) }) {
		t.Errorf("%v, %v, warnings %q", r, err, l.warnings)
	}
	cfg = config(t, endpoints(c)...)
	cfg.Member = "at-" + down.Endpoint
	var source *backup.ErrNoSource
	if _, err := run(t, cfg, &listener{}); !errors.As(err, &source) || !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("%v", err)
	}
	empty(t, cfg.To)
}

func TestLeaderOnly(t *testing.T) {
	t.Parallel()
	c := cluster(t, "3.6", "3.6", "3.6")
	l := &listener{}
	r, err := run(t, config(t, c.Leader(t).Endpoint), l)
	if err != nil || r.Snapshot.Source.Member != c.Leader(t).Name || len(l.warnings) != 2 {
		t.Errorf("%+v, %v, %q", r, err, l.warnings)
	}
}

func TestLearner(t *testing.T) {
	t.Parallel()
	c := cluster(t, "3.6")
	learner := c.AddLearner(t, c.Members[0].Binaries)
	if r := must(t, config(t, learner.Endpoint, c.Members[0].Endpoint)); r.Snapshot.Source.Member != "m1" {
		t.Errorf("source %s", r.Snapshot.Source.Member)
	}
	cfg := config(t, learner.Endpoint)
	var source *backup.ErrNoSource
	if _, err := run(t, cfg, &listener{}); !errors.As(err, &source) || !strings.Contains(err.Error(), "a learner") {
		t.Errorf("%v", err)
	}
	empty(t, cfg.To)
}

func TestMixedVersions(t *testing.T) {
	t.Parallel()
	c := cluster(t, "3.5", "3.6")
	r := must(t, config(t, endpoints(c)...))
	if r.Survey.Consistency != survey.NotComparable {
		t.Errorf("%+v", r.Survey)
	}
	proven(t, c.Members[1].Binaries, r)
}

func TestDiffers(t *testing.T) {
	t.Parallel()
	c := cluster(t, "3.6", "3.6", "3.6")
	bad := c.Followers(t)[0]
	bad.Shutdown(t)
	bad.Tamper(t)
	bad.Start(t)
	bad.Wait(t)
	l := &listener{}
	r, err := run(t, config(t, endpoints(c)...), l)
	if !errors.Is(err, backup.ErrDiffers) || r == nil || r.Snapshot.Source.Member == bad.Name || !strings.Contains(err.Error(), bad.Name) || len(l.warnings) != 1 {
		t.Fatalf("%+v, %v, %q", r, err, l.warnings)
	}
	proven(t, bad.Binaries, r)

	cfg := config(t, endpoints(c)...)
	cfg.Member = bad.Name
	var source *backup.ErrNoSource
	if _, err := run(t, cfg, &listener{}); !errors.As(err, &source) || !strings.Contains(err.Error(), bad.Name) {
		t.Errorf("a member that differs was taken: %v", err)
	}
	empty(t, cfg.To)
}

func TestDryRun(t *testing.T) {
	t.Parallel()
	c := cluster(t, "3.6")
	cfg := config(t, endpoints(c)...)
	cfg.DryRun = true
	r := must(t, cfg)
	if p := r.Plan; p == nil || p.Member != "m1" || p.Why != "the only member" || p.Via != reach.Direct || len(p.Creates) != 0 || filepath.Dir(p.File) != cfg.To || p.Size == 0 || r.Snapshot != nil {
		t.Errorf("%+v", r.Plan)
	}
	empty(t, cfg.To)
}

// The direct way cannot read a volume.
func TestNobodyAnswers(t *testing.T) {
	t.Parallel()
	cfg := config(t, "http://127.0.0.1:1", "http://127.0.0.1:2")
	var source *backup.ErrNoSource
	if _, err := run(t, cfg, &listener{}); !errors.As(err, &source) || !strings.Contains(err.Error(), "http://127.0.0.1:1") || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("%v", err)
	}
	empty(t, cfg.To)
}

// TestResultJSON guards the documented form: names and kinds of fields are only ever added.
func TestResultJSON(t *testing.T) {
	t.Parallel()
	c := cluster(t, "3.6")
	cfg := config(t, endpoints(c)...)
	cfg.Context = "prod"
	r := must(t, cfg)
	r.Snapshot.Cluster.StorageVersion, r.Survey.Members[0].Status.StorageVersion = "3.6.0", "3.6.0" // a young etcd may not have one yet
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var tree any
	if err := json.Unmarshal(b, &tree); err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	shape(&got, "", tree)
	golden := filepath.Join("testdata", "result.golden")
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("the result is now\n%swant\n%s(UPDATE_GOLDEN=1 accepts it)", &got, want)
	}
}

// shape lists the fields of JSON and what they are.
func shape(w *strings.Builder, path string, v any) {
	switch v := v.(type) {
	case map[string]any:
		var keys []string
		for k := range v {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		for _, k := range keys {
			shape(w, path+"."+k, v[k])
		}
	case []any:
		for _, e := range v {
			shape(w, path+"[]", e)
		}
	default:
		fmt.Fprintf(w, "%s %T\n", path, v)
	}
}
