package reach

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/agentapi"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/await"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/podexec"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/snapshot"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify/etcdtest"
)

// here runs in this machine what an exec runs in a container, with these folders as its PATH.
func here(path string) func(context.Context, podexec.Cmd) error {
	return func(ctx context.Context, c podexec.Cmd) error {
		name := ""
		for _, dir := range filepath.SplitList(path) {
			if p := filepath.Join(dir, c.Args[0]); executable(p) {
				name = p
				break
			}
		}
		if name == "" { // as containerd and runc say it
			return fmt.Errorf("exec failed: unable to start container process: exec: %q: executable file not found in $PATH", c.Args[0])
		}
		var stderr bytes.Buffer
		cmd := exec.CommandContext(ctx, name, c.Args[1:]...)
		cmd.Env, cmd.Stdout, cmd.Stderr = []string{"PATH=" + path}, c.Stdout, &stderr
		if c.Stdin != nil { // not cmd.Stdin: Wait would wait for the copy
			in, err := cmd.StdinPipe()
			if err != nil {
				return err
			}
			go func() {
				_, _ = c.Stdin.Read(make([]byte, 1))
				in.Close()
			}()
		}
		err := cmd.Run()
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return &podexec.ExitError{Code: exit.ExitCode(), Stderr: stderr.String()}
		}
		return err
	}
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode()&0o111 != 0
}

// inContainer is a link to a member by the etcdctl of its version.
func inContainer(m *etcdtest.Member, tls ...controlplane.TLSFiles) *execLink {
	l := &execLink{member: controlplane.Member{Name: m.Name, Endpoint: m.Endpoint}, run: here(filepath.Dir(m.Etcdctl) + ":/bin:/usr/bin")}
	if len(tls) > 0 {
		l.member.ClientTLS, l.member.ClientTLSAlternatives = tls[0], tls[1:]
	}
	return l
}

// TestEtcdctl asks the same of a member by its etcdctl and by gRPC: both have to give the same answers.
func TestEtcdctl(t *testing.T) {
	t.Parallel()
	for _, minor := range etcdtest.Minors {
		t.Run(minor, func(t *testing.T) {
			t.Parallel()
			b := etcdtest.Find(t, minor)
			c := etcdtest.StartCluster(t, etcdtest.Config{Binaries: []etcdtest.Binaries{b}})
			for range 5 {
				c.Put(t, "key", "value")
			}
			if _, err := c.Members[0].Client(t).Compact(t.Context(), 4); err != nil {
				t.Fatal(err)
			}
			learner := c.AddLearner(t, b)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			for _, m := range []*etcdtest.Member{c.Members[0], learner} {
				sameAnswers(t, ctx, minor, m)
			}

			rev := func(n int64) *int64 { return &n }
			l := inContainer(c.Members[0])
			conn, err := OpenDirect(ctx, DirectConfig{Endpoint: c.Members[0].Endpoint})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close(ctx)
			for _, r := range []*int64{rev(0), rev(6), rev(5)} {
				got, err := l.Query(ctx, Question{HashAt: r})
				want, werr := conn.Query(ctx, Question{HashAt: r})
				if err != nil || werr != nil || *got.Hash != *want.Hash {
					t.Errorf("hash at %d: %+v, %v by etcdctl; %+v, %v by gRPC", *r, got, err, want, werr)
				}
			}
			for _, r := range []*int64{rev(2), rev(1e6)} {
				if got, err := l.Query(ctx, Question{HashAt: r}); err != nil || !got.NotNow {
					t.Errorf("hash at %d, which is compacted or not yet there: %+v, %v", *r, got, err)
				}
			}
		})
	}
}

