//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify/etcdtest"
)

// TestBadDays is what goes wrong around a hosted control plane. Each has its own namespace, so they run side by side.
func TestBadDays(t *testing.T) {
	turn(t)
	c := clusters.get(t, mainKind)
	t.Parallel()
	type day struct {
		name string
		test func(*testing.T, *cluster)
	}
	for _, d := range share(t, 2, []day{
		{"several", testSeveral}, {"empty etcd", testEmptyEtcd}, {"TLS files missing", testTLSFilesMissing}, {"etcd hangs", testEtcdHangs},
		{"image unpullable", testImageUnpullable}, {"images always pulled", testAlwaysPull}, {"refused", testRefused}, {"clock", testClock}, {"authentication", testAuth}, {"stopped", testStopped}, {"shared", testShared},
	}) {
		t.Run(strings.ReplaceAll(d.name, " ", "-"), func(t *testing.T) {
			t.Parallel()
			d.test(t, c)
		})
	}
}

// testSeveral: two etcds in one namespace are two control planes; the user has to say which.
func testSeveral(t *testing.T, c *cluster) {
	h := host(t, c, hosted{})
	second := host(t, c, hosted{Namespace: h.Namespace, Name: "etcd-beside"})
	h.put(t, "/a", "main")
	c.etcd(t, "list", "-n", h.Namespace, "-o", "name").exits(0).prints(`^` + h.Namespace + `/etcd-beside\n` + h.Namespace + `/kube-etcd$`)
	c.etcd(t, "list", "-A", "-o", "name").exits(0).prints(`^kube-system/etcd$`).prints(`^` + h.Namespace + `/kube-etcd$`)
	for _, command := range []string{"backup", "status"} {
		c.etcd(t, command, "-n", h.Namespace).fails(2,
			fmt.Sprintf(`namespace "%[1]s" could be any of 2 control planes: %[1]s/etcd-beside, %[1]s/kube-etcd`, h.Namespace),
			fmt.Sprintf(`name one: kubectl etcd %[2]s %[1]s/etcd-beside, kubectl etcd %[2]s %[1]s/kube-etcd`, h.Namespace, command))
	}
	r := c.etcd(t, "backup", second.target(), "-o", "jsonpath={.snapshot.source.namespace}/{.snapshot.source.name}").exits(0)
	if r.stdout != second.target() {
		t.Errorf("backed up another one: %s", r)
	}
	c.etcd(t, "backup", "-n", h.Namespace, "kube-etcd").exits(0)
	// Of the name alone there may be one in the whole cluster.
	c.etcd(t, "status", "etcd-beside").exits(0)
	// The cluster's own is still the default.
	c.etcd(t, "status").exits(0).prints(c.node())
}

// testShared: several control planes in one etcd are told by their prefixes. A packed snapshot is restored as any other; that of
// another cluster is refused though only one of them differs, because the member that answers is asked.
func testShared(t *testing.T, c *cluster) {
	h := host(t, c, hosted{})
	tenant := func(prefix, uid string) {
		h.put(t, prefix+"/namespaces/kube-system", fmt.Sprintf(`{"kind":"Namespace","apiVersion":"v1","metadata":{"name":"kube-system","uid":%q}}`, uid))
	}
	tenant("/tenant-a", "uid-a")
	tenant("/tenant-b", "uid-b")
	h.put(t, "/tenant-b/secrets/x/y", "k8s:enc:aescbc:v1:key1:")
	r := c.etcd(t, "backup", h.target(), "--to", "a.db", "-q").exits(0)
	file := filepath.Join(r.dir, "a.db")
	if err := exec.Command("gzip", "-k", file).Run(); err != nil {
		t.Fatal(err)
	}
	c.etcd(t, "verify", file+".gz").exits(0).prints(`kube-system UID +uid-a \(/tenant-a\)`).prints(` uid-b \(/tenant-b\)`).prints(`encrypted +secrets: aescbc v1, key key1 \(1\)`)
	c.etcd(t, "restore", h.target(), "--from", file+".gz", "--dry-run").exits(0).prints(`a\.db\.gz`)
	tenant("/tenant-b", "uid-other")
	c.etcd(t, "restore", h.target(), "--from", file+".gz", "--yes").exits(1).
		says(`error: .*the snapshot is of another cluster \(beneath /tenant-b its kube-system has UID uid-b, this one's uid-other\).*`).
		says(`hint: pass --from-other-cluster .*`)
}

