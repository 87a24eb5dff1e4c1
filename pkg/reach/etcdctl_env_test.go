package reach

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/agentapi"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/podexec"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify/etcdtest"
)

// withEnv is a link into a container whose environment is not the pod's to tell: of a ConfigMap, or of the image.
func withEnv(m *etcdtest.Member, shell bool, env ...string) *execLink {
	l := inContainer(m)
	run := here(filepath.Dir(m.Etcdctl) + ":/bin:/usr/bin")
	l.run = func(ctx context.Context, c podexec.Cmd) error {
		if c.Args[0] == "sh" && !shell {
			return fmt.Errorf("exec failed: unable to start container process: exec: %q: executable file not found in $PATH", "sh")
		}
		c.Args = append(append([]string{"env"}, env...), c.Args...)
		return run(ctx, c)
	}
	return l
}

// TestEtcdctlEnvironment: etcdctl ends when a variable of its environment stands beside the flag of that name.
func TestEtcdctlEnvironment(t *testing.T) {
	t.Parallel()
	for _, minor := range etcdtest.Minors {
		t.Run(minor, func(t *testing.T) {
			t.Parallel()
			m := etcdtest.StartCluster(t, etcdtest.Config{Binaries: []etcdtest.Binaries{etcdtest.Find(t, minor)}, Host: "127.0.0.1"}).Members[0]
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			for _, c := range []struct {
				name  string
				shell bool
				env   []string
			}{
				{"another's endpoint, with a shell", true, []string{"ETCDCTL_ENDPOINTS=http://127.0.0.1:1", "ETCDCTL_COMMAND_TIMEOUT=1s", "ETCDCTL_WRITE_OUT=table"}},
				{"files for another etcd, with a shell", true, []string{"ETCDCTL_CACERT=/absent/ca.crt", "ETCDCTL_ENDPOINTS=https://127.0.0.1:1"}},
				{"without a shell", false, []string{"ETCDCTL_ENDPOINTS=" + m.Endpoint, "ETCDCTL_COMMAND_TIMEOUT=5s", "ETCDCTL_WRITE_OUT=json"}},
			} {
				l := withEnv(m, c.shell, c.env...)
				r, err := l.Query(ctx, Question{Status: true, Members: true, Alarms: true})
				if err != nil || r.Status.Latency == 0 || len(r.Members) != 1 {
					t.Errorf("%s: %+v, %v", c.name, r, err)
				}
			}
			l := withEnv(m, true, "ETCDCTL_ENDPOINTS=http://127.0.0.1:1,http://127.0.0.1:2")
			l.clearing = byShell // as openExec makes it
			var b bytes.Buffer
			if r, err := l.Snapshot(ctx, false, &b, func(agentapi.SnapshotProgress) {}); err != nil || !r.Plain.Trailer {
				t.Errorf("snapshot: %+v, %v", r, err)
			}
		})
	}
}
