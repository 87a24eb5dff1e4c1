//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

// backupResult is the part of `backup -o json` that these tests look at.
type backupResult struct {
	File     string
	Snapshot struct {
		Proof  string
		Source struct{ Member, Via string }
	}
	Survey struct {
		Consistency, Note string
		Members           []struct {
			Name                              string
			Leader, Learner, Healthy, Differs bool
		}
	}
	Warnings []string
}

func (r *result) backup() backupResult {
	r.t.Helper()
	var b backupResult
	if err := json.Unmarshal([]byte(r.stdout), &b); err != nil {
		r.t.Fatalf("read result: %v: %s", err, r)
	}
	return b
}

func (b backupResult) leader() string {
	for _, m := range b.Survey.Members {
		if m.Leader {
			return m.Name
		}
	}
	return ""
}

// TestMembers is what can happen among the members of hosted control planes.
func TestMembers(t *testing.T) {
	turn(t)
	c := clusters.get(t, mainKind)
	t.Parallel()
	type among struct {
		name string
		test func(*testing.T, *cluster)
	}
	for _, a := range share(t, 1, []among{{"three", testThree}, {"mixed versions", testMixedVersions}}) {
		t.Run(a.name, func(t *testing.T) { a.test(t, c) })
	}
}

// testThree takes a hosted control plane of three members through what can happen to them.
func testThree(t *testing.T, c *cluster) {
	h := host(t, c, hosted{Members: 3})
	for i := range 20 {
		h.put(t, fmt.Sprintf("/registry/things/%d", i), "value")
	}
	t.Run("healthy", func(t *testing.T) {
		b := c.etcd(t, "backup", h.target(), "-o", "json").exits(0).backup()
		if b.Survey.Consistency != "equal" || len(b.Survey.Members) != 3 || b.Snapshot.Source.Member == b.leader() || b.leader() == "" {
			t.Errorf("want three equal members and a follower as the source: %+v", b)
		}
		c.etcd(t, "backup", h.target(), "--member", b.leader(), "--to", "leader.db").exits(0).says(`source: member ` + b.leader() + ` \(as asked for\), .*`)
		c.etcd(t, "backup", h.target(), "--member", "kube-etcd-7").fails(2, `no member "kube-etcd-7"; there are: kube-etcd-0, kube-etcd-1, kube-etcd-2`, "")
		c.etcd(t, "status", h.target(), "--hashes").exits(0)
		// The file of a running etcd changes while it is copied.
		c.etcd(t, "backup", h.target(), "--raw", "--member", "kube-etcd-0", "--to", "raw.db").fails(1, ".*database is in use: its etcd still runs", "leave out --raw: .*")
	})
	t.Run("learner", func(t *testing.T) { testLearner(t, h) })
	t.Run("one differs", func(t *testing.T) { testDiffers(t, h) })
	t.Run("one down", func(t *testing.T) {
		h.scale(t, 2)
		c.etcd(t, "status", h.target()).exits(1).prints(`^kube-etcd-2 +[0-9a-f]+ +down +- .* etcd lists it, but no pod of it was found$`)
		r := c.etcd(t, "backup", h.target(), "--to", "a.db").exits(0).says(`warning: member kube-etcd-2: etcd lists it, but no pod of it was found`)
		if err := agree(t.Context(), filepath.Join(r.dir, "a.db"), "3.6"); err != nil {
			t.Error(err)
		}
	})
	t.Run("no quorum", func(t *testing.T) {
		h.scale(t, 1)
		c.etcd(t, "status", h.target()).exits(1).prints(`^kube-etcd-0 +[0-9a-f]+ +unhealthy`)
		c.etcd(t, "backup", h.target(), "--to", "a.db").fails(1, `choose a member: no member can give a snapshot \(.*kube-etcd-0: .*\)`, `.*--member.*`)
		// What the one that is left has is a good snapshot, when that is what is wanted.
		r := c.etcd(t, "backup", h.target(), "--member", "kube-etcd-0", "--to", "a.db").exits(0)
		if err := agree(t.Context(), filepath.Join(r.dir, "a.db"), "3.6"); err != nil {
			t.Error(err)
		}
	})
	t.Run("all down", func(t *testing.T) {
		h.scale(t, 0)
		c.etcd(t, "status", h.target()).exits(1)
		c.etcd(t, "backup", h.target(), "--to", "a.db").fails(1, `choose a member: no member can give a snapshot \(kube-etcd-0: its pod does not exist; .*\)`, `.*--raw --member NAME`)
		c.etcd(t, "backup", h.target(), "--raw", "--to", "raw.db").fails(1, `choose a member: --raw copies one member's file; name it with --member: kube-etcd-0, .*`, "")
		testRaw(t, h)
	})
}

