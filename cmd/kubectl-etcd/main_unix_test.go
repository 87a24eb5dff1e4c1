//go:build unix

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestMain(m *testing.M) {
	if os.Getenv("TEST_RUN_MAIN") != "" {
		main()
	}
	os.Exit(m.Run())
}

// TestHangup: a terminal that goes away interrupts, but not what nohup started. The credential plugin is who tells
// that it went, and then fails, so that the exit code says which of the two ended the command.
func TestHangup(t *testing.T) {
	t.Parallel()
	// Whoever started the tests may have ignored it (nohup), and programs inherit that; what is caught here is theirs to have anew.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	dir := t.TempDir()
	plugin := filepath.Join(dir, "plugin")
	if err := os.WriteFile(plugin, []byte("#!/bin/sh\nkill -HUP $PPID\nsleep 0.3\nexit 7\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "config")
	if err := os.WriteFile(config, fmt.Appendf(nil, `{apiVersion: v1, kind: Config, current-context: c,
contexts: [{name: c, context: {cluster: c, user: u}}], clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}],
users: [{name: u, user: {exec: {apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, command: %q}}}]}`, plugin), 0o600); err != nil {
		t.Fatal(err)
	}
	for trap, want := range map[string]int{"": 130, "trap '' HUP; ": 1} {
		cmd := exec.Command("sh", "-c", trap+`exec "$0" status`, os.Args[0])
		cmd.Env = append(os.Environ(), "TEST_RUN_MAIN=1", "KUBECONFIG="+config)
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != want {
			t.Errorf("%q: %v, want exit code %d; it said: %s", trap, err, want, out)
		}
	}
}

// TestCompletionInstall: a package manager (krew) puts a link on the PATH, and the program where nobody looks for others. The
// script belongs beside the name that was called; where kubectl would not find it, it is not put.
func TestCompletionInstall(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	links, link := filepath.Join(dir, "links"), filepath.Join(dir, "links", "kubectl-etcd")
	exe, err := filepath.Abs(os.Args[0])
	if err == nil {
		err = errors.Join(os.Mkdir(links, 0o700), os.Symlink(exe, link))
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, path, says string
		code             int
	}{
		{link, links + ":/usr/bin", "installed " + links + "/kubectl_complete-etcd\n", 0},
		{"kubectl-etcd", "/usr/bin:" + links, "installed " + links + "/kubectl_complete-etcd\n", 0},
		{link, "/usr/bin", "error: install completion: " + links + " is not on the PATH\nhint: add it: export PATH=\"" + links + ":$PATH\"; or name a folder that is: kubectl etcd completion --install FOLDER\n", 1},
	} {
		cmd := exec.Command(link, "completion", "--install")
		cmd.Args[0] = c.name
		cmd.Env = append(os.Environ(), "TEST_RUN_MAIN=1", "PATH="+c.path)
		out, err := cmd.CombinedOutput()
		if got := cmd.ProcessState.ExitCode(); string(out) != c.says || got != c.code {
			t.Errorf("%s on %s: %v, want exit code %d; it said: %s", c.name, c.path, err, c.code, out)
		}
		script, err := os.ReadFile(filepath.Join(links, "kubectl_complete-etcd"))
		if c.code == 0 && (err != nil || !strings.HasPrefix(string(script), "#!")) || c.code != 0 && !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s on %s: %q, %v", c.name, c.path, script, err)
		}
		_ = os.Remove(filepath.Join(links, "kubectl_complete-etcd")) // for the next
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(exe), "kubectl_complete-etcd")); err != nil || len(left) > 0 {
		t.Errorf("beside the program itself: %v, %v", left, err)
	}
}
