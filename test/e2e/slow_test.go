//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	// slowSize is more than heldAt and all buffers on the way, and few seconds of any limited rate below.
	slowSize = 48 << 20
	// burst is what --limit-rate lets through at once before it limits.
	burst = 4 << 20
)

// TestSlow is what takes its time: transfers that are limited, stall, or are given up. They mostly wait, so they run side
// by side, and one etcd serves all.
func TestSlow(t *testing.T) {
	c := clusters.get(t, mainKind)
	t.Parallel()
	h := host(t, c, hosted{})
	h.fill(t, slowSize)
	t.Run("group", func(t *testing.T) {
		for _, test := range []struct {
			name string
			run  func(*testing.T, *hosted)
		}{
			{"stall agent", func(t *testing.T, h *hosted) { testStall(t, h, "agent") }},
			{"stall forward", func(t *testing.T, h *hosted) { testStall(t, h, "forward") }},
			{"timeout", testTimeout}, {"limit", testLimit}, {"limit too low", testLimitTooLow}, {"quiet", testQuiet},
			{"bar", testBar}, {"closed pipe", testClosedPipe}, {"nobody reads", testNobodyReads}, {"no WebSocket", testNoWebSocket},
		} {
			t.Run(strings.ReplaceAll(test.name, " ", "-"), func(t *testing.T) {
				t.Parallel()
				test.run(t, h)
			})
		}
	})
	c.nothingLeft(t, h.Namespace)
}

// podGone checks that the pods that a run with -v says it made are gone, whoever else has pods there.
func (h *hosted) podGone(t testing.TB, stderr string) {
	t.Helper()
	made := regexp.MustCompile(`creating utility pod \S+/(\S+) on node`).FindAllStringSubmatch(stderr, -1)
	if len(made) == 0 {
		t.Fatalf("no pod was made: %s", stderr)
	}
	eventually(t, 30*time.Second, "utility pods are gone", func() error {
		for _, m := range made {
			if out := h.kubectl(t, "get", "pods/"+m[1], "configmaps/"+m[1], "--ignore-not-found", "-o", "name"); out != "" {
				return fmt.Errorf("left: %s", out)
			}
		}
		return nil
	})
}

// lasted checks that a limited transfer took at least as long as its limit says.
func (r *result) lasted(wire, perSecond int64) {
	r.t.Helper()
	if wire < slowSize {
		r.t.Errorf("%d bytes on the wire, want at least %d: %s", wire, slowSize, r)
	}
	if least := time.Duration(wire-burst) * time.Second / time.Duration(perSecond); r.took < least {
		r.t.Errorf("%d bytes at %d a second took %s, less than %s: %s", wire, perSecond, r.took, least, r)
	}
}

// Where no terminal is, a long transfer says every 10 s how far it is.
const progressLine = `\d+ MiB of \d+ MiB \(\d\d? %\), \S+ [KM]iB/s, ETA \d+s, \d+ MiB on the wire`

// testLimit: the rate is kept, and what is said of the progress is what has come so far.
func testLimit(t *testing.T, h *hosted) {
	r := h.c.etcd(t, "backup", h.target(), "--via", "agent", "--limit-rate", "3Mi", "--to", "a.db", "-o", "jsonpath={.wireBytes}").exits(0)
	var wire int64
	if _, err := fmt.Sscan(r.stdout, &wire); err != nil {
		t.Fatalf("read %q: %v", r.stdout, err)
	}
	r.lasted(wire, 3<<20)
	r.says(progressLine)
	if err := agree(t.Context(), filepath.Join(r.dir, "a.db"), "3.6"); err != nil {
		t.Error(err)
	}
}

// testQuiet: the same by the other way, and nothing is said with -q.
func testQuiet(t *testing.T, h *hosted) {
	r := h.c.etcd(t, "backup", h.target(), "--via", "forward", "--limit-rate", "3Mi", "--to", "a.db", "-q").exits(0)
	info, err := os.Stat(filepath.Join(r.dir, "a.db"))
	if err != nil {
		t.Fatal(err)
	}
	r.lasted(info.Size(), 3<<20)
	if r.stderr != "" || r.stdout != "a.db\n" {
		t.Errorf("it says more than the file's name: %s", r)
	}
}

// testLimitTooLow: that the limit and not the cluster is to blame is said, as soon as it is clear.
func testLimitTooLow(t *testing.T, h *hosted) {
	r := h.c.etcd(t, "backup", h.target(), "--via", "agent", "--limit-rate", "100", "--timeout", "1m", "--to", "a.db", "-v")
	r.fails(1, `.*take snapshot of member kube-etcd-0: .*--limit-rate is too low to be done before --timeout`, "")
	wantFiles(t, r.dir)
	h.podGone(t, r.stderr)
}