// TestNoEtcd: nothing is found; what there is elsewhere is named.
func TestNoEtcd(t *testing.T) {
	c := clusters.get(t, mainKind)
	c.etcd(t, "backup", "-n", "default").fails(2, `no etcd found in namespace "default"`, `list what there is in all namespaces with "kubectl etcd list -A"`)
	c.etcd(t, "backup", "default/etcd").fails(2, `no etcd "default/etcd" found`, `list what there is in all namespaces with "kubectl etcd list -A"`)
	c.etcd(t, "backup", "kube-system/other").fails(2, `no etcd "kube-system/other" found`, `choose one that there is: kubectl etcd backup kube-system/etcd`)
}

// testEmptyEtcd: an etcd without any key has a snapshot like another.
func testEmptyEtcd(t *testing.T, c *cluster) {
	for _, tag := range []string{"3.5.35-0", "3.7.3-0"} {
		t.Run(tag, func(t *testing.T) {
			h := host(t, c, hosted{Image: image(tag)})
			r := c.etcd(t, "backup", h.target(), "--to", "a.db").exits(0).says(`revision \d, 0 keys, .*`).says(`warning: this etcd holds no keys: is it the right one\?`)
			file := filepath.Join(r.dir, "a.db")
			if err := agree(t.Context(), file, minor(tag)); err != nil {
				t.Error(err)
			}
			c.etcd(t, "verify", file).exits(0).says("warning: holds no keys")
			c.etcd(t, "verify", file, "--rehearse=pod", "--target", h.target()).exits(0)
		})
	}
}

// testTLSFilesMissing: etcd runs, but its certificates are gone from the node.
func testTLSFilesMissing(t *testing.T, c *cluster) {
	h := host(t, c, hosted{HostCerts: fmt.Sprintf("/var/lib/e2e-certs-%d", time.Now().UnixNano())})
	// The certificates are on the node, so auto takes an agent.
	r := c.etcd(t, "backup", h.target(), "-o", "jsonpath={.snapshot.source.via}").exits(0)
	if r.stdout != "agent" {
		t.Errorf("want an agent: %s", r)
	}
	c.inNode(t, c.node(), "rm "+h.HostCerts+"/etcdCA.crt")
	for _, via := range []string{"auto", "agent"} {
		c.etcd(t, "backup", h.target(), "--via", via, "--to", "a.db").fails(1, `.*etcdCA\.crt.*no such file or directory.*`, `.*`).within(time.Minute)
	}
	c.etcd(t, "status", h.target()).exits(1).prints(`etcdCA\.crt.*no such file or directory`)
	c.inNode(t, c.node(), "rm -r "+h.HostCerts)
	c.etcd(t, "backup", h.target(), "--to", "a.db").exits(1)
	c.nothingLeft(t, h.Namespace)
}

// testEtcdHangs: etcd neither answers nor refuses.
func testEtcdHangs(t *testing.T, c *cluster) {
	h := host(t, c, hosted{})
	h.put(t, "/a", "b")
	h.stop(t, true)
	c.etcd(t, "status", h.target()).exits(1).prints(`^kube-etcd-0 .*down.*deadline exceeded`).within(time.Minute)
	c.etcd(t, "backup", h.target(), "--to", "a.db").fails(1, `choose a member: no member can give a snapshot \(kube-etcd-0: .*deadline exceeded.*\)`, `.*`).within(90 * time.Second)
	c.etcd(t, "backup", h.target(), "--to", "a.db", "--timeout", "2s").exits(1).within(20 * time.Second)
	h.stop(t, false)
	eventually(t, time.Minute, "etcd answers again", func() error {
		if r := c.etcd(t, "backup", h.target()); r.code != 0 {
			return fmt.Errorf("%s", r)
		}
		return nil
	})
}

// stop freezes the etcd of the first member, or lets it go on.
func (h *hosted) stop(t testing.TB, frozen bool) {
	t.Helper()
	signal := "CONT"
	if frozen {
		signal = "STOP"
		t.Cleanup(func() { h.stop(t, false) })
	}
	uid := h.kubectl(t, "get", "pod", h.pod(0), "--ignore-not-found", "-o", "jsonpath={.metadata.uid}")
	h.c.inNode(t, h.c.node(), fmt.Sprintf(`for p in /proc/[0-9]*; do
		tr '\0' ' ' < $p/cmdline 2>/dev/null | grep -q '^etcd --name=%s ' && grep -qE '%s|%s' $p/mountinfo $p/cgroup && kill -%s ${p#/proc/}; done; true`,
		h.pod(0), uid, strings.ReplaceAll(uid, "-", "_"), signal))
}

