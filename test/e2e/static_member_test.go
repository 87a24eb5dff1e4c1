//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// destroy takes a node's etcd its data, and kills it: its API server has nothing to read from any more.
func (s *stacked) destroy(t testing.TB, node string) {
	t.Helper()
	s.inNode(t, node, "rm -r /var/lib/etcd/member && pkill -9 -x etcd")
	eventually(t, time.Minute, "the member is down", func() error {
		if r := s.etcd(t, "status"); r.code == 0 {
			return errors.New(r.stdout)
		}
		return nil
	})
}

// cutOff waits until a node's kubelet is cut off: it asks only the API server beside it, which has no etcd.
func (s *stacked) cutOff(t testing.TB, node string) {
	t.Helper()
	eventually(t, 2*time.Minute, "the node is not ready", func() error {
		out, err := s.tryKubectl(t, nil, "get", "node", node, "-o", `jsonpath={.status.conditions[?(@.type=="Ready")].status}`)
		if err == nil && out == "True" {
			err = errors.New(out)
		}
		return err
	})
}

// kubeletAsks has a node's kubelet ask another API server, as the command says; the function it returns takes that back.
func (s *stacked) kubeletAsks(t testing.TB, node, address string) (back func()) {
	t.Helper()
	const file, restart = "/etc/kubernetes/kubelet.conf", " && systemctl restart kubelet"
	s.inNode(t, node, fmt.Sprintf("cp -p %s /root/ && sed -i 's|server: .*|server: https://%s:6443|' %[1]s"+restart, file, address))
	return func() { s.inNode(t, node, "mv /root/kubelet.conf "+file+restart) }
}

// replaced replaces a node's member.
func (s *stacked) replaced(t testing.TB, node string) {
	t.Helper()
	r := s.etcd(t, "restore", "--member", node, "--yes", "-v").exits(0)
	t.Logf("%.1f s\n%s", r.took.Seconds(), r.stderr)
	s.etcd(t, "status", "--hashes").exits(0)
}

// replaceStatic brings the destroyed member of a control plane node back while the others serve.
func replaceStatic(t *testing.T, s *stacked) {
	c := s.cluster
	third := c.node() + "3"
	c.etcd(t, "restore", "--server=https://"+c.nodeIP(t)+":6443", "--member", c.node(), "--yes").
		fails(1, `replace member `+c.node()+`: this kubeconfig leads to the API server on its node .*`, `.*--server https://ADDRESS:6443`)
	s.destroy(t, third)
	eventually(t, time.Minute, "a namespace is made by those that serve", func() error { // the load balancer may ask the one that does not
		_, err := c.tryKubectl(t, []byte("apiVersion: v1\nkind: Namespace\nmetadata: {name: meanwhile}\n"), "apply", "-f", "-")
		return err
	})
	// It goes on where the kubelet asks somebody who answers.
	s.cutOff(t, third)
	c.etcd(t, "restore", "--member", third, "--yes").fails(1, `replace member `+third+`: node `+third+` is not ready, and no utility pod would start there`, `.*set server: in /etc/kubernetes/kubelet.conf on that node.*systemctl restart kubelet; put that back afterwards`)
	back := s.kubeletAsks(t, third, c.nodeIP(t))
	defer back()
	s.ready(t)
	s.replaced(t, third)
	eventually(t, 2*time.Minute, "the API server beside it serves what the others do", func() error {
		spaces := s.inNode(t, third, "kubectl --kubeconfig=/etc/kubernetes/admin.conf --server=https://$(hostname):6443 --request-timeout=5s get namespaces -o name 2>&1; true")
		if !strings.Contains(spaces, "meanwhile") {
			return errors.New(spaces)
		}
		return nil
	})
	s.sound(t)
	s.clean(t)
}
