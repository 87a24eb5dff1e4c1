//go:build e2e

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// stacked is a cluster whose own etcd is restored: kubeadm's, with an etcd in a static pod on each control plane node.
type stacked struct {
	*cluster
	shop     string            // a namespace with a Deployment that the snapshot has
	later    string            // one that came after it
	snapshot string            // a file
	files    map[string]string // what the manifests' folder of each node has
}

func (c *cluster) controlPlane() (nodes []string) {
	for i := range c.nodes {
		name := c.node()
		if i > 0 {
			name += fmt.Sprint(i + 1)
		}
		nodes = append(nodes, name)
	}
	return nodes
}

// stack makes what is lost, takes the snapshot, and loses it.
func stack(t *testing.T, c *cluster) *stacked {
	t.Helper()
	c.healthy(t)
	id := fmt.Sprintf("%x", time.Now().UnixNano()&0xffffff)
	s := &stacked{cluster: c, shop: "shop-" + id, later: "later-" + id, files: map[string]string{}}
	c.deploy(t, s.shop, "web", 2)
	s.serves(t, s.shop)
	r := c.etcd(t, "backup", "--to", "a.db").exits(0)
	s.snapshot = filepath.Join(r.dir, "a.db")
	c.kubectl(t, "delete", "namespace", s.shop)
	c.deploy(t, s.later, "young", 1)
	c.kubectl(t, "-n", s.later, "rollout", "status", "deployment/young", "--timeout=2m")
	for _, n := range c.controlPlane() {
		s.files[n] = s.manifests(t, n)
	}
	return s
}

// deploy makes a namespace with a Deployment whose pods run on any node.
func (c *cluster) deploy(t testing.TB, ns, name string, replicas int) {
	t.Helper()
	c.apply(t, fmt.Sprintf(`
apiVersion: v1
kind: Namespace
metadata: {name: %[1]s}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: %[2]s, namespace: %[1]s}
spec:
  replicas: %[3]d
  selector: {matchLabels: {app: %[2]s}}
  template:
    metadata: {labels: {app: %[2]s}}
    spec:
      tolerations: [{operator: Exists}]
      terminationGracePeriodSeconds: 1
      containers: [{name: %[2]s, image: "registry.k8s.io/pause:3.10"}]
`, ns, name, replicas))
}

// healthy waits for the members and for the nodes.
func (c *cluster) healthy(t testing.TB) {
	t.Helper()
	eventually(t, 3*time.Minute, "all members are healthy", func() error {
		if r := c.etcd(t, "status"); r.code != 0 {
			return errors.New(r.stdout + r.stderr)
		}
		return nil
	})
	c.ready(t)
}

// ready waits for the nodes: one whose API server was away says for a while that it is not.
func (c *cluster) ready(t testing.TB) {
	t.Helper()
	eventually(t, 2*time.Minute, "all nodes are ready", func() error {
		out, err := c.tryKubectl(t, nil, "get", "nodes", "-o", `jsonpath={range .items[*]}{.metadata.name}={.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}`)
		for line := range strings.Lines(out) {
			if !strings.HasSuffix(line, "=True\n") {
				return errors.New(line)
			}
		}
		return err
	})
}

// manifests are the files that a node's kubelet runs, with their sums.
func (s *stacked) manifests(t testing.TB, node string) string {
	return s.inNode(t, node, "cd /etc/kubernetes/manifests && ls -A | xargs sha256sum")
}

// serves waits for the Deployment's pods: those that run, and not only what the API remembers of them.
func (s *stacked) serves(t testing.TB, ns string) {
	t.Helper()
	eventually(t, 2*time.Minute, "two pods of namespace "+ns+" run", func() error {
		out, err := s.tryKubectl(t, nil, "-n", ns, "get", "pods", "-l", "app=web", "-o", `jsonpath={range .items[*]}{.status.containerStatuses[*].ready}{" "}{.metadata.deletionTimestamp}{"\n"}{end}`)
		if err == nil && strings.Count(out, "true \n") == 2 && strings.Count(out, "\n") == 2 {
			return nil
		}
		return errors.Join(fmt.Errorf("%q", out), err)
	})
}