// testImageUnpullable: the member's image is not on the node any more, and nobody has it.
func testImageUnpullable(t *testing.T, c *cluster) {
	const gone = "e2e.invalid/etcd:gone"
	ctr := "ctr -n k8s.io images "
	c.inNode(t, c.node(), ctr+"tag --force "+image(mainKind.tag)+" "+gone)
	t.Cleanup(func() { c.inNode(t, c.node(), ctr+"rm "+gone+" || true") })
	h := host(t, c, hosted{Image: gone})
	h.put(t, "/a", "b")
	c.inNode(t, c.node(), ctr+"rm --sync "+gone)
	c.etcd(t, "backup", h.target(), "--via", "agent", "--to", "a.db").
		fails(1, `utility pod kubectl-etcd-kube-etcd-0-\w+ on node `+c.node()+` does not start: (ErrImagePull|ImagePullBackOff): .*`+gone+`.*`, `.*--via.*`).within(time.Minute)
	c.nothingLeft(t, h.Namespace)
	// A way without a pod is not concerned.
	c.etcd(t, "backup", h.target()).exits(0)
}

// testRefused: admission refuses the utility pod, and a way without one is taken, or named.
func testRefused(t *testing.T, c *cluster) {
	for _, test := range []struct{ name, kind, refusal string }{
		{"quota", "quota", `exceeded quota: full`},
		{"PodSecurity", "restricted", `violates PodSecurity "restricted:latest"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := host(t, c, hosted{HostCerts: fmt.Sprintf("/var/lib/e2e-certs-%d", time.Now().UnixNano()), Image: image("3.6.8-0-sh")})
			h.put(t, "/a", "b")
			if test.kind == "quota" {
				h.kubectl(t, "create", "quota", "full", "--hard=pods=1")
				eventually(t, 30*time.Second, "quota is counted", func() error {
					if out := h.kubectl(t, "get", "resourcequota", "full", "-o", "jsonpath={.status.used.pods}"); out != "1" {
						return fmt.Errorf("used %q", out)
					}
					return nil
				})
			} else {
				c.kubectl(t, "label", "namespace", h.Namespace, "pod-security.kubernetes.io/enforce=restricted")
			}
			c.etcd(t, "backup", h.target(), "--via", "agent", "--to", "a.db").fails(1, `create utility pod: pods "kubectl-etcd-.*" is forbidden: .*`+test.refusal+`.*`, `.*--via.*`)
			c.nothingLeft(t, h.Namespace)
			// auto: no Secret to forward with, but the member has a shell
			c.etcd(t, "backup", h.target(), "--to", "a.db", "-v").exits(0).says(`member kube-etcd-0: not by agent: create utility pod: .*`).says(`member kube-etcd-0: reached by exec`)
			c.nothingLeft(t, h.Namespace)
		})
	}
	t.Run("no way is left", func(t *testing.T) {
		h := host(t, c, hosted{HostCerts: fmt.Sprintf("/var/lib/e2e-certs-%d", time.Now().UnixNano())})
		c.kubectl(t, "label", "namespace", h.Namespace, "pod-security.kubernetes.io/enforce=restricted")
		c.etcd(t, "backup", h.target(), "--to", "a.db").fails(1, `reach member kube-etcd-0: agent: create utility pod: .*; forward: a port-forward needs .*; exec: the member's image has no shell`, "")
		c.nothingLeft(t, h.Namespace)
	})
}

// TestNodeFull: the node takes no more pods.
func TestNodeFull(t *testing.T) {
	c := clusters.get(t, mainKind)
	h := host(t, c, hosted{})
	h.put(t, "/a", "b")
	c.fillNode(t, h.Namespace)
	c.etcd(t, "backup", h.target(), "--via", "agent", "--to", "a.db").
		fails(1, `utility pod kubectl-etcd-kube-etcd-0-\w+ on node `+c.node()+` does not start: (OutOfcpu|OutOfmemory): .*`, `.*--via.*`).within(time.Minute)
	c.nothingLeft(t, h.Namespace)
	c.etcd(t, "backup", h.target()).exits(0)
}

