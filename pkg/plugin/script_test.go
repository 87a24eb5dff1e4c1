//go:build unix

package plugin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/store/storetest"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify/etcdtest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"kubectl-etcd": func() {
		if d, err := time.ParseDuration(os.Getenv("TEST_LINE_EVERY")); err == nil {
			lineEvery = d
		}
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		context.AfterFunc(ctx, stop)
		os.Exit(Execute(ctx, genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}, os.Args[1:]))
	}})
}

// TestScript runs the command line against real etcds: one without TLS, one with TLS, one with authentication.
// Besides testscript's own commands there are
//
//	code N PROGRAM ARG…   runs a program that has to end with this exit code
//	flip FILE OFFSET      changes a byte; a negative offset counts from the end
//	truncate FILE SIZE    a negative size is how much is cut off
//	lock FILE             holds the lock that etcd holds on its database
func TestScript(t *testing.T) {
	t.Parallel()
	b := etcdtest.Find(t, "3.6")
	plain := etcdtest.StartCluster(t, etcdtest.Config{Binaries: []etcdtest.Binaries{b}, Host: "127.0.0.1"})
	secure := etcdtest.StartCluster(t, etcdtest.Config{Binaries: []etcdtest.Binaries{b}, TLS: true})
	auth := etcdtest.Start(t, b)
	live := auth.Fill(t, 100)
	auth.Versioned(t) // else the scripts' snapshot has no storage version
	snapshot, err := os.ReadFile(auth.Save(t))
	if err != nil {
		t.Fatal(err)
	}
	status := etcdtest.SnapshotStatus(t, b, auth.Save(t))
	auth.EnableAuth(t)
	plain.PutBytes(t, 12<<20)
	secure.Put(t, "a", "b")
	learner := etcdtest.StartCluster(t, etcdtest.Config{Binaries: []etcdtest.Binaries{b}}).AddLearner(t, b)
	frozen := etcdtest.StartCluster(t, etcdtest.Config{Binaries: []etcdtest.Binaries{b}}).Members[0]
	if err := frozen.Process().Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}

	buckets := t.TempDir()
	s3 := storetest.S3(t, buckets)

	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"),
		Setup: func(e *testscript.Env) error {
			exe, err := exec.LookPath("kubectl-etcd") // for scripts that change PATH
			if err != nil {
				return err
			}
			bucket, err := os.MkdirTemp(buckets, "bucket-")
			if err != nil {
				return err
			}
			for k, v := range map[string]string{
				"ENDPOINT": plain.Members[0].Endpoint, "SECURE": secure.Members[0].Endpoint, "AUTH": auth.Endpoint,
				"CA": secure.TLS.CA, "CERT": secure.TLS.Cert, "KEY": secure.TLS.Key,
				"OTHER_CA": secure.TLS.OtherCA, "OTHER_CERT": secure.TLS.OtherCert, "OTHER_KEY": secure.TLS.OtherKey,
				"NOT_CLIENT_CERT": secure.TLS.NotClientCert, "NOT_CLIENT_KEY": secure.TLS.NotClientKey,
				"LEARNER": learner.Endpoint, "FROZEN": frozen.Endpoint,
				"APISERVER": filepath.Join(filepath.Dir(b.Etcd), "..", "kube-apiserver"), "KUBECTL": filepath.Join(filepath.Dir(b.Etcd), "..", "kubectl"),
				"EXE": exe, "ETCD": b.Etcd, "ETCDUTL": b.Etcdutl, "ETCDCTL": b.Etcdctl,
				"HASH": fmt.Sprintf("%x", status.Hash), "REVISION": fmt.Sprint(status.Revision), "KEYS": fmt.Sprint(live),
				"KUBECTL_ETCD_S3_ENDPOINT": s3, "AWS_ACCESS_KEY_ID": storetest.AccessKey, "AWS_SECRET_ACCESS_KEY": storetest.SecretKey, "AWS_EC2_METADATA_DISABLED": "true",
				"S3": "s3://" + filepath.Base(bucket), "BUCKET": bucket,
				"SIZE": fmt.Sprint(len(snapshot)), "HOME": e.WorkDir, "KUBECACHEDIR": filepath.Join(e.WorkDir, ".cache"),
			} {
				e.Setenv(k, v)
			}
			if err := os.WriteFile(filepath.Join(e.WorkDir, "password"), []byte(etcdtest.Password+"\n"), 0o600); err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(e.WorkDir, "good.db"), snapshot, 0o600)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"code": code, "flip": flip, "truncate": truncate, "lock": lock},
	})
}

func code(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N PROGRAM ARG…")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if fmt.Sprint(got) != args[0] {
		ts.Fatalf("exit code %d, want %s", got, args[0])
	}
}

func number(ts *testscript.TestScript, s string, size int64) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	ts.Check(err)
	if n < 0 {
		n += size
	}
	return n
}

func flip(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[0])
	b, err := os.ReadFile(path)
	ts.Check(err)
	b[number(ts, args[1], int64(len(b)))] ^= 0x10
	ts.Check(os.WriteFile(path, b, 0o600))
}

func truncate(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[0])
	info, err := os.Stat(path)
	ts.Check(err)
	ts.Check(os.Truncate(path, number(ts, args[1], info.Size())))
}

func lock(ts *testscript.TestScript, _ bool, args []string) {
	f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_RDWR, 0)
	ts.Check(err)
	ts.Check(unix.Flock(int(f.Fd()), unix.LOCK_EX))
	ts.Defer(func() { f.Close() })
}