// testTimeout: the time is over in the middle of a transfer. The link is held, which is noticed as a stall 30 s later; where
// the machine is too slow to begin the transfer in time, there is more of it.
func testTimeout(t *testing.T, h *hosted) {
	for timeout := 30 * time.Second; ; timeout += 30 * time.Second {
		l := newLink(t, h.c, heldAt)
		p := start(t, l.kubeconfig, "", "backup", h.target(), "--via", "agent", "--to", "a.db", "--timeout", timeout.String(), "-v")
		select {
		case err := <-p.done:
			if timeout >= limit/2 {
				t.Fatalf("no transfer in %s: %v\n%s", timeout, err, p.err.String())
			}
			continue
		case <-l.held:
		}
		wantFiles(t, p.cmd.Dir, "a.db.part")
		r := p.wait().fails(1, `take snapshot of member kube-etcd-0: .*: not done after --timeout=`+timeout.String(), "")
		wantFiles(t, r.dir)
		h.podGone(t, r.stderr)
		return
	}
}

// testNobodyReads: whoever should read the snapshot neither does nor goes away.
func testNobodyReads(t *testing.T, h *hosted) {
	begin := func(via string) *proc {
		read, write, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = read.Close() })
		p := prepared(t, h.c.kubeconfig, "", "backup", h.target(), "--via", via, "--to", "-", "--timeout", "30s", "-v")
		p.cmd.Stdout = write
		p.begin()
		_ = write.Close()
		return p
	}
	agent, forward := begin("agent"), begin("forward")
	r := agent.wait().fails(1, `.*not done after --timeout=30s.*`, "").within(time.Minute)
	forward.wait().fails(1, `.*not done after --timeout=30s.*`, "").within(time.Minute)
	h.podGone(t, r.stderr)
}

// testStall: no byte comes any more, but nobody says that the link is gone. It is noticed, and the snapshot begins anew.
func testStall(t *testing.T, h *hosted, via string) {
	tr := held(t, h, via, "", "-v")
	tr.err.shows(t, 100*time.Second, `^warning: attempt 1 of 3: .*; starting anew$`)
	tr.release()
	r := tr.wait().exits(0)
	if via == "agent" {
		r.says(`warning: attempt 1 of 3: .*the connection has stalled: nothing came for \S+ while waiting for the answer to "snapshot" \(last: data\); starting anew`)
		h.podGone(t, r.stderr)
	}
	wantFiles(t, tr.dir, "a.db", "a.db.json")
	if err := agree(t.Context(), filepath.Join(tr.dir, "a.db"), "3.6"); err != nil {
		t.Error(err)
	}
}

// testBar: on a terminal there is a bar, and the interrupt is typed.
func testBar(t *testing.T, h *hosted) {
	p, person := startOnTerminal(t, h.c.kubeconfig, "backup", h.target(), "--via", "forward", "--limit-rate", "1Mi", "--to", "a.db")
	size := `\d+\.\d+ [KM]iB`
	p.out.shows(t, time.Minute, size+` / `+size+` \[[-=_> ]+\] \d+\.\d+% `+size+`/s ETA \S+ \(\d+(\.\d+)? MiB on the wire\)`)
	if _, err := person.WriteString("\x03"); err != nil {
		t.Fatal(err)
	}
	r := p.wait().exits(130).prints(`error:\S* interrupted`)
	if regexp.MustCompile(progressLine).MatchString(r.stdout) {
		t.Errorf("lines besides the bar: %s", r)
	}
	wantFiles(t, r.dir)
}

// testClosedPipe: whoever reads the snapshot goes away.
func testClosedPipe(t *testing.T, h *hosted) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	p := prepared(t, h.c.kubeconfig, "", "backup", h.target(), "--via", "agent", "--to", "-", "-v")
	p.cmd.Stdout = write
	p.begin()
	_ = write.Close()
	head := exec.CommandContext(t.Context(), "head", "-c", "1000")
	head.Stdin = read
	out, err := head.Output()
	if err != nil || len(out) != 1000 {
		t.Fatalf("head: %d bytes, %v", len(out), err)
	}
	_ = read.Close()
	r := p.wait().fails(1, `take snapshot of member kube-etcd-0: .*write -: `+syscall.EPIPE.Error(), "")
	if strings.Contains(r.stderr, "goroutine") || strings.Contains(r.stderr, "panic") {
		t.Errorf("a stack: %s", r)
	}
	h.podGone(t, r.stderr)
	wantFiles(t, r.dir)
}
