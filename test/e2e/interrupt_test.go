//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	bigSize = 96 << 20 // of values; the database is a tenth larger
	// heldAt is more than any API call of a backup brings, and little of a big snapshot.
	heldAt = 16 << 20
)

// TestBig is what happens in the middle of a large transfer. One filled etcd serves all.
func TestBig(t *testing.T) {
	c := clusters.get(t, mainKind)
	h := host(t, c, hosted{})
	start := time.Now()
	h.fill(t, bigSize)
	t.Logf("%d MiB written in %.0f s", bigSize>>20, time.Since(start).Seconds())
	for _, test := range []struct {
		name string
		run  func(*testing.T, *hosted, string)
	}{
		{"interrupt", testInterrupt}, {"kill and cleanup", testKilled}, {"pod deleted", testPodDeleted}, {"link cut", testCut},
		{"link stays down", testLinkDown}, {"disk full", testDiskFull}, {"same file twice", testSameFile}, {"kubelet cut", testKubeletCut}, {"etcd stopped", testEtcdStops},
	} {
		for _, via := range []string{"agent", "forward"} {
			if via == "forward" && slices.Contains([]string{"kill and cleanup", "pod deleted", "same file twice"}, test.name) {
				continue // it makes no pod; which way is the same to a file
			}
			t.Run(strings.ReplaceAll(test.name, " ", "-")+"/"+via, func(t *testing.T) {
				test.run(t, h, via)
				c.nothingLeft(t, h.Namespace)
			})
		}
	}
}

// transfer is a backup that is held in the middle.
type transfer struct {
	*link
	*proc
	dir string
}

// held begins a backup of h to a.db in dir (a fresh one if empty) and waits until it is in the middle of the transfer.
func held(t *testing.T, h *hosted, via, dir string, args ...string) *transfer {
	t.Helper()
	if dir == "" {
		dir = t.TempDir()
	}
	l := newLink(t, h.c, heldAt)
	p := start(t, l.kubeconfig, dir, append([]string{"backup", h.target(), "--via", via, "--to", "a.db"}, args...)...)
	select {
	case <-l.held:
	case err := <-p.done:
		t.Fatalf("ended before the transfer: %v\n%s", err, p.err.String())
	case <-time.After(limit):
		t.Fatalf("no transfer after %s\n%s", limit, p.err.String())
	}
	return &transfer{l, p, dir}
}

