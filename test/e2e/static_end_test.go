//go:build e2e

package e2e

import (
	"syscall"
	"testing"
	"time"
)

// TestRestoreLongStaticEnds is how a restore of a cluster's own etcd ends where it cannot end well: its node has nobody but itself.
func TestRestoreLongStaticEnds(t *testing.T) {
	c := clusters.get(t, stacked1)
	for _, file := range []string{"wal/*.wal", "snap/db"} {
		if !t.Run(file+" is damaged", func(t *testing.T) { damagedStatic(t, stack(t, c), file) }) {
			t.Fatal("the next one would find what this one has left")
		}
		(&stacked{cluster: c}).calm(t)
	}
	t.Run("is given up", func(t *testing.T) { abandonStatic(t, stack(t, c)) })
}

// damagedStatic damages the new data between its build and the exchange: etcd does not start on it, and the node goes back by itself.
func damagedStatic(t *testing.T, s *stacked, file string) {
	p := start(t, s.kubeconfig, "", "restore", "--from", s.snapshot, "--yes", "-v", "--timeout=2m")
	p.err.shows(t, 2*time.Minute, `^on one node after the other: freeze etcd`)
	p.signal(syscall.SIGSTOP)
	if s.exchanged(t) { // what lies there is the old data then
		t.Fatal("the client was stopped too late")
	}
	s.inNode(t, s.node(), `for f in /var/lib/etcd/.kubectl-etcd/*/data/member/`+file+`; do
		at=0; while [ $at -lt $(du -B4096 $f | cut -f1) ]; do head -c 4096 /dev/urandom | dd of=$f bs=4096 seek=$at conv=notrunc status=none; at=$((at + 7)); done; done`)
	p.signal(syscall.SIGCONT)
	r := p.wait()
	t.Logf("%.1f s\n%s", r.took.Seconds(), r.stderr)
	r.exits(1).says(`(?s).*everything was undone: .*`).says(`(?s).*error: .*start etcd: .*(went back to the old data|does not serve its peers on the restored data).*logs --previous.*`)
	if s.has(t) {
		t.Error("the cluster is as in the snapshot")
	}
	s.sound(t)
	s.clean(t)
}

// abandonStatic gives up what has been exchanged and what no client works on any more: the new data stays, and nothing is in the way of the next restore.
func abandonStatic(t *testing.T, s *stacked) {
	s.killedInExchange(t)
	// Its journal does not say yet that a leader has been elected; the undo finds that out.
	s.etcd(t, "restore", "abandon", "-n", "kube-system", "--yes").fails(1, `abandon operation \S+: it can still be undone`, `undo it with: .*`)
	s.etcd(t, "restore", "undo", "-n", "kube-system", "--yes").fails(1, `(?s).*have elected a leader on the new data.*`, `.*restore resume.*`)
	s.etcd(t, "restore", "abandon", "-n", "kube-system", "--yes").exits(0)
	s.etcd(t, "restore", "status", "-n", "kube-system").exits(0).prints(`(?s).*kube-system/etcd\s+\S+\s+abandoned.*`)
	s.etcd(t, "cleanup", "-n", "kube-system", "--running", "--yes").exits(0)
	s.sound(t)
	s.clean(t)
	s.etcd(t, "restore", "--from", s.snapshot, "--dry-run=client").exits(0)
}

// leaves kills the client that replaces a node's member, when it has been removed from the cluster and is not in it again. Another one goes on.
func (s *stacked) leaves(t testing.TB, node string) {
	t.Helper()
	p := start(t, s.kubeconfig, "", "restore", "--member", node, "--yes", "-v")
	p.err.shows(t, 2*time.Minute, `^add it again`)
	p.signal(syscall.SIGKILL)
	if r := p.wait(); r.code == 0 {
		t.Fatalf("it has ended: %s", r)
	}
	s.cutOff(t, node)
	s.etcd(t, "restore", "resume", "-n", "kube-system", "--yes").fails(1, `(?s).*node `+node+` is not ready.*`, `.*set server: in /etc/kubernetes/kubelet.conf on that node.*restore resume.*`)
	back := s.kubeletAsks(t, node, s.nodeIP(t))
	defer back()
	s.ready(t)
	r := s.etcd(t, "restore", "resume", "-n", "kube-system", "--yes", "-v").exits(0)
	t.Logf("%.1f s\n%s", r.took.Seconds(), r.stderr)
	s.etcd(t, "status", "--hashes").exits(0)
}
