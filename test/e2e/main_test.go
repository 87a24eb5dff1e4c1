//go:build e2e

package e2e

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// Where things are. Only TestMain writes them.
var (
	root    string // of the repository
	testbed string // folder of the test bed's programs
	plugin  string // the binary under test
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	// Tests mostly wait for pods, so more of them than there are cores can do so at once.
	_ = flag.Set("test.parallel", "3")
	if err := prepare(); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		return 1
	}
	defer clusters.clean(ctx)
	return m.Run()
}

// prepare puts what a user has installed on PATH: kubectl and the plugin, and nothing of etcd's.
func prepare() error {
	var err error
	if root, err = filepath.Abs("../.."); err != nil {
		return err
	}
	if testbed = os.Getenv("TESTBED"); testbed == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return err
		}
		testbed = filepath.Join(home, ".cache", "kubectl-etcd-testbed")
	}
	if plugin = os.Getenv("KUBECTL_ETCD"); plugin == "" {
		plugin = filepath.Join(root, "bin", "kubectl-etcd")
	}
	if plugin, err = filepath.Abs(plugin); err != nil {
		return err
	}
	if _, err := os.Stat(plugin); err != nil {
		return fmt.Errorf("the plugin is not built (%w); run: make build", err)
	}
	path := filepath.Dir(plugin) + string(os.PathListSeparator) + filepath.Join(testbed, "bin") + string(os.PathListSeparator) + os.Getenv("PATH")
	if err := os.Setenv("PATH", path); err != nil {
		return err
	}
	if host := dockerHost(); host != "" {
		if err := os.Setenv("DOCKER_HOST", host); err != nil {
			return err
		}
	}
	// What the shell of a developer sets must not decide what a test sees.
	for _, name := range []string{"KUBECONFIG", "NO_COLOR", "KUBECTL_REMOTE_COMMAND_WEBSOCKETS"} {
		if err := os.Unsetenv(name); err != nil {
			return err
		}
	}
	return nil
}

// output runs a program that is not under test and returns what it printed.
func output(ctx context.Context, stdin []byte, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = 5 * time.Second
	if stdin != nil {
		cmd.Stdin = bytesReader(stdin)
	}
	var stderr tail
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("%s %v: %w: %s", filepath.Base(name), args, err, stderr.String())
	}
	return string(out), nil
}