func sameAnswers(t *testing.T, ctx context.Context, minor string, m *etcdtest.Member) {
	t.Helper()
	q := Question{Status: true, Members: true, Alarms: true}
	conn, err := OpenDirect(ctx, DirectConfig{Endpoint: m.Endpoint})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if conn.Way() != Direct {
		t.Errorf("way %s", conn.Way())
	}
	var want *agentapi.QueryReply
	err = await.Until(ctx, 30*time.Second, "etcd has written its storage version", func(ctx context.Context) (_ string, _ bool, err error) {
		want, err = conn.Query(ctx, Question{Status: true}) // 3.5 has none
		if err != nil {
			return "", false, err
		}
		st := want.Status
		return st.StorageVersion + " of etcd " + st.Version, minor == "3.5" || strings.HasPrefix(st.StorageVersion, minor+"."), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if want.Status.IsLearner {
		q = Question{Status: true} // a learner has no list
	} else if want, err = conn.Query(ctx, q); err != nil {
		t.Fatal(err)
	}
	got, err := inContainer(m).Query(ctx, q)
	if err != nil {
		t.Fatal(err)
	}
	if (got.Status.Latency > 0) != (want.Status.Latency > 0) {
		t.Errorf("latency %s by etcdctl, %s by gRPC", got.Status.Latency, want.Status.Latency)
	}
	for _, r := range []*agentapi.QueryReply{got, want} { // what goes on meanwhile
		r.Status.Latency, r.Status.RaftIndex, r.Status.RaftAppliedIndex, r.Status.DBSize, r.Status.DBSizeInUse = 0, 0, 0, 0, 0
	}
	if fmt.Sprintf("%+v", *got.Status) != fmt.Sprintf("%+v", *want.Status) {
		t.Errorf("status by etcdctl %+v\nby gRPC %+v", *got.Status, *want.Status)
	}
	if fmt.Sprintf("%+v %+v", got.Members, got.Alarms) != fmt.Sprintf("%+v %+v", want.Members, want.Alarms) {
		t.Errorf("by etcdctl %+v %+v\nby gRPC %+v %+v", got.Members, got.Alarms, want.Members, want.Alarms)
	}
}

func TestEtcdctlAlarms(t *testing.T) {
	t.Parallel()
	for _, minor := range etcdtest.Minors {
		t.Run(minor, func(t *testing.T) {
			t.Parallel()
			c := etcdtest.StartCluster(t, etcdtest.Config{Binaries: []etcdtest.Binaries{etcdtest.Find(t, minor)}, Args: []string{"--quota-backend-bytes", "65536"}})
			client := c.Members[0].Client(t)
			for range 5000 {
				if _, err := client.Put(t.Context(), "key", strings.Repeat("x", 20000)); err != nil {
					break
				}
			}
			r, err := inContainer(c.Members[0]).Query(t.Context(), Question{Status: true, Alarms: true})
			if err != nil || len(r.Alarms) != 1 || r.Alarms[0] != (etcd.Alarm{MemberID: r.Status.MemberID, Type: "NOSPACE"}) {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
}

func TestEtcdctlWithoutQuorum(t *testing.T) {
	t.Parallel()
	b := etcdtest.Find(t, "3.6")
	c := etcdtest.StartCluster(t, etcdtest.Config{Binaries: []etcdtest.Binaries{b, b}})
	c.Members[0].Stop()
	for {
		r, err := inContainer(c.Members[1]).Query(t.Context(), Question{Status: true})
		if err != nil {
			t.Fatal(err)
		}
		if r.Status.Latency == 0 && len(r.Status.Errors) > 0 {
			break // it has noticed that it is alone
		}
	}
}

// The next of the member's TLS files are tried when the first are not there or not accepted, and only then.
func TestEtcdctlTriesOtherTLSFiles(t *testing.T) {
	t.Parallel()
	c := etcdtest.StartCluster(t, etcdtest.Config{Binaries: []etcdtest.Binaries{etcdtest.Find(t, "3.6")}, TLS: true})
	good := controlplane.TLSFiles{CA: c.TLS.CA, Cert: c.TLS.Cert, Key: c.TLS.Key}
	absent := controlplane.TLSFiles{CA: "/absent/ca.crt", Cert: "/absent/client.crt", Key: "/absent/client.key"}
	wrongCA := controlplane.TLSFiles{CA: c.TLS.OtherCA, Cert: c.TLS.Cert, Key: c.TLS.Key}
	for _, tls := range [][]controlplane.TLSFiles{{good}, {absent, good}, {wrongCA, absent, good}} {
		r, err := inContainer(c.Members[0], tls...).Query(t.Context(), Question{Status: true})
		if err != nil || r.Status.Latency == 0 {
			t.Errorf("%v: %+v, %v", tls, r, err)
		}
	}
	for _, bad := range []struct {
		tls  controlplane.TLSFiles
		want string
	}{{absent, "no such file or directory"}, {wrongCA, "x509: certificate signed by unknown authority"}} {
		_, err := inContainer(c.Members[0], bad.tls).Query(t.Context(), Question{Status: true})
		if err == nil || errors.Is(err, errNoTool) || !strings.Contains(err.Error(), bad.want) || strings.Contains(err.Error(), `{"level"`) {
			t.Errorf("%v: %v", bad.tls, err)
		}
	}
}

// TestExecSnapshot saves, reads and removes with a real shell and a real etcdctl.
func TestExecSnapshot(t *testing.T) {
	t.Parallel()
	for _, minor := range etcdtest.Minors {
		t.Run(minor, func(t *testing.T) {
			t.Parallel()
			c := etcdtest.StartCluster(t, etcdtest.Config{Binaries: []etcdtest.Binaries{etcdtest.Find(t, minor)}})
			c.PutBytes(t, 3<<20)
			path := ""
			l := inContainer(c.Members[0])
			run := l.run
			l.run = func(ctx context.Context, cmd podexec.Cmd) error {
				if slices.Contains(cmd.Args, "save") {
					path = cmd.Args[len(cmd.Args)-1]
				}
				return run(ctx, cmd)
			}
			var out bytes.Buffer
			var last agentapi.SnapshotProgress
			r, err := l.Snapshot(t.Context(), true, &out, func(p agentapi.SnapshotProgress) { last = p })
			if err != nil {
				t.Fatal(err)
			}
			if !r.Plain.Trailer || !r.Compressed || r.Before == nil || r.After == nil || last.Done != r.Plain.Size {
				t.Errorf("%+v, progress %+v", r, last)
			}
			if head := out.Bytes(); snapshot.DetectCompression(head[:4]) != snapshot.Zstd {
				t.Error("not compressed")
			}
			if _, err := os.Stat(path); path == "" || !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%q was left: %v", path, err)
			}
		})
	}
}

// An exec outlives its client: when the client goes away stdin ends, and then so do the etcdctl that runs and its file.
func TestExecSnapshotIsCancelled(t *testing.T) {
	t.Parallel()
	c := etcdtest.StartCluster(t, etcdtest.Config{Binaries: []etcdtest.Binaries{etcdtest.Find(t, "3.6")}})
	c.PutBytes(t, 3<<20)
	ctx, cancel := context.WithCancel(t.Context())
	l := inContainer(c.Members[0])
	run := l.run
	ended, path := make(chan error, 1), ""
	l.run = func(rctx context.Context, cmd podexec.Cmd) error {
		if !slices.Contains(cmd.Args, "save") {
			return run(rctx, cmd)
		}
		path = cmd.Args[len(cmd.Args)-1]
		cmd.Stdout = io.Discard // what is copied is of no interest, and its reader will be gone
		go func() { ended <- run(context.WithoutCancel(rctx), cmd) }()
		cancel()
		<-rctx.Done()
		return rctx.Err()
	}
	if _, err := l.Snapshot(ctx, false, &bytes.Buffer{}, func(agentapi.SnapshotProgress) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled snapshot: %v", err)
	}
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Fatal("the command outlives its client")
	}
	for _, p := range []string{path, path + ".part"} {
		if _, err := os.Stat(p); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s was left: %v", p, err)
		}
	}
}

// Where the container's environment names all members, this member's answer is the one that counts.
func TestEtcdctlOfAllMembers(t *testing.T) {
	t.Parallel()
	b := etcdtest.Find(t, "3.6")
	c := etcdtest.StartCluster(t, etcdtest.Config{Binaries: []etcdtest.Binaries{b, b, b}})
	var all []string
	for _, m := range c.Members {
		all = append(all, m.Endpoint)
	}
	seen := map[string]bool{}
	for _, m := range c.Members {
		l := inContainer(m)
		l.member.Container = "etcd"
		l.member.Object = &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "etcd", Env: []corev1.EnvVar{{Name: "ETCDCTL_ENDPOINTS"}}}}}}
		run := l.run
		l.run = func(ctx context.Context, cmd podexec.Cmd) error {
			cmd.Args = slices.Concat(cmd.Args[:1], []string{"--endpoints=" + strings.Join(all, ",")}, cmd.Args[1:]) // what the variable does
			return run(ctx, cmd)
		}
		zero := int64(0)
		r, err := l.Query(t.Context(), Question{Status: true, HashAt: &zero})
		if err != nil {
			t.Fatal(err)
		}
		if r.Status.Latency == 0 || r.Hash == nil || r.Hash.Hash == 0 {
			t.Errorf("%+v", r)
		}
		seen[r.Status.MemberID.String()] = true
	}
	if len(seen) != len(c.Members) {
		t.Errorf("%d members answered as %v", len(c.Members), seen)
	}
}

