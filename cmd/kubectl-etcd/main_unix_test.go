//go:build unix

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
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
