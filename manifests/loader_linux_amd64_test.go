package manifests

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// program writes the loader to a folder of the test's.
func program(t *testing.T) string {
	t.Helper()
	b, err := Loader("amd64")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "loader")
	// A process that another test starts just then would inherit the open file, and what is open to be written cannot be run.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(path, b, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// put runs "loader put" and returns what it printed.
func put(t *testing.T, path string, stdin io.Reader) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program(t), "put", path)
	cmd.Stdin = stdin
	out, err := cmd.Output()
	return string(out), err
}

func TestPut(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, 65535, 65536, 65537, 20 << 20} {
		want := make([]byte, size)
		_, _ = rand.Read(want)
		path := filepath.Join(t.TempDir(), "agent")
		out, err := put(t, path, bytes.NewReader(want))
		if err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		// ready, a dot for each read, the count.
		rest, ok := strings.CutPrefix(out, "ready\n")
		dots, count, ok2 := strings.Cut(rest, "\n")
		if !ok || !ok2 || strings.Trim(dots, ".") != "" || count != fmt.Sprintf("%d\n", size) || (size > 0) != (len(dots) > 0) || len(dots) < size/65536 {
			t.Errorf("%d bytes: it printed %q and %d dots", size, strings.ReplaceAll(out, ".", ""), len(dots))
		}
		got, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes: %d came, %v", size, len(got), err)
		}
		if info, _ := os.Stat(path); info.Mode().Perm() != 0o755 {
			t.Errorf("mode %v", info.Mode())
		}
	}
}

// TestPutIsReadyFirst: the client sends nothing before it has read "ready".
func TestPutIsReadyFirst(t *testing.T) {
	t.Parallel()
	r, w := io.Pipe()
	cmd := exec.CommandContext(t.Context(), program(t), "put", filepath.Join(t.TempDir(), "agent"))
	cmd.Stdin = r
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	expect := func(want string) {
		t.Helper()
		got := make([]byte, len(want))
		if _, err := io.ReadFull(out, got); err != nil || string(got) != want {
			t.Fatalf("%q, %v; want %q", got, err, want)
		}
	}
	expect("ready\n")
	for range 3 {
		if _, err := w.Write([]byte("abc")); err != nil {
			t.Fatal(err)
		}
		expect(".") // at once, not at the end
	}
	w.Close()
	expect("\n9\n")
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// A program that runs cannot be written, but it can be replaced.
func TestPutOverARunningProgram(t *testing.T) {
	t.Parallel()
	path := program(t)
	hold := exec.CommandContext(t.Context(), path, "hold")
	if err := hold.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = hold.Process.Kill(); _ = hold.Wait() }()
	if _, err := put(t, path, strings.NewReader("new")); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "new" {
		t.Errorf("%q, %v", b, err)
	}
	if err := hold.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("what ran is gone: %v", err)
	}
}

func TestPutCannotWrite(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, path := range map[string]string{
		"absent folder": filepath.Join(dir, "absent", "agent"),
		"folder":        dir,
		"empty":         "",
		"not writable":  "/proc/agent",
	} {
		out, err := put(t, path, strings.NewReader("x"))
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 1 || strings.Contains(out, "ready") {
			t.Errorf("%s: %q, %v", name, out, err)
		}
	}
}

func TestPutOnFullDisk(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("mounting a small file system needs root")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("mount a small file system: %v", err) // root in a container without CAP_SYS_ADMIN
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	out, err := put(t, filepath.Join(dir, "agent"), bytes.NewReader(make([]byte, 2<<20)))
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || strings.HasSuffix(out, "\n2097152\n") {
		t.Errorf("%d bytes printed, %v", len(out), err)
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	path := program(t)
	for _, args := range [][]string{nil, {"put"}, {"hold", "x"}, {"holder"}, {"put", "a", "b"}, {""}} {
		out, err := exec.Command(path, args...).Output()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 2 || string(out) != "usage: loader hold | put PATH\n" {
			t.Errorf("%q: %q, %v", args, out, err)
		}
	}
}

// TestHold runs the loader as a container does: as process 1 of its own process namespace, where signals without a
// handler do nothing and orphans are its children.
func TestHold(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("making a process namespace needs root")
	}
	cmd := exec.Command(program(t), "hold")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
	if err := cmd.Start(); err != nil {
		t.Skipf("make a process namespace: %v", err) // root in a container without CAP_SYS_ADMIN
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	pid := fmt.Sprint(cmd.Process.Pid)

	// A shell in the namespace leaves two orphans behind, one of which ends at once.
	// Their output is not a pipe, which would have to be read until the last of them ends.
	if err := exec.Command("nsenter", "--target", pid, "--pid", "sh", "-c", "(sleep 0.1 & sleep 60 &)").Run(); err != nil {
		t.Fatalf("enter the process namespace: %v", err)
	}
	deadline := time.Now().Add(20 * time.Second)
	for tick := time.NewTicker(50 * time.Millisecond); ; <-tick.C {
		states := children(t, pid)
		if strings.Count(states, "Z") == 0 && strings.Count(states, "S") == 1 {
			break // the one that ended was reaped
		}
		if time.Now().After(deadline) {
			t.Fatalf("its children are in the states %q", states)
		}
	}
	select {
	case err := <-done:
		t.Fatalf("it ended by itself: %v", err)
	default:
	}
	start := time.Now()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-done:
		if err != nil || time.Since(start) > 5*time.Second {
			t.Errorf("%v after %s", err, time.Since(start))
		}
	case <-time.After(20 * time.Second):
		t.Error("SIGTERM does not end it")
	}
}

// children are the states of a process's children, a letter each.
func children(t *testing.T, pid string) string {
	t.Helper()
	b, err := os.ReadFile("/proc/" + pid + "/task/" + pid + "/children")
	if err != nil {
		t.Fatal(err)
	}
	states := ""
	for _, child := range strings.Fields(string(b)) {
		stat, err := os.ReadFile("/proc/" + child + "/stat")
		if err != nil {
			continue // it ended meanwhile
		}
		_, after, _ := strings.Cut(string(stat), ") ")
		states += after[:1]
	}
	return states
}

// TestLoaderLeavesAlone: what holds a pod open ends when nothing else runs in it any more, however its client ended.
func TestLoaderLeavesAlone(t *testing.T) {
	t.Parallel()
	gcc, err := exec.LookPath("x86_64-linux-gnu-gcc")
	if err != nil || os.Getuid() != 0 {
		t.Skip("needs gcc, for a loader that is patient for two seconds and not for five minutes, and root, for a pid namespace")
	}
	loader := filepath.Join(t.TempDir(), "loader")
	build := exec.Command(gcc, "-DIDLE=2", "-std=c11", "-Os", "-ffreestanding", "-fno-pic", "-fno-stack-protector", "-fno-builtin",
		"-nostdlib", "-static", "-s", "-o", loader, "loader/loader.c")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	start := time.Now()
	// The first process of a pid namespace, with another one that ends by itself.
	if out, err := exec.CommandContext(ctx, "unshare", "--fork", "--pid", "sh", "-c", `sleep 3 & exec "$0" hold`, loader).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if took := time.Since(start); took < 3*time.Second {
		t.Errorf("it left after %s, while another process still ran", took)
	}
}