// testRaw copies the database of a member that has no pod, only its volume.
func testRaw(t *testing.T, h *hosted) {
	r := h.c.etcd(t, "backup", h.target(), "--raw", "--member", "kube-etcd-0", "--to", "raw.db").exits(0)
	r.says("warning: a raw copy has no trailer that proves it, .*")
	v := start(t, h.c.kubeconfig, r.dir, "verify", "raw.db", "-o", "json").wait().exits(0)
	var report struct {
		Raw      bool
		Proof    string
		LiveKeys int
	}
	if err := json.Unmarshal([]byte(v.stdout), &report); err != nil {
		t.Fatal(err)
	}
	if !report.Raw || report.Proof != "unproven" || report.LiveKeys < 20 {
		t.Errorf("unexpected report: %+v", report)
	}
}

func (h *hosted) scale(t testing.TB, n int) {
	t.Helper()
	h.kubectl(t, "scale", "statefulset", h.Name, fmt.Sprintf("--replicas=%d", n))
	eventually(t, time.Minute, "scaled", func() error {
		pods := strings.Fields(h.kubectl(t, "get", "pods", "-l", "app="+h.Name, "-o", "name"))
		ready := h.kubectl(t, "get", "statefulset", h.Name, "-o", "jsonpath={.status.readyReplicas}")
		if len(pods) != n || n > 0 && ready != fmt.Sprint(n) {
			return fmt.Errorf("%d pods, %s ready", len(pods), ready)
		}
		return nil
	})
}

// testLearner: a learner has all the data, or not yet; it is never the source.
func testLearner(t *testing.T, h *hosted) {
	out, err := h.etcdctl(t, 0, "member", "add", "kube-etcd-3", "--learner", "--peer-urls=https://kube-etcd-3.kube-etcd:2380")
	if err != nil {
		t.Fatal(err)
	}
	id := strings.Fields(out)[1]
	h.Members, h.State = 4, "existing" // the pods there are keep what they have
	h.apply(t)
	// An etcd opens its port before it has asked its peers, and ends when one of them has not heard of it yet: a pod that was
	// ready for a moment need not be started.
	eventually(t, 2*time.Minute, "the learner has started", func() error {
		out, err := h.etcdctl(t, 0, "member", "list")
		if err == nil && !strings.Contains(out, "started, kube-etcd-3") {
			err = errors.New(out)
		}
		return err
	})
	h.ready(t)
	b := h.c.etcd(t, "backup", h.target(), "-o", "json").exits(0).backup()
	learner := false
	for _, m := range b.Survey.Members {
		learner = learner || m.Name == "kube-etcd-3" && m.Learner
	}
	if !learner || b.Snapshot.Source.Member == "kube-etcd-3" || b.Survey.Consistency != "equal" {
		t.Errorf("want a learner that is not the source: %+v", b)
	}
	h.c.etcd(t, "status", h.target()).exits(0).prints(`^kube-etcd-3 +[0-9a-f]+ +healthy +learner`)
	h.c.etcd(t, "backup", h.target(), "--member", "kube-etcd-3", "--to", "a.db").fails(1, "choose a member: member kube-etcd-3 is a learner, which may lack data", "")
	if _, err := h.etcdctl(t, 0, "member", "remove", id); err != nil {
		t.Fatal(err)
	}
	h.Members, h.State = 3, "new"
	h.apply(t)
	h.scale(t, 3)
}

// testDiffers: one member's data was changed on its disk.
func testDiffers(t *testing.T, h *hosted) {
	h.scale(t, 2)
	c := h.c
	volume := h.kubectl(t, "get", "pvc", "data-kube-etcd-2", "-o", "jsonpath={.spec.volumeName}")
	path := c.kubectl(t, "get", "pv", volume, "-o", "jsonpath={.spec.hostPath.path}") + "/member/snap/db"
	db := filepath.Join(t.TempDir(), "db")
	if err := os.WriteFile(db, []byte(c.inNode(t, c.node(), "cat "+path)), 0o600); err != nil {
		t.Fatal(err)
	}
	editDB(t, db)
	content, err := os.ReadFile(db)
	if err != nil {
		t.Fatal(err)
	}
	c.writeOnNode(t, c.node(), path, content)
	h.scale(t, 3)

	r := c.etcd(t, "backup", h.target(), "--to", "a.db")
	r.fails(3, `members hold different data: the data of kube-etcd-2 differs from the other members' at revision \d+`, ".*")
	r.says(`warning: the data of kube-etcd-2 differs from the other members' at revision \d+`)
	if err := agree(t.Context(), filepath.Join(r.dir, "a.db"), "3.6"); err != nil {
		t.Error(err)
	}
	b := c.etcd(t, "backup", h.target(), "-o", "json").exits(3).backup()
	if b.Survey.Consistency != "differs" || b.Snapshot.Source.Member == "kube-etcd-2" || b.Snapshot.Proof != "full" {
		t.Errorf("unexpected result: %+v", b)
	}
	c.etcd(t, "backup", h.target(), "--member", "kube-etcd-2", "--to", "b.db").fails(1, "choose a member: the data of kube-etcd-2 differs .*", ".*")
	c.etcd(t, "status", h.target(), "--hashes").exits(1).prints(`^kube-etcd-2 +[0-9a-f]+ +differs`)
	c.etcd(t, "status", h.target()).exits(0)
}