// An alarm of any member makes etcdctl call every member unhealthy, although it serves reads.
func TestEtcdctlWithAlarm(t *testing.T) {
	t.Parallel()
	for _, minor := range etcdtest.Minors {
		t.Run(minor, func(t *testing.T) {
			t.Parallel()
			c := etcdtest.StartCluster(t, etcdtest.Config{Binaries: []etcdtest.Binaries{etcdtest.Find(t, minor)}, Args: []string{"--quota-backend-bytes", "65536"}})
			client := c.Members[0].Client(t)
			for range 5000 {
				if _, err := client.Put(t.Context(), "key", strings.Repeat("x", 20000)); err != nil {
					break // the quota is spent
				}
			}
			r, err := inContainer(c.Members[0]).Query(t.Context(), Question{Status: true, Alarms: true})
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Alarms) != 1 || r.Alarms[0].Type != "NOSPACE" || r.Status.Latency == 0 {
				t.Errorf("alarms %+v, status %+v", r.Alarms, r.Status)
			}
		})
	}
}

func TestNotFound(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		want bool
	}{
		{&podexec.ExitError{Code: 127}, true},
		{&podexec.ExitError{Code: 126, Stderr: "permission denied"}, true},
		{&podexec.ExitError{Code: 255, Stderr: `exec: "sh": executable file not found in $PATH`}, true},
		{errors.New(`OCI runtime exec failed: exec failed: unable to start container process: exec: "sh": executable file not found in $PATH: unknown`), true},
		{errors.New(`exec failed: "sh": stat /bin/sh: no such file or directory`), true},
		{&podexec.ExitError{Code: 1, Stderr: "open /etc/etcd/ca.crt: no such file or directory"}, false},
		{&podexec.ExitError{Code: 1, Stderr: "context deadline exceeded"}, false},
		{errors.New("connection refused"), false},
	} {
		if got := notFound(c.err); got != c.want {
			t.Errorf("%v: %t", c.err, got)
		}
	}
	l := &execLink{member: controlplane.Member{Name: "m"}, run: here(t.TempDir())}
	if _, err := l.Query(t.Context(), Question{Status: true}); !errors.Is(err, errNoTool) {
		t.Errorf("an image without etcdctl: %v", err)
	}
	if err := l.try(t.Context(), ErrNoShell, "sh", "-c", "exit 0"); !errors.Is(err, ErrNoShell) {
		t.Errorf("an image without a shell: %v", err)
	}
}

