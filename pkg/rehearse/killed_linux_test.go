package rehearse_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/rehearse"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify/etcdtest"
)

// childEnv makes this test program a child that rehearses and then waits to be killed.
const childEnv = "REHEARSE_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		runChild()
		return
	}
	os.Exit(m.Run())
}

func runChild() {
	stdin := bufio.NewReader(os.Stdin)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	_, err := rehearse.Run(ctx, rehearse.Config{Snapshot: os.Args[1], Dir: os.Args[2], Etcd: os.Args[3], Etcdutl: os.Args[4],
		Progress: func(step string) {
			if step == "compare" { // etcd runs now
				fmt.Println(step)
				_, _ = stdin.ReadString('\n') // never comes
			}
		}})
	fmt.Println("ended:", err)
}

// TestKilledLeavesNothing kills the process that rehearses, as the system may when memory is short.
func TestKilledLeavesNothing(t *testing.T) {
	b := etcdtest.Find(t, "3.6")
	path := etcdtest.Start(t, b).Save(t)
	dir := t.TempDir()
	child := exec.CommandContext(t.Context(), os.Args[0], path, dir, b.Etcd, b.Etcdutl)
	// What it leaves behind goes with the test.
	child.Env = append(os.Environ(), childEnv+"=1", "TMPDIR="+dir)
	if _, err := child.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil || line != "compare\n" {
		t.Fatalf("child says %q, %v", line, err)
	}
	if n := processesIn(t, dir); n != 2 {
		t.Errorf("%d processes run, want etcd, and what removes its folder", n)
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait()
	deadline := time.After(time.Minute)
	for ticker := time.NewTicker(10 * time.Millisecond); processesIn(t, dir) > 0; {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatal("etcd still runs")
		}
	}
	if left, err := filepath.Glob(filepath.Join(dir, "etcd-rehearsal-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// processesIn counts the processes whose working directory is, or was, in dir, or that were told of a rehearsal there.
func processesIn(t *testing.T, dir string) (n int) {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil || len(links) == 0 {
		t.Fatalf("list processes: %v, %d found", err, len(links))
	}
	for _, link := range links {
		cwd, _ := os.Readlink(link)
		args, _ := os.ReadFile(filepath.Join(filepath.Dir(link), "cmdline"))
		if strings.HasPrefix(cwd, dir) || strings.Contains(string(args), dir+"/etcd-rehearsal-") {
			n++
		}
	}
	return n
}