// fillNode asks for all memory that is left on the node.
func (c *cluster) fillNode(t testing.TB, namespace string) {
	t.Helper()
	free := c.kubectl(t, "get", "node", c.node(), "-o", "jsonpath={.status.allocatable.memory}")
	var kib int
	if _, err := fmt.Sscanf(free, "%dKi", &kib); err != nil {
		t.Fatalf("read allocatable memory %q: %v", free, err)
	}
	// Other pods' requests come from the node's description; less than 64 MiB must be left.
	for _, field := range strings.Fields(c.kubectl(t, "get", "pods", "-A", "--field-selector=spec.nodeName="+c.node()+",status.phase=Running", "-o", "jsonpath={.items[*].spec.containers[*].resources.requests.memory}")) {
		var mib int
		if _, err := fmt.Sscanf(field, "%dMi", &mib); err != nil {
			t.Fatalf("read memory request %q: %v", field, err)
		}
		kib -= mib << 10
	}
	c.apply(t, fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: full, namespace: %s}
spec:
  nodeName: %s
  terminationGracePeriodSeconds: 0
  containers:
  - {name: full, image: "busybox:1.35", command: [sleep, "3600"], resources: {requests: {memory: %dKi}}}
`, namespace, c.node(), kib-(32<<10)))
	t.Cleanup(func() { c.kubectl(t, "-n", namespace, "delete", "pod", "full", "--ignore-not-found", "--now") })
	c.kubectl(t, "-n", namespace, "wait", "--for=condition=Ready", "pod/full", "--timeout=60s")
}

// testClock: a clock that is minutes off shows in certificates that are not valid yet, or not any more. The client's
// own clock is in no other decision: durations are monotonic, and a file's name is only a name.
func testClock(t *testing.T, c *cluster) {
	for _, test := range []struct {
		name   string
		before time.Duration
		after  time.Duration
		says   string
	}{
		{"ten minutes behind", 10 * time.Minute, time.Hour, "is before"},
		{"ten minutes ahead", -time.Hour, -10 * time.Minute, "is after"},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := host(t, c, hosted{notBefore: time.Now().Add(test.before), notAfter: time.Now().Add(test.after)})
			dir := t.TempDir()
			for name, content := range map[string][]byte{"ca": h.Certs.CA, "cert": h.Certs.Cert, "key": h.Certs.Key} {
				if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			r := c.etcd(t, "backup", "--endpoint", h.endpoint(t), "--server-name", "localhost", "--cacert", filepath.Join(dir, "ca"), "--cert", filepath.Join(dir, "cert"), "--key", filepath.Join(dir, "key"), "--to", "a.db")
			r.fails(1, `.*certificate has expired or is not yet valid: current time \S+ `+test.says+` .*`, `.*clock.*`).within(time.Minute)
			c.etcd(t, "backup", h.target(), "--to", "a.db").exits(1).within(time.Minute)
		})
	}
}

// TestDatabaseInUse: the file of a running etcd is no snapshot, and is not waited for.
func TestDatabaseInUse(t *testing.T) {
	s := etcdtest.Start(t, etcdtest.Find(t, "3.6"))
	start(t, "", "", "verify", s.DB).wait().fails(1, `verify .*: database in use.*`, "this is the database of a running etcd; take a snapshot of it with: kubectl etcd backup").within(30 * time.Second)
}

// TestDestinations are places where nothing can be written.
func TestDestinations(t *testing.T) {
	c := clusters.get(t, mainKind)
	small := tmpfs(t, "256k")
	c.etcd(t, "backup", "--to", filepath.Join(small, "a.db")).
		fails(1, `folder `+small+` has 256 KiB free, the snapshot needs about .* MiB`, "free some space, or write somewhere else with --to, or smaller with --compress=zstd --prove=stream")
	wantFiles(t, small)
	c.etcd(t, "backup", "--to", "/dev/null", "--force").fails(1, "create /dev/null: not a regular file", "")
	c.etcd(t, "backup", "--to", "").fails(2, "--to is empty", "")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c.etcd(t, "backup", "--to", filepath.Join(dir, "file", "a.db")).exits(1).says(`error: open folder .*: not a (folder|directory)`)
	c.nothingLeft(t, "kube-system")
}

// TestNodeNotReady stops the kubelet of a node: its etcd runs on, but nothing can be started beside it.
func TestNodeNotReady(t *testing.T) {
	c := clusters.get(t, mainKind)
	clusters.begin(t, haKind) // what follows is mostly waiting
	c.inNode(t, c.node(), "systemctl stop kubelet")
	t.Cleanup(func() {
		c.inNode(t, c.node(), "systemctl start kubelet")
		c.kubectl(t, "wait", "--for=condition=Ready", "node/"+c.node(), "--timeout=120s")
	})
	// Before anybody has noticed, too, there is an error and no endless wait.
	c.etcd(t, "backup", "--to", "a.db").exits(1).within(90 * time.Second)
	c.kubectl(t, "wait", "--for=condition=Ready=Unknown", "node/"+c.node(), "--timeout=120s")
	c.etcd(t, "status").exits(1).prints(`down.*node ` + c.node() + ` is not ready`)
	c.etcd(t, "backup", "--to", "a.db").fails(1, `choose a member: no member can give a snapshot \(`+c.node()+`: node `+c.node()+` is not ready\)`, `.*`).within(90 * time.Second)
}
