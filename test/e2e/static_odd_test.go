//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestRestoreLongStaticOdd restores the etcd of a node as people make them: its manifests in a folder that kubeadm does not know, its data on a
// volume of its own, which has no room at first.
func TestRestoreLongStaticOdd(t *testing.T) {
	c := clusters.get(t, kind{"odd1", 1, "3.6.8-0", 0})
	t.Cleanup(func() { clusters.drop(testContext(t), c) }) // nobody else expects such a node
	node, folder := c.node(), "/opt/pods"
	c.inNode(t, node, "mv /etc/kubernetes/manifests/etcd.yaml /root/")
	c.etcdEnds(t, node)
	c.inNode(t, node, "cp -a /var/lib/etcd /root/data && mount -t tmpfs -o size=600m,mode=700 none /var/lib/etcd && cp -a /root/data/. /var/lib/etcd/")
	c.inNode(t, node, "mkdir "+folder+" && mv /etc/kubernetes/manifests/* /root/etcd.yaml "+folder+
		" && sed -i 's|^staticPodPath:.*|staticPodPath: "+folder+"|' /var/lib/kubelet/config.yaml && systemctl restart kubelet")
	eventually(t, 3*time.Minute, "the API server answers", func() error {
		_, err := c.tryKubectl(t, nil, "get", "nodes")
		return err
	})
	s := stack(t, c)
	sums := func() string { return s.inNode(t, node, "cd "+folder+" && sha256sum *") }
	before := sums()

	s.twins(t, folder) // where this kubelet looks
	s.moves(t, folder)

	// No room: what is there stays, and serves.
	s.inNode(t, node, "fallocate -l $(($(df -B1 --output=avail /var/lib/etcd | tail -1) - 40000000)) /var/lib/etcd/filler")
	s.etcd(t, "restore", "--from", s.snapshot, "--yes").fails(1, `(?s).*inspect volume of member `+node+`: the snapshot and the new data beside the old need .*, .* are free.*`, `make room on the volume; .*`)
	if s.has(t) {
		t.Error("the cluster is as in the snapshot")
	}
	s.nothingLeft(t, "kube-system")
	s.inNode(t, node, "rm /var/lib/etcd/filler")

	out := s.restored(t, s.etcd(t, "restore", "--from", s.snapshot, "--yes", "-o", "json", "-v"))
	s.etcd(t, "restore", "undo", "-n", "kube-system", out.Operation.ID, "--yes", "-v").exits(0)
	if s.has(t) {
		t.Error("the undo has left the cluster as in the snapshot")
	}
	s.sound(t)
	s.clean(t)
	if now := sums(); now != before {
		t.Errorf("manifests: %s\nwere: %s", now, before)
	}
}

// moves has the API say that the node has another address, and then that the API servers have another authority. Nothing is restored: the kubelet
// puts the address right within seconds, and who is too late is not to find a restored cluster.
func (s *stacked) moves(t testing.TB, folder string) {
	t.Helper()
	moved := func(how string) {
		var r *result
		eventually(t, time.Minute, "the control plane has moved", func() error {
			s.kubectl(t, "patch", "node", s.node(), "--subresource=status", "--type=json", "-p", `[{"op":"replace","path":"/status/addresses/0/address","value":"127.0.0.2"}]`)
			if r = s.etcd(t, "restore", "--from", s.snapshot, "--dry-run=client"); r.code == 0 {
				return errors.New(r.stdout)
			}
			return nil
		})
		r.fails(1, `restore kube-system/etcd: the control plane has moved since the snapshot: `+how, `.*kubeadm-config, kube-proxy and cluster-info name what was then; to restore all the same, pass --from-other-cluster, .*`)
	}
	address := `node ` + s.node() + ` had the address ` + s.nodeIP(t) + `, and has 127\.0\.0\.2`
	moved(address)
	// The controller manager puts the authority right, so it is away.
	manager := folder + "/kube-controller-manager.yaml"
	s.inNode(t, s.node(), "mv "+manager+" /root/")
	eventually(t, time.Minute, "the controller manager ends", func() error {
		if out := s.inNode(t, s.node(), "pgrep -f ^kube-controller-manager || true"); out != "" {
			return errors.New(out)
		}
		return nil
	})
	const other = "-----BEGIN CERTIFICATE-----\\nb3RoZXI=\\n-----END CERTIFICATE-----\\n"
	s.kubectl(t, "-n", "kube-system", "patch", "configmap", "kube-root-ca.crt", "--type=merge", "-p", `{"data":{"ca.crt":"`+other+`"}}`)
	moved(address + `; the certificate authority of the API servers was SHA-256 [0-9A-F]{16}…, and is D9298A10D1B07358…`)
	s.inNode(t, s.node(), "mv /root/kube-controller-manager.yaml "+manager)
	eventually(t, 2*time.Minute, "the authority is as it was", func() error {
		r := s.etcd(t, "restore", "--from", s.snapshot, "--dry-run=client")
		if r.code != 0 {
			return errors.New(r.stderr)
		}
		return nil
	})
}

// etcdEnds waits until no etcd runs on a node.
func (c *cluster) etcdEnds(t testing.TB, node string) {
	t.Helper()
	eventually(t, 2*time.Minute, "etcd of node "+node+" is gone", func() error {
		if out := c.inNode(t, node, `for p in /proc/[0-9]*; do tr '\0' ' ' < $p/cmdline 2>/dev/null | grep '^etcd --'; done; true`); out != "" {
			return fmt.Errorf("still runs: %s", out)
		}
		return nil
	})
}

// unknownFlag has the last member's manifest name a flag that its etcd does not know, and a restore refused that could not start it again.
func (s *stacked) unknownFlag(t testing.TB) {
	t.Helper()
	const file = "/etc/kubernetes/manifests/etcd.yaml"
	third := s.node() + "3"
	s.inNode(t, third, "cp -p "+file+" /root/etcd.yaml && sed -i 's|^    - etcd$|    - etcd\\n    - --no-such-flag=1|' "+file)
	eventually(t, 2*time.Minute, "etcd of node "+third+" is in crash back-off", func() error {
		if r := s.etcd(t, "status"); !strings.Contains(r.stdout, "down") {
			return errors.New(r.stdout)
		}
		return nil
	})
	odd := s.manifests(t, third)
	s.etcd(t, "restore", "--from", s.snapshot, "--yes").fails(1, `restore kube-system/etcd: member `+third+` is not healthy \(.*`, `replace it first: .*`)
	if now := s.manifests(t, third); now != odd {
		t.Errorf("manifests: %s\nwere: %s", now, odd)
	}
	s.inNode(t, third, "mv /root/etcd.yaml "+file)
	s.healthy(t)
}
