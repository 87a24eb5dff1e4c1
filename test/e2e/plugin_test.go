//go:build e2e

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// limit is for one run of the plugin: whatever happens, it says something by then.
const limit = 4 * time.Minute

// result is a run of the plugin.
type result struct {
	t              testing.TB
	args           []string
	dir            string // where it ran
	stdout, stderr string
	code           int
	took           time.Duration
}

// stream is what a running program has printed so far.
type stream struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *stream) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *stream) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// shows waits until something that matches is printed.
func (s *stream) shows(t testing.TB, limit time.Duration, pattern string) {
	t.Helper()
	p := regexp.MustCompile(`(?m)` + pattern)
	eventually(t, limit, "output like "+pattern, func() error {
		if out := s.String(); !p.MatchString(out) {
			return fmt.Errorf("so far: %q", out)
		}
		return nil
	})
}

// proc is the plugin while it runs.
type proc struct {
	t       testing.TB
	cmd     *exec.Cmd
	args    []string
	out     stream
	err     stream
	started time.Time
	done    chan error
	read    chan struct{} // on a terminal: closed when all of its output has been read
}

// etcd runs `kubectl etcd ARGS` with the cluster's kubeconfig and waits for its end.
func (c *cluster) etcd(t testing.TB, args ...string) *result {
	t.Helper()
	return start(t, c.kubeconfig, "", args...).wait()
}

// start begins `kubectl etcd ARGS`. An empty dir is a fresh one.
func start(t testing.TB, kubeconfig, dir string, args ...string) *proc {
	t.Helper()
	p := prepared(t, kubeconfig, dir, args...)
	p.begin()
	return p
}

// prepared is not yet begun.
func prepared(t testing.TB, kubeconfig, dir string, args ...string) *proc {
	t.Helper()
	if dir == "" {
		dir = t.TempDir()
	}
	p := &proc{t: t, args: args, done: make(chan error, 1)}
	p.cmd = exec.Command("kubectl", append([]string{"etcd"}, args...)...)
	p.cmd.Dir = dir
	p.cmd.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig)
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.err
	return p
}

func (p *proc) begin() {
	p.t.Helper()
	p.started = time.Now()
	if err := p.cmd.Start(); err != nil {
		p.t.Fatalf("start kubectl etcd: %v", err)
	}
	go func() {
		err := p.cmd.Wait()
		if p.read != nil {
			<-p.read
		}
		p.done <- err
	}()
	p.t.Cleanup(func() { _ = p.cmd.Process.Kill() })
}

func (p *proc) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatalf("send signal: %v", err)
	}
}

func (p *proc) wait() *result {
	p.t.Helper()
	return p.waitFor(limit)
}

// waitFor waits for its end for so long, where more than the limit of all is right.
func (p *proc) waitFor(limit time.Duration) *result {
	p.t.Helper()
	select {
	case err := <-p.done:
		r := &result{t: p.t, args: p.args, dir: p.cmd.Dir, stdout: p.out.String(), stderr: p.err.String(), took: time.Since(p.started)}
		var exit *exec.ExitError
		switch {
		case errors.As(err, &exit):
			r.code = exit.ExitCode()
		case err != nil:
			p.t.Fatalf("%s: %v", r, err)
		}
		return r
	case <-time.After(limit):
		_ = p.cmd.Process.Kill()
		<-p.done
		p.t.Fatalf("kubectl etcd %s: no end after %s\n%s", strings.Join(p.args, " "), limit, p.err.String())
	}
	return nil
}

func (r *result) String() string {
	return fmt.Sprintf("kubectl etcd %s: exit code %d after %.1f s\n[stdout]\n%s[stderr]\n%s", strings.Join(r.args, " "), r.code, r.took.Seconds(), r.stdout, r.stderr)
}

// exits checks the exit code.
func (r *result) exits(code int) *result {
	r.t.Helper()
	if r.code != code {
		r.t.Fatalf("want exit code %d: %s", code, r)
	}
	return r
}

// says checks that a line of standard error matches all of a pattern.
func (r *result) says(pattern string) *result {
	r.t.Helper()
	if !regexp.MustCompile(`(?m)^` + pattern + `$`).MatchString(r.stderr) {
		r.t.Fatalf("standard error has no line %q: %s", pattern, r)
	}
	return r
}

func (r *result) prints(pattern string) *result {
	r.t.Helper()
	if !regexp.MustCompile(`(?m)` + pattern).MatchString(r.stdout) {
		r.t.Fatalf("standard output does not match %q: %s", pattern, r)
	}
	return r
}

// fails checks the code, the one line that says what went wrong, and the hint ("" for none).
func (r *result) fails(code int, line, hint string) *result {
	r.t.Helper()
	r.exits(code).says("error: " + line)
	if n := strings.Count(r.stderr, "error: "); n != 1 && !strings.Contains(line, "error: ") {
		r.t.Fatalf("%d errors, want one: %s", n, r)
	}
	if hint == "" {
		if strings.Contains(r.stderr, "hint: ") {
			r.t.Fatalf("a hint that was not expected: %s", r)
		}
		return r
	}
	return r.says("hint: " + hint)
}

func (r *result) within(d time.Duration) *result {
	r.t.Helper()
	if r.took > d {
		r.t.Fatalf("took more than %s: %s", d, r)
	}
	return r
}