// files lists a folder.
func files(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := []string{}
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func wantFiles(t testing.TB, dir string, want ...string) {
	t.Helper()
	if got := files(t, dir); !slices.Equal(got, want) && len(got)+len(want) > 0 {
		t.Fatalf("files %q, want %q", got, want)
	}
}

// noAgent waits until no agent runs on the node.
func (c *cluster) noAgent(t testing.TB) {
	t.Helper()
	eventually(t, 50*time.Second, "no agent on the node", func() error {
		out := c.inNode(t, c.node(), `for p in /proc/[0-9]*; do tr '\0' ' ' < $p/cmdline 2>/dev/null | grep -q '^/kubectl-etcd/bin/agent' && echo $p; done; true`)
		if out != "" {
			return fmt.Errorf("runs: %s", out)
		}
		return nil
	})
}

// testInterrupt: Ctrl-C ends it at once; what was there before stays.
func testInterrupt(t *testing.T, h *hosted, via string) {
	dir := t.TempDir()
	before := []byte("the backup of yesterday")
	if err := os.WriteFile(filepath.Join(dir, "a.db"), before, 0o600); err != nil {
		t.Fatal(err)
	}
	tr := held(t, h, via, dir, "--force")
	wantFiles(t, dir, "a.db", "a.db.part")
	tr.signal(syscall.SIGINT)
	asked := time.Now()
	tr.wait().fails(130, "interrupted", "")
	if took := time.Since(asked); took > 15*time.Second {
		t.Errorf("the interrupt took %s", took)
	}
	wantFiles(t, dir, "a.db")
	if got, _ := os.ReadFile(filepath.Join(dir, "a.db")); string(got) != string(before) {
		t.Errorf("the file that was there before is %d bytes of something else", len(got))
	}
	h.c.nothingLeft(t, h.Namespace)
	h.c.noAgent(t)
}

// testKilled: a killed client leaves a pod and a ConfigMap; cleanup lists and removes them.
func testKilled(t *testing.T, h *hosted, via string) {
	tr := held(t, h, via, "")
	tr.signal(syscall.SIGKILL)
	<-tr.done
	tr.cut()
	h.c.noAgent(t) // it ends by itself; the pod stays
	list := h.c.etcd(t, "cleanup", "-n", h.Namespace, "--dry-run", "--running").exits(0)
	list.prints(`^` + h.Namespace + ` +Pod +kubectl-etcd-kube-etcd-0-\w+ +backup +kube-etcd-0 +\S+ +yes$`)
	list.prints(`^` + h.Namespace + ` +ConfigMap +kubectl-etcd-kube-etcd-0-\w+ +backup +kube-etcd-0 +\S+ +yes$`)
	list.says(`2 objects not removed \(dry run\)`)
	h.c.etcd(t, "cleanup", "-n", h.Namespace, "--yes").exits(0).says(`left alone, still running: 2 \(remove them too with --running\)`)
	h.c.etcd(t, "cleanup", "-n", h.Namespace, "--running").fails(2, "removing 2 objects needs a yes: pass --yes where there is no terminal", "")
	h.c.etcd(t, "cleanup", "-n", h.Namespace, "--running", "--yes").exits(0)
	h.c.etcd(t, "cleanup", "-A", "--running", "--yes").exits(0)
	h.c.nothingLeft(t, h.Namespace)
	// What a killed client left in its folder is used anew.
	wantFiles(t, tr.dir, "a.db.part")
	start(t, h.c.kubeconfig, tr.dir, "backup", h.target(), "--to", "a.db").wait().exits(0)
	wantFiles(t, tr.dir, "a.db", "a.db.json")
}

// testPodDeleted: somebody deletes the utility pod in the middle.
func testPodDeleted(t *testing.T, h *hosted, via string) {
	tr := held(t, h, via, "")
	h.kubectl(t, "delete", "pod", "-l", "app.kubernetes.io/managed-by=kubectl-etcd", "--now")
	tr.release()
	r := tr.wait()
	// It is begun anew in another pod.
	r.exits(0).says(`warning: attempt 1 of 3: .*; starting anew`)
	wantFiles(t, tr.dir, "a.db", "a.db.json")
	if err := agree(t.Context(), filepath.Join(tr.dir, "a.db"), "3.6"); err != nil {
		t.Error(err)
	}
}

// testCut: the link breaks half-way and comes back.
func testCut(t *testing.T, h *hosted, via string) {
	tr := held(t, h, via, "")
	tr.release()
	tr.cut()
	tr.wait().exits(0).says(`warning: attempt 1 of 3: .*; starting anew`)
	wantFiles(t, tr.dir, "a.db", "a.db.json")
	if err := agree(t.Context(), filepath.Join(tr.dir, "a.db"), "3.6"); err != nil {
		t.Error(err)
	}
}

// testLinkDown: the link breaks and does not come back.
func testLinkDown(t *testing.T, h *hosted, via string) {
	tr := held(t, h, via, "")
	tr.setDown(true)
	tr.release()
	tr.cut()
	r := tr.wait().exits(1).says(`error: .*`)
	wantFiles(t, tr.dir)
	if via == "agent" {
		r.says(`warning: clean up: .*; remove what is left with: kubectl etcd cleanup -n ` + h.Namespace + ` --running`)
	}
	h.c.etcd(t, "cleanup", "-n", h.Namespace, "--running", "--yes").exits(0)
}

// testDiskFull: there was room when it began, and there is none in the middle.
func testDiskFull(t *testing.T, h *hosted, via string) {
	dir := tmpfs(t, "160m")
	tr := held(t, h, via, dir)
	if err := os.WriteFile(filepath.Join(dir, "other"), make([]byte, 120<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	tr.release()
	tr.wait().fails(1, `.*write a\.db: .*no space left on device`, "free some space, or write somewhere else with --to, or smaller with --compress=zstd --prove=stream")
	wantFiles(t, dir, "other")
}

// testSameFile: two backups at once, to the same file and to another.
func testSameFile(t *testing.T, h *hosted, via string) {
	tr := held(t, h, via, "")
	start(t, h.c.kubeconfig, tr.dir, "backup", h.target(), "--via", via, "--to", "a.db").wait().
		fails(1, "create a.db: another backup is writing this file", "wait for it, or write to another name")
	start(t, h.c.kubeconfig, tr.dir, "backup", h.target(), "--via", via, "--to", "b.db").wait().exits(0)
	tr.release()
	tr.wait().exits(0)
	wantFiles(t, tr.dir, "a.db", "a.db.json", "b.db", "b.db.json")
	for _, name := range []string{"a.db", "b.db"} {
		if err := agree(t.Context(), filepath.Join(tr.dir, name), "3.6"); err != nil {
			t.Error(err)
		}
	}
}

// testEtcdStops: etcd itself goes away in the middle.
func testEtcdStops(t *testing.T, h *hosted, via string) {
	tr := held(t, h, via, "")
	h.kubectl(t, "delete", "pod", h.pod(0), "--now")
	h.ready(t)
	tr.release()
	r := tr.wait()
	if r.code == 0 { // enough was under way, or the new etcd served another attempt
		if err := agree(t.Context(), filepath.Join(tr.dir, "a.db"), "3.6"); err != nil {
			t.Error(err)
		}
		return
	}
	r.exits(1).says(`error: take snapshot of member kube-etcd-0: .*`)
	wantFiles(t, tr.dir)
}

// tmpfs is a small file system that goes with the test. It takes root, which the test bed takes too.
func tmpfs(t testing.TB, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Fatalf("mount a tmpfs (needs root): %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir
}