// editDB changes a value behind etcd's back, in a way that only its hash shows.
func editDB(t testing.TB, path string) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	changed := 0
	err = db.Update(func(tx *bolt.Tx) error {
		b := tx.Bucket([]byte("key"))
		return b.ForEach(func(k, v []byte) error {
			if changed > 0 || !bytes.HasSuffix(v, []byte("value")) {
				return nil
			}
			changed++
			return b.Put(bytes.Clone(k), append(bytes.Clone(v[:len(v)-5]), "VALUE"...))
		})
	})
	if err != nil || changed != 1 {
		t.Fatalf("edit database: %d values, %v", changed, err)
	}
}

// testMixedVersions: hashes of different versions cannot be compared, which is no reason to fail.
func testMixedVersions(t *testing.T, c *cluster) {
	h := host(t, c, hosted{Members: 3, Image: image("3.5.35-0")})
	h.put(t, "/registry/a", "b")
	h.Image = image("3.6.8-0")
	h.apply(t)
	h.kubectl(t, "delete", "pod", h.pod(2), "--now")
	h.ready(t)
	eventually(t, time.Minute, "etcd 3.6", func() error {
		out := c.etcd(t, "status", h.target(), "-o", "jsonpath={.members[*].status.version}").stdout
		if !strings.Contains(out, "3.6.8") {
			return fmt.Errorf("versions %q", out)
		}
		return nil
	})
	b := c.etcd(t, "backup", h.target(), "-o", "json").exits(0).backup()
	if b.Survey.Consistency != "not comparable" || !strings.Contains(b.Survey.Note, "different versions: 3.5, 3.6") {
		t.Errorf("want not comparable: %+v", b.Survey)
	}
	c.etcd(t, "status", h.target(), "--hashes").exits(0).says(`warning: members run different versions: .*`)
	c.etcd(t, "list", "-n", h.Namespace).exits(0).prints(`3/3 +3\.\d\.\d+,3\.\d\.\d+`)
}

// TestHA is a real cluster with three control plane nodes.
func TestHA(t *testing.T) {
	c := clusters.get(t, haKind)
	defer clusters.drop(t.Context(), c) // three nodes are busy also when nobody asks them anything
	t.Run("healthy", func(t *testing.T) {
		b := c.etcd(t, "backup", "-o", "json").exits(0).backup()
		if b.Survey.Consistency != "equal" || len(b.Survey.Members) != 3 || b.Snapshot.Source.Member == b.leader() || b.Snapshot.Source.Via != "agent" {
			t.Errorf("want three equal members and a follower as the source: %+v", b)
		}
		for _, name := range c.controlPlane() {
			r := c.etcd(t, "backup", "--member", name, "--to", "a.db").exits(0)
			if err := agree(t.Context(), filepath.Join(r.dir, "a.db"), "3.6"); err != nil {
				t.Error(err)
			}
		}
		c.etcd(t, "status", "--hashes").exits(0)
	})
	type day struct {
		name string
		test func(*testing.T, *cluster)
	}
	// The restore is the last of them: etcdutl counts the mark that its own bump leaves in the restored data as a key.
	for _, d := range share(t, 1, []day{{"keys", testKeys}, {"one down", testOneDown}, {"restore", restoreStatic}}) {
		t.Run(d.name, func(t *testing.T) { d.test(t, c) })
	}
}

// testOneDown: a member's pod is gone, and the API server beside it serves nothing.
func testOneDown(t *testing.T, c *cluster) {
	second := c.controlPlane()[1]
	// The load balancer goes on sending requests to the API server whose etcd is gone.
	first := "--server=https://" + c.nodeIP(t) + ":6443"
	c.inNode(t, second, "mv /etc/kubernetes/manifests/etcd.yaml /root/")
	t.Cleanup(func() {
		c.inNode(t, second, "test ! -e /root/etcd.yaml || mv /root/etcd.yaml /etc/kubernetes/manifests/")
	})
	// Its kubelet talks to the API server beside it, which is gone with its etcd: the mirror pod still says Running.
	c.etcdEnds(t, second)
	c.etcd(t, "status", first).exits(1).prints(`^` + second + ` +[0-9a-f]+ +down`)
	// Nor does a pod start there.
	keys := c.etcd(t, "backup", first, "--with-keys", "--encrypt-to", "age1k4zd0uelql3zq0l7l9eajwtzkqr3mchv0ww9zqkf9pefeuxq0uyqlm9pf3", "--pod-timeout", "10s").exits(0).
		says(`warning: the keys of node ` + second + ` are not saved: .*`)
	c.etcd(t, "keys", "list", filepath.Join(keys.dir, strings.TrimSpace(keys.stdout))).exits(0).says(`not saved, or not known: node 2`).prints(`node 3 +/etc/kubernetes/pki/ca.key +private key`)
	r := c.etcd(t, "backup", first, "--to", "a.db").exits(0).says(`warning: member ` + second + `: .*`)
	if err := agree(t.Context(), filepath.Join(r.dir, "a.db"), "3.6"); err != nil {
		t.Error(err)
	}
}