func TestEtcdctlArgs(t *testing.T) {
	t.Parallel()
	m := controlplane.Member{Container: "etcd", Endpoint: "https://127.0.0.1:2379", ClientTLS: controlplane.TLSFiles{CA: "/ca", Cert: "/cert", Key: "/key"},
		Object: &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{
			{Name: "other", Env: []corev1.EnvVar{{Name: "ETCDCTL_CERT"}}},
			{Name: "etcd", Env: []corev1.EnvVar{{Name: "ETCDCTL_CACERT"}, {Name: "ETCDCTL_ENDPOINTS"}}},
		}}}}
	got := (&execLink{member: m}).etcdctlArgs(commandTimeout)
	if want := []string{"etcdctl", "--cert=/cert", "--key=/key", "--command-timeout=10s"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q: etcdctl refuses a flag that is also in its environment", got, want)
	}
	got = (&execLink{member: controlplane.Member{Endpoint: "http://127.0.0.1:2379"}}).etcdctlArgs(commandTimeout)
	if want := []string{"etcdctl", "--endpoints=http://127.0.0.1:2379", "--command-timeout=10s"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestPlainExit(t *testing.T) {
	t.Parallel()
	err := plainExit(&podexec.ExitError{Code: 1, Stderr: `{"level":"warn","msg":"retrying"}` + "\nError: context deadline exceeded\n"})
	if got, want := err.Error(), "command ended with exit code 1: context deadline exceeded"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	err = plainExit(&podexec.ExitError{Code: 1, Stderr: `{"level":"warn","error":"rpc error: code = DeadlineExceeded desc = latest balancer error: connection error: desc = \"transport: Error while dialing: dial tcp 127.0.0.1:2379: connect: connection refused\""}` +
		"\nFailed to get the status of endpoint https://127.0.0.1:2379 (context deadline exceeded)\n"})
	if got, want := err.Error(), "command ended with exit code 1: Failed to get the status of endpoint https://127.0.0.1:2379 (context deadline exceeded): Error while dialing: dial tcp 127.0.0.1:2379: connect: connection refused"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	for _, e := range []error{errors.New("other"), &podexec.ExitError{Code: 1}} {
		if got := plainExit(e); got != e {
			t.Errorf("%v", got)
		}
	}
}
