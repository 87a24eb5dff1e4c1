//go:build e2e

package e2e

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// scripts runs the scripts of a folder in testdata, one after the other: they share namespaces. Variables besides env:
// NODE, CONTEXT, KUBECONFIG, ETCD (folder of etcd's own programs, by minor).
func scripts(t *testing.T, c *cluster, folder string, env map[string]string) {
	t.Helper()
	testscript.RunT(serial{parallel{t}}, params(t, c, folder, env))
}

// sideBySide runs scripts that do not mind each other. They have ended when the test's cleanups begin.
func sideBySide(t *testing.T, c *cluster, folder string, env map[string]string) {
	t.Helper()
	testscript.RunT(parallel{t}, params(t, c, folder, env))
}

func params(t *testing.T, c *cluster, folder string, env map[string]string) testscript.Params {
	return testscript.Params{
		Dir: filepath.Join("testdata", folder),
		Setup: func(e *testscript.Env) error {
			for k, v := range map[string]string{"KUBECONFIG": c.kubeconfig, "NODE": c.node(), "CONTEXT": c.context, "ETCD": filepath.Join(testbed, "bin", "etcd-"), "DOCKER_HOST": dockerHost()} {
				e.Setenv(k, v)
			}
			for k, v := range env {
				e.Setenv(k, v)
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits,
			"agree": func(ts *testscript.TestScript, neg bool, args []string) {
				if neg || len(args) != 2 {
					ts.Fatalf("usage: agree FILE MINOR")
				}
				ts.Check(agree(t.Context(), ts.MkAbs(args[0]), args[1]))
			},
			"nothing-left": func(ts *testscript.TestScript, neg bool, args []string) {
				if neg || len(args) != 1 {
					ts.Fatalf("usage: nothing-left NAMESPACE")
				}
				c.nothingLeft(t, args[0])
			},
			"flip": flip,
			"cut":  cut,
		},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	}
}

// dockerHost is the engine of the test bed, as its env.sh finds it.
func dockerHost() string {
	socket := filepath.Join(testbed, "docker.sock")
	if host := os.Getenv("DOCKER_HOST"); host != "" {
		return host
	}
	if _, err := os.Stat(socket); err == nil {
		return "unix://" + socket
	}
	return ""
}

// exits CODE PROGRAM [ARG...]: run it, and it must end with this code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM [ARG...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// parallel is a test as testscript wants it.
type parallel struct{ *testing.T }

func (parallel) Verbose() bool { return testing.Verbose() }
func (p parallel) Run(name string, f func(testscript.T)) {
	p.T.Run(name, func(t *testing.T) { f(parallel{t}) })
}

// serial keeps testscript from running scripts at the same time.
type serial struct{ parallel }

func (serial) Parallel() {}
func (s serial) Run(name string, f func(testscript.T)) {
	s.T.Run(name, func(t *testing.T) { f(serial{parallel{t}}) })
}

// flip FILE OFFSET: change one bit of the byte there; a negative offset counts from the end.
func flip(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: flip FILE OFFSET")
	}
	at, err := strconv.Atoi(args[1])
	ts.Check(err)
	b := []byte(ts.ReadFile(args[0]))
	if at < 0 {
		at += len(b)
	}
	b[at] ^= 0x10
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b, 0o600))
}

// cut FILE BYTES: take that many bytes off its end.
func cut(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: cut FILE BYTES")
	}
	n, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	info, err := os.Stat(ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Check(os.Truncate(ts.MkAbs(args[0]), info.Size()-n))
}
