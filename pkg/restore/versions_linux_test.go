package restore

import (
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify/etcdtest"
)

// TestStartsOn: it is as etcd does. Each version's snapshot is built by each version's tool and started; what is refused ends there,
// or leaves data on which the next version does not start.
func TestStartsOn(t *testing.T) {
	t.Parallel()
	for _, of := range etcdtest.Minors {
		t.Run("of "+of, func(t *testing.T) {
			t.Parallel()
			s := etcdtest.Start(t, etcdtest.Find(t, of))
			if _, err := s.Client.Put(t.Context(), "/registry/a", "b"); err != nil {
				t.Fatal(err)
			}
			s.Versioned(t)
			file := s.Save(t)
			report, err := verify.File(t.Context(), file, verify.Options{})
			if err != nil {
				t.Fatal(err)
			}
			for _, on := range etcdtest.Minors {
				sc, p := runsEtcd("etcd:"+on+".99", "etcd:"+on+".99", "")
				_, refused := sc.startable(Config{Target: site.Target{Plane: p}, Bump: -1}, report)
				dir := t.TempDir()
				etcdtest.Tool(t, etcdtest.Find(t, on).Etcdutl, "snapshot", "restore", file, "--data-dir", filepath.Join(dir, "d"), "--bump-revision", "1000", "--mark-compacted")
				starts := starts(t, etcdtest.Find(t, on), dir) && starts(t, etcdtest.Find(t, next(on)), dir)
				if (refused == nil) != starts {
					t.Errorf("a snapshot of %s (storage %q, cluster %q) on %s: starts, and so does the next version after it: %t; refused: %v",
						of, report.StorageVersion, report.ClusterVersion, on, starts, refused)
				}
			}
		})
	}
}

func next(minor string) string {
	for i, m := range etcdtest.Minors[:len(etcdtest.Minors)-1] {
		if m == minor {
			return etcdtest.Minors[i+1]
		}
	}
	return minor
}

// starts tells whether an etcd starts on the data in dir/d, and answers. It ends it.
func starts(t *testing.T, b etcdtest.Binaries, dir string) bool {
	t.Helper()
	cmd := exec.Command(b.Etcd, "--data-dir", "d", "--logger", "zap", "--unsafe-no-fsync", "--listen-client-urls", "unix://c:0", "--advertise-client-urls", "unix://c:0", "--listen-peer-urls", "unix://p:0")
	cmd.Dir, cmd.SysProcAttr = dir, &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	defer func() {
		_ = cmd.Process.Kill()
		<-ended
	}()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		health := exec.Command(b.Etcdctl, "--endpoints", "unix://"+filepath.Join(dir, "c:0"), "--command-timeout", "1s", "endpoint", "health")
		if health.Run() == nil {
			return true
		}
		select {
		case <-ended:
			return false
		case <-time.After(200 * time.Millisecond):
		}
	}
	t.Fatal("it neither answers nor ends")
	return false
}