// has tells whether the cluster is as in the snapshot, or as it was before the restore; all members and all API servers have to agree.
func (s *stacked) has(t testing.TB) (restored bool) {
	t.Helper()
	eventually(t, 2*time.Minute, "all members and API servers agree", func() error {
		r := s.etcd(t, "status", "-o", "json", "--hashes")
		var out struct {
			Members []struct {
				Healthy bool
				Status  struct{ ClusterID string }
			}
		}
		if r.code != 0 {
			return errors.New(r.stderr)
		}
		if err := json.Unmarshal([]byte(r.stdout), &out); err != nil {
			return err
		}
		seen := map[string]int{}
		for _, m := range out.Members {
			if m.Healthy {
				seen[m.Status.ClusterID]++
			}
		}
		if len(seen) != 1 {
			return fmt.Errorf("clusters: %v", seen)
		}
		for _, n := range seen {
			if n != s.nodes {
				return fmt.Errorf("%d healthy members of %d", n, s.nodes)
			}
		}
		votes := map[string]int{}
		for _, n := range s.controlPlane() {
			spaces, err := output(testContext(t), nil, "docker", "exec", n, "sh", "-c", "kubectl --kubeconfig=/etc/kubernetes/admin.conf --server=https://$(hostname):6443 --request-timeout=5s get namespaces -o name")
			if err != nil { // it ended when its etcd did, and its kubelet starts it again
				return err
			}
			shop, later := strings.Contains(spaces, s.shop), strings.Contains(spaces, s.later)
			if shop == later {
				return fmt.Errorf("node %s: %s", n, spaces)
			}
			votes[fmt.Sprint(shop)]++
		}
		if len(votes) != 1 {
			return fmt.Errorf("API servers: restored: %v", votes)
		}
		restored = votes["true"] > 0
		return nil
	})
	return restored
}

// sound checks what holds whatever has become of a restore.
func (s *stacked) sound(t testing.TB) {
	t.Helper()
	for n, before := range s.files {
		if now := s.manifests(t, n); now != before {
			t.Errorf("manifests of node %s: %s\nwere: %s", n, now, before)
		}
	}
	s.nothingLeft(t, "kube-system")
	eventually(t, 2*time.Minute, "all nodes and all pods of the control plane are ready", func() error {
		out, err := s.tryKubectl(t, nil, "get", "nodes,pods", "-n", "kube-system", "-o", `jsonpath={range .items[*]}{.metadata.name}={.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}`)
		for line := range strings.Lines(out) {
			if !strings.HasSuffix(line, "=True\n") {
				return errors.New(line)
			}
		}
		return err
	})
}

// restored checks a restore that says that it is done.
func (s *stacked) restored(t testing.TB, r *result) restored {
	t.Helper()
	out := r.exits(0).restored()
	if out.Operation.Phase != "succeeded" || out.Restore.ClusterID == out.Restore.OldClusterID || out.Restore.Snapshot.Revision+out.Restore.Bump <= out.Restore.Highest {
		t.Errorf("not as promised: %+v", out)
	}
	r.counted()
	if !s.has(t) {
		t.Error("the cluster is as it was before")
	}
	if len(out.Disagree) > 0 {
		t.Errorf("kubelets and API disagree: %q", out.Disagree)
	}
	for _, n := range s.controlPlane() {
		runs := s.kubectl(t, "get", "--raw", "/api/v1/nodes/"+n+"/proxy/runningpods/")
		if !strings.Contains(runs, `"namespace":"kube-system"`) || strings.Contains(runs, `"namespace":"`+s.later+`"`) {
			t.Errorf("node %s runs: %s", n, runs)
		}
	}
	s.serves(t, s.shop)
	s.sound(t)
	return out
}

// restoreStatic restores a cluster's own etcd, with kubectl alone, and takes it back.
func restoreStatic(t *testing.T, c *cluster) {
	s := stack(t, c)
	c.etcd(t, "restore", "--from", s.snapshot, "--dry-run=client").exits(0).prints(`(?s).*on one node after the other: freeze etcd.*from its first leader on, only forward.*The API servers go on running.*`).says(`nothing was changed.*`)
	c.etcd(t, "restore", "--from", s.snapshot, "--yes", "--writer", "Deployment/a").fails(1, `.*--writer is for the etcd of a hosted control plane.*`, `leave out --writer`)
	c.etcd(t, "restore", "--member", c.node(), "--from", s.snapshot, "--yes").fails(1, `restore member from a snapshot: the other members have quorum.*`, `replace it without the snapshot: leave out --from; .*`)
	r := c.etcd(t, "restore", "--from", s.snapshot, "--yes", "-o", "json", "-v")
	out := s.restored(t, r)
	if left, err := filepath.Glob(filepath.Join(r.dir, "kubectl-etcd-restore-*")); err != nil || len(left) > 0 {
		t.Errorf("left here: %q, %v", left, err)
	}
	t.Logf("outage %.1f s, %.1f s in all\n%s", out.OutageSeconds, r.took.Seconds(), r.stderr)
	r = c.etcd(t, "restore", "undo", "-n", "kube-system", out.Operation.ID, "--yes", "-v").exits(0)
	t.Logf("%.1f s in all\n%s", r.took.Seconds(), r.stderr)
	if s.has(t) {
		t.Error("the undo has left the cluster as in the snapshot")
	}
	s.sound(t)
	s.twins(t, "/etc/kubernetes/manifests")
	s.sound(t)
	s.clean(t)
}

