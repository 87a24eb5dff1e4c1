package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

type counts struct{ passed, failed, skipped int }

func (c *counts) add(d counts) {
	c.passed, c.failed, c.skipped = c.passed+d.passed, c.failed+d.failed, c.skipped+d.skipped
}

func (c counts) String() string {
	return fmt.Sprintf("%d passed, %d failed, %d skipped", c.passed, c.failed, c.skipped)
}

// run runs a suite. ran is false when `go test` itself did not end well; then at least one failure is counted.
func (s suite) run(ctx context.Context, pattern string, p *printer) (got counts, ran bool) {
	// `make verify` vets; with go test's own choice of checks all that is linked would be vetted once more.
	args := append([]string{"test", "-json", "-vet=off"}, s.args...)
	switch {
	case pattern != "":
		args = append(args, "-run="+pattern)
	case s.longer != "":
		args = append(args, "-skip="+s.longer)
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Stderr = s.dir, os.Stderr
	if s.cgo {
		cmd.Env = append(os.Environ(), "CGO_ENABLED=1")
	}
	// An interrupt is passed on once, and tests get the time to take their clusters and processes down.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	cmd.WaitDelay = 2 * time.Minute
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fmt.Println("suites:", err)
		return counts{failed: 1}, false
	}
	r := newReader(p)
	rerr := r.read(out)
	err = cmd.Wait()
	got = r.counts()
	if rerr != nil {
		err = rerr
	}
	if err != nil && got.failed == 0 {
		fmt.Println("suites: go test:", err)
		got.failed++
	}
	return got, err == nil
}

// event is a line of `go test -json`.
type event struct {
	Action     string
	Package    string
	ImportPath string // of build output
	Test       string
	Output     string
	Key, Value string // of an attribute
	Elapsed    float64
}

// reader counts tests and keeps the output of each until it is known whether anybody wants to read it.
type reader struct {
	p      *printer
	output map[string][]string // by package and test
	state  map[string]string   // how each test ended, by package and test
	broken map[string]bool     // packages that failed
	shares map[string]bool     // tests that take some of many, by package and test
}

func newReader(p *printer) *reader {
	return &reader{p: p, output: map[string][]string{}, state: map[string]string{}, broken: map[string]bool{}, shares: map[string]bool{}}
}

func (r *reader) read(from io.Reader) error {
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			r.p.line("%s", lines.Text()) // not a test's: Go's own words
			continue
		}
		r.take(e)
	}
	return lines.Err()
}

func (r *reader) take(e event) {
	key := e.Package + " " + e.Test
	switch e.Action {
	case "attr": // which share it is, and what of it passed, is printed: another commit has another
		r.shares[key] = r.shares[key] || e.Key == "share"
		r.p.line("%s %s: %s %s", e.Package, e.Test, e.Key, e.Value)
	case "build-output":
		r.p.text([]string{e.Output})
	case "output":
		if !strings.HasPrefix(e.Output, "=== ") {
			r.output[key] = append(r.output[key], e.Output)
		}
	case "pass", "fail", "skip":
		if e.Test != "" {
			r.state[key] = e.Action
			if e.Action == "fail" {
				r.p.text(r.output[key])
			}
			parent := strings.LastIndex(key, "/")
			if e.Action != "pass" || !strings.Contains(e.Test, "/") || r.shares[key[:parent]] {
				r.p.progress(e)
			}
		} else if e.Action == "fail" {
			r.broken[e.Package] = true
			r.p.text(r.output[key])
		}
		delete(r.output, key)
	}
}

// counts counts leaves, and a package that failed without a failed test (it does not build, or its TestMain gave up).
func (r *reader) counts() (c counts) {
	parents := map[string]bool{}
	explained := map[string]bool{}
	for key, state := range r.state {
		pkg, test, _ := strings.Cut(key, " ")
		if i := strings.LastIndex(test, "/"); i >= 0 {
			parents[pkg+" "+test[:i]] = true
		}
		if state == "fail" {
			explained[pkg] = true
		}
	}
	failedBelow := func(key string) bool {
		for k, s := range r.state {
			if s == "fail" && strings.HasPrefix(k, key+"/") {
				return true
			}
		}
		return false
	}
	for key, state := range r.state {
		// A test with subtests counts only for a failure of its own.
		if parents[key] && (state != "fail" || failedBelow(key)) {
			continue
		}
		switch state {
		case "pass":
			c.passed++
		case "fail":
			c.failed++
		case "skip":
			c.skipped++
		}
	}
	for pkg := range r.broken {
		if !explained[pkg] {
			c.failed++
		}
	}
	return c
}

// printer writes progress with the time since the beginning, for several suites at once.
type printer struct {
	w       io.Writer
	started time.Time

	mu sync.Mutex
}

func (p *printer) line(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.w, format+"\n", args...)
}

func (p *printer) text(lines []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range lines {
		fmt.Fprint(p.w, l)
	}
}

func (p *printer) progress(e event) {
	_, pkg, _ := strings.Cut(strings.TrimPrefix(e.Package, "github.com/kubectl-etcd/"), "/")
	p.line("[%4ds] %-4s %s %s (%.1f s)", int(time.Since(p.started).Seconds()), e.Action, pkg, e.Test, e.Elapsed)
}
