//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

var (
	stacked1 = kind{"static1", 1, "3.6.8-0", 0}
	stacked3 = kind{"static3", 3, "3.6.8-0", 0}
)

// onEngine runs a command of the engine that has the nodes.
func onEngine(t testing.TB, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(testContext(t), "docker", args...).CombinedOutput(); err != nil {
		t.Fatalf("docker %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// TestRestoreLongStatic: whatever happens to the client, to an agent or to a node while the cluster's own etcd is restored, in the end all members
// and API servers are as in the snapshot, or as they were, and the command says which.
func TestRestoreLongStatic(t *testing.T) {
	last := func(s *stacked) string { n := s.controlPlane(); return n[len(n)-1] }
	type fault struct {
		name string
		do   func(t *testing.T, s *stacked, p *proc)
	}
	kill := func(_ *testing.T, _ *stacked, p *proc) { p.signal(syscall.SIGKILL) }
	faults := []fault{
		{"the client is killed", kill},
		{"an agent is killed", func(t *testing.T, s *stacked, _ *proc) {
			s.inNode(t, last(s), "pkill -9 -f ^/kubectl-etcd/bin/agent; echo $?")
		}},
		{"a node reboots", func(t *testing.T, s *stacked, _ *proc) { onEngine(t, "restart", last(s)) }},
		{"a node reboots, and the client is killed", func(t *testing.T, s *stacked, p *proc) {
			p.signal(syscall.SIGKILL)
			onEngine(t, "restart", last(s))
		}},
		{"a node stands still for a minute", func(t *testing.T, s *stacked, _ *proc) {
			onEngine(t, "pause", last(s))
			time.Sleep(time.Minute)
			onEngine(t, "unpause", last(s))
		}},
		{"a node's network is cut for a minute", func(t *testing.T, s *stacked, _ *proc) {
			cut := func(do string) {
				s.inNode(t, last(s), "iptables "+do+" INPUT -i eth0 -j DROP && iptables "+do+" OUTPUT -o eth0 -j DROP")
			}
			cut("-I")
			time.Sleep(time.Minute)
			cut("-D")
		}},
	}
	const exchange = `^on one node after the other: freeze etcd`
	points := []struct {
		line string
		wait time.Duration
	}{{`^member \S+: upload the snapshot`, 0}, {exchange, 0}, {exchange, time.Second}, {exchange, 3 * time.Second}, {`^wait until all members are one`, 0}, {`^restart kube-`, time.Second}}
	for _, k := range []kind{stacked1, stacked3} {
		t.Run(fmt.Sprintf("%d", k.nodes), func(t *testing.T) {
			c := clusters.get(t, k)
			for _, f := range faults {
				for _, p := range points {
					name := regexp.MustCompile(`\W+`).ReplaceAllString(fmt.Sprintf("%s %s %s", f.name, p.line, p.wait), "-")
					if !t.Run(name, func(t *testing.T) {
						s := stack(t, c)
						r := start(t, c.kubeconfig, "", "restore", "--from", s.snapshot, "--yes", "-v", "--timeout=2m")
						r.err.shows(t, 2*time.Minute, p.line)
						time.Sleep(p.wait)
						f.do(t, s, r)
						s.settled(t, r.waitFor(aloneWithin))
					}) {
						t.Fatal("the next one would find what this one has left")
					}
					s := &stacked{cluster: c}
					s.calm(t)
				}
			}
		})
	}
}

// TestRestoreLongStaticMember replaces a member that runs, and one that has lost its data, while the others serve.
func TestRestoreLongStaticMember(t *testing.T) {
	c := clusters.get(t, stacked3)
	s := &stacked{cluster: c, files: map[string]string{}}
	for _, n := range c.controlPlane() {
		s.files[n] = s.manifests(t, n)
	}
	s.healthy(t)
	r := s.etcd(t, "backup", "--to", "a.db").exits(0)
	s.snapshot = filepath.Join(r.dir, "a.db")
	s.unknownFlag(t)
	s.calm(t)
	s.healthy(t)
	// The utility pod is there before etcd ends, and with it the API server beside it and what the kubelet hears.
	s.replaced(t, c.node()+"3")
	s.calm(t)
	s.healthy(t)
	s.leaves(t, c.node()+"2")
	s.sound(t)
	s.clean(t)
	s.calm(t)
	s.healthy(t)
	replaceStatic(t, s)
}

// calm has the kubelets forget that etcd has ended before: otherwise each cell would wait longer than the one before.
func (s *stacked) calm(t testing.TB) {
	t.Helper()
	for _, n := range s.controlPlane() {
		s.inNode(t, n, "systemctl restart kubelet")
	}
}

// aloneWithin is what a client may have to wait for a node that is cut off until its agent has gone back by itself, and for the rest: an agent allows for
// kubelets that leave etcd alone, and the cells before have restarted it often enough for five minutes each.
const aloneWithin = 15 * time.Minute

// settled brings what is unfinished to an end, first forward and else back, and checks that it is as the last command says.
func (s *stacked) settled(t *testing.T, r *result) {
	t.Helper()
	t.Logf("exit code %d after %.0f s\n%s", r.code, r.took.Seconds(), r.stderr)
	restored := r.code == 0
	for try := 0; s.unfinished(t); try++ {
		if try == 6 {
			t.Fatal("it does not come to an end")
		}
		what := []string{"resume", "undo"}[try%2]
		args := []string{"restore", what, "-n", "kube-system", "--yes", "-v", "--timeout=2m"}
		if what == "resume" {
			args = append(args, "--from", s.snapshot)
		}
		r := start(t, s.kubeconfig, "", args...).waitFor(aloneWithin)
		t.Logf("%s: exit code %d after %.0f s\n%s", what, r.code, r.took.Seconds(), r.stderr)
		restored = what == "resume" && r.code == 0
	}
	if got := s.has(t); got != restored {
		t.Errorf("restored: %t, and the command said %t", got, restored)
	}
	s.etcd(t, "cleanup", "-n", "kube-system", "--running", "--yes") // utility pods of clients that were killed
	s.sound(t)
	s.clean(t)
	s.kubectl(t, "delete", "namespace", s.shop, s.later, "--ignore-not-found", "--wait=false")
}

// unfinished tells whether an operation is, as soon as anybody can say.
func (s *stacked) unfinished(t testing.TB) (yes bool) {
	t.Helper()
	eventually(t, 3*time.Minute, "the operations are listed", func() error {
		r := s.etcd(t, "restore", "status", "-n", "kube-system", "-o", "json")
		var out struct{ Items []struct{ Phase string } }
		if r.code != 0 {
			return fmt.Errorf("%s", r.stderr)
		}
		if err := json.Unmarshal([]byte(r.stdout), &out); err != nil {
			return err
		}
		yes = false
		for _, o := range out.Items {
			yes = yes || o.Phase != "succeeded" && o.Phase != "undone" && o.Phase != "abandoned"
		}
		return nil
	})
	return yes
}
