//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/template"
	"time"
)

// ShellImage has a shell and etcdctl.
func (h *hosted) ShellImage() string { return image(shellKind.tag) }

// TestShards: of two etcds in one namespace one is restored, while the other's client writes on, undisturbed. What could be
// either's is asked about first.
func TestShards(t *testing.T) {
	turn(t)
	c := clusters.get(t, mainKind)
	t.Parallel()
	nodes := strings.Fields(c.kubectl(t, "get", "nodes", "-o", "jsonpath={.items[*].metadata.name}"))
	node := nodes[len(nodes)-1] // where there are workers, the control plane's takes no pods
	events := host(t, c, hosted{Name: "etcd-events", Node: node})
	main := host(t, c, hosted{Name: "etcd", Namespace: events.Namespace, Node: node})
	text, err := os.ReadFile(filepath.Join("testdata", "shards.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := template.Must(template.New("shards").Parse(string(text))).Execute(&b, []*hosted{main, events}); err != nil {
		t.Fatal(err)
	}
	c.apply(t, b.String())
	for _, h := range []*hosted{main, events} {
		h.userWrites(t, 5)
	}
	events.put(t, "/before", "x")
	r := c.etcd(t, "backup", events.target(), "--to", "s.db", "-q").exits(0)
	file := filepath.Join(r.dir, "s.db")
	events.put(t, "/after", "x")

	plan := func(h *hosted, mine, theirs string) {
		t.Helper()
		r := c.etcd(t, "restore", h.target(), "--from", file, "--from-other-cluster", "--dry-run=client").exits(0).
			prints(fmt.Sprintf(`scale writer %s/Deployment/%s from 1 to 0 `, h.Namespace, mine)).
			says(fmt.Sprintf(`warning: %s/Deployment/doubtful may use this etcd, and is not stopped: https://any-etcd:2379 may be of \S+ or of \S+`, h.Namespace))
		if n := strings.Count(r.stdout, "scale writer"); n != 2 || strings.Contains(r.stdout, theirs) {
			t.Errorf("the plan stops others, too: %s", r)
		}
	}
	plan(events, "etcd-events-user", "Deployment/etcd-user")
	plan(main, "etcd-user", "etcd-events")
	pods := func() string {
		return main.kubectl(t, "get", "pods", "-l", "app in (etcd, etcd-user, doubtful)", "-o", "jsonpath={range .items[*]}{.metadata.uid} {.status.containerStatuses[0].restartCount}{'\\n'}{end}")
	}
	before := pods()
	doubtful := main.Namespace + "/Deployment/doubtful"
	c.etcd(t, "restore", events.target(), "--from", file, "--yes").fails(1, `restore \S+: whether these use it is not known: `+doubtful,
		`say of each whether it uses this etcd: --writer `+doubtful+` stops it, --not-writer `+doubtful+` lets it run`)
	began := time.Now()
	r = c.etcd(t, "restore", events.target(), "--from", file, "--yes", "--not-writer", "deployment/doubtful", "-v").exits(0)
	t.Logf("%s\n%.1f s", r.stderr, time.Since(began).Seconds())
	for key, want := range map[string]string{"/before": "x", "/after": ""} {
		if got, err := events.etcdctl(t, 0, "get", key, "--print-value-only"); err != nil || strings.TrimSpace(got) != want {
			t.Errorf("key %s after the restore: %q, want %q, %v", key, got, want, err)
		}
	}
	main.userWrites(t, 5)
	if after := pods(); after != before {
		t.Errorf("pods that were none of its business:\n%s, and now\n%s", before, after)
	}
	log := main.kubectl(t, "logs", "deployment/etcd-user")
	if strings.Contains(log, "failed") {
		t.Errorf("writes to the other etcd failed:\n%s", log)
	}
	written := strings.Count(log, "written ")
	keys, err := main.etcdctl(t, 0, "get", "/user/", "--prefix", "--keys-only")
	if got := strings.Count(keys, "/user/"); err != nil || got < written || got > written+20 {
		t.Errorf("%d keys of %d that were written, %v", got, written, err)
	}
	events.userWrites(t, 5)
	c.nothingLeft(t, main.Namespace)
}

// userWrites waits until its client has written so many more keys.
func (h *hosted) userWrites(t testing.TB, n int) {
	t.Helper()
	count := func() int {
		log, err := h.c.tryKubectl(t, nil, "-n", h.Namespace, "logs", "deployment/"+h.Name+"-user")
		if err != nil {
			return 0 // its pod does not run yet
		}
		return strings.Count(log, "written ")
	}
	first := count()
	eventually(t, time.Minute, fmt.Sprintf("%d more keys written to %s", n, h.Name), func() error {
		if got := count() - first; got < n {
			return fmt.Errorf("%d", got)
		}
		return nil
	})
}