// twins has a copy of a manifest beside it, as an editor or a careful operator leaves one. The kubelet is started again each time, so that it has
// seen what there is.
func (s *stacked) twins(t testing.TB, folder string) {
	t.Helper()
	one, two := folder+"/0-kube-scheduler.bak", folder+"/kube-scheduler.yaml"
	t.Cleanup(func() { s.inNode(t, s.node(), "rm -f "+one) })
	kubelet := func() {
		s.inNode(t, s.node(), "systemctl restart kubelet")
		s.healthy(t) // a kubelet that has just started knows no pods yet
		eventually(t, 2*time.Minute, "the scheduler runs", func() error {
			out, err := s.tryKubectl(t, nil, "-n", "kube-system", "get", "pod", "kube-scheduler-"+s.node(), "-o", "jsonpath={.status.containerStatuses[*].ready}")
			if err == nil && out != "true" {
				err = errors.New(out)
			}
			return err
		})
	}
	s.inNode(t, s.node(), "cp "+two+" "+one)
	kubelet()
	s.etcd(t, "restore", "--from", s.snapshot, "--yes").fails(1,
		`restore kube-system/etcd: node `+s.node()+` has 2 manifests of pod kube-system/kube-scheduler \(`+one+`, `+two+`\), and its kubelet runs one of them`,
		`move the copies out of that folder: .*`)
	s.inNode(t, s.node(), "rm "+one)
	kubelet()
}

// clean removes the old data of all restores.
func (s *stacked) clean(t testing.TB) {
	t.Helper()
	var ops struct {
		Items []struct{ ID string }
	}
	r := s.etcd(t, "restore", "status", "-n", "kube-system", "-o", "json").exits(0)
	if err := json.Unmarshal([]byte(r.stdout), &ops); err != nil {
		t.Fatalf("%v: %s", err, r.stdout)
	}
	for _, o := range ops.Items {
		s.etcd(t, "restore", "cleanup", "-n", "kube-system", o.ID, "--yes").exits(0)
	}
	for _, n := range s.controlPlane() {
		if left := s.inNode(t, n, "ls -A /var/lib/etcd"); strings.TrimSpace(left) != "member" {
			t.Errorf("left on node %s: %s", n, left)
		}
	}
}

// killedInExchange restores, and kills the client right after the exchange: its journal is only beside the data then.
func (s *stacked) killedInExchange(t testing.TB) *proc {
	t.Helper()
	p := start(t, s.kubeconfig, "", "restore", "--from", s.snapshot, "--yes", "-v")
	p.err.shows(t, time.Minute, `^on one node after the other: freeze etcd`)
	eventually(t, time.Minute, "the data is exchanged", func() error {
		if !s.exchanged(t) {
			return errors.New("not yet")
		}
		return nil
	})
	p.signal(syscall.SIGKILL)
	if r := p.wait(); r.code == 0 {
		t.Fatalf("it has ended: %s", r)
	}
	if !s.has(t) {
		t.Error("the cluster is as it was before")
	}
	return p
}

// restoreStaticKilled has another client go on where the first was killed.
func restoreStaticKilled(t *testing.T, c *cluster) {
	s := stack(t, c)
	p := s.killedInExchange(t)
	// Without any API server there is the file that it has left.
	left, err := filepath.Glob(filepath.Join(p.cmd.Dir, "kubectl-etcd-restore-*.json"))
	if err != nil || len(left) != 1 {
		t.Fatalf("left here: %q, %v", left, err)
	}
	start(t, "/nowhere", "", "restore", "status", left[0]).wait().exits(0).prints(`(?s).*hot-switch\s+doing.*`).says(`(?s)node ` + s.node() + `: .*inode \d+.*restart the kubelet.*`)
	c.etcd(t, "restore", "status", "-n", "kube-system").exits(0).prints(`(?s).*kube-system/etcd\s+\S+\s+running.*`).says(`(?s).*no client works on it; finish it with: kubectl etcd restore resume.*`)
	c.etcd(t, "restore", "--from", s.snapshot, "--yes").fails(1, `(?s).*is unfinished.*its journal lies beside the data.*`, `.*restore resume.*`)
	c.etcd(t, "restore", "undo", "-n", "kube-system", "--yes").fails(1, `(?s).*have elected a leader on the new data.*`, `.*restore resume.*`)
	c.etcd(t, "restore", "resume", "-n", "kube-system", "--yes", "-v").exits(0).says(`(?s).*every kubelet runs what the cluster has on its node.*`)
	s.serves(t, s.shop)
	s.sound(t)
	s.clean(t)
}

// exchanged compares what the first node has of the newest journal with the folder that its etcd has.
func (s *stacked) exchanged(t testing.TB) bool {
	t.Helper()
	out := s.inNode(t, s.node(), "cat /var/lib/etcd/.kubectl-etcd/*/journal.json | tr -d ' \\n'; stat -c %i /var/lib/etcd/member")
	i := strings.LastIndex(out, "}")
	if i < 0 {
		return false
	}
	inode := strings.TrimSpace(out[i+1:])
	return inode != "" && strings.Contains(out, `"newInode":`+inode)
}
