//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify/etcdtest"
)

// TestRestoreLongUnbound: the member has neither a pod nor a volume. That is said, in the time that a pod is given.
func TestRestoreLongUnbound(t *testing.T) {
	u := userCluster(t, usersHome(t), userOptions{Members: 1})
	taken := u.backup(t)
	u.kubectl(t, "scale", "statefulset", "kube-etcd", "--replicas=0")
	u.kubectl(t, "wait", "--for=delete", "pod/kube-etcd-0", "--timeout=1m")
	u.kubectl(t, "delete", "persistentvolumeclaim", "data-kube-etcd-0", "--timeout=1m")
	u.c.kubectl(t, "delete", "persistentvolume", u.Namespace+"-0", "--timeout=1m")
	u.kubectl(t, "scale", "statefulset", "kube-etcd", "--replicas=1")
	eventually(t, time.Minute, "the new claim waits for a volume", func() error {
		if phase, err := u.c.tryKubectl(t, nil, "-n", u.Namespace, "get", "persistentvolumeclaim", "data-kube-etcd-0", "-o", "jsonpath={.status.phase}"); err != nil || phase != "Pending" {
			return fmt.Errorf("%q, %w", phase, err)
		}
		return nil
	})
	before := u.state(t)
	r := u.c.etcd(t, "restore", u.target(), "--from", taken.file, "--yes", "-v")
	t.Logf("%.1f s\n%s", r.took.Seconds(), r.stderr)
	r.exits(1).within(2 * time.Minute).says(`error: .*unbound.*PersistentVolumeClaims.*`).says(`everything was undone: .*`)
	u.unchanged(t, before, journals)
	u.c.nothingLeft(t, u.Namespace)
}

// TestRestoreLongSafety: the backup of what there is, where that is large, is sent by a utility pod of its own. A client that is
// killed meanwhile leaves it to the operation, which takes it away with the others.
func TestRestoreLongSafety(t *testing.T) {
	u := userCluster(t, usersHome(t), userOptions{Members: 1, APIServers: 1, History: true})
	w := u.write(t)
	w.writes(t, 20)
	u.fill(t, 200<<20)
	taken := u.backup(t)
	w.writes(t, 20)
	before := u.state(t)
	p := start(t, u.c.kubeconfig, "", "restore", u.target(), "--from", taken.file, "--yes", "-v")
	p.err.shows(t, 2*time.Minute, "member kube-etcd-0: reached by agent")
	p.signal(syscall.SIGKILL)
	<-p.done
	if pods := strings.Fields(u.kubectl(t, "get", "pods", "-l", "kubectl-etcd.io/operation-id", "-o", "name")); len(pods) != 2 {
		t.Errorf("utility pods: %q, want that of the volume and that of the backup", pods)
	}
	u.c.etcd(t, "restore", "undo", "-n", u.Namespace, "--yes").exits(0).says(`.* is as it was before operation .*`)
	w.allThere(t)
	u.settled(t, before)
	began := time.Now()
	r := u.c.etcd(t, "restore", u.target(), "--from", taken.file, "--yes", "-v")
	t.Logf("%.1f s\n%s", r.took.Seconds(), r.stderr)
	r.exits(0).says(`member kube-etcd-0: reached by agent`).says(`safety backup: .*`)
	u.restoredSince(t, w, began, taken, before)
}

// TestRestoreLongQuota: the snapshot is larger than what the etcd that will hold it takes, also because of history, though not
// so much that it is left out of what is sent. It goes then, and the control plane can write when it is back.
func TestRestoreLongQuota(t *testing.T) {
	u := userCluster(t, usersHome(t), userOptions{Members: 1, History: true})
	w := u.write(t)
	w.writes(t, 20)
	u.fill(t, 36<<20)
	u.FillLive = true
	u.fill(t, 60<<20)
	taken := u.backup(t)
	w.writes(t, 20)
	// Its pod takes no note of this before it is made anew.
	u.kubectl(t, "patch", "statefulset", "kube-etcd", "-p", `{"spec":{"updateStrategy":{"type":"OnDelete","rollingUpdate":null}}}`)
	u.etcdQuota(t, 80<<20)
	before := u.state(t)
	began := time.Now()
	r := u.c.etcd(t, "restore", u.target(), "--from", taken.file, "--limit-rate", "512Ki", "--yes", "-v", "-o", "json")
	t.Logf("%.1f s\n%s", r.took.Seconds(), r.stderr)
	build := r.exits(0).restored().step(t, "build/kube-etcd-0")
	if took := build.Ended.Sub(build.Started); took < 10*time.Second { // about 12 MiB on the wire, 4 of them free
		t.Errorf("the upload was not limited: %s", took)
	}
	u.restoredSince(t, w, began, taken, before)
}

// etcdQuota changes the quota (bytes; 0 is etcd's default) in the StatefulSet.
func (u *user) etcdQuota(t testing.TB, quota int64) {
	t.Helper()
	u.kubectl(t, "patch", "statefulset", "kube-etcd", "--type=json", "-p", fmt.Sprintf(
		`[{"op":"test","path":"/spec/template/spec/containers/0/command/3","value":"--quota-backend-bytes=8589934592"},
		  {"op":"replace","path":"/spec/template/spec/containers/0/command/3","value":"--quota-backend-bytes=%d"}]`, quota))
}

// TestRestoreLongTooLarge: a snapshot of more than two GiB, which is etcd's default quota, is refused before anything is
// begun. Without its history it would be small enough: then it is restored.
func TestRestoreLongTooLarge(t *testing.T) {
	u := userCluster(t, usersHome(t), userOptions{Members: 1})
	u.etcdQuota(t, 0)
	u.kubectl(t, "rollout", "status", "statefulset/kube-etcd", "--timeout=3m")
	s := etcdtest.Start(t, etcdtest.Find(t, "3.6"), "--quota-backend-bytes=8589934592")
	put := func(key string, size int) {
		if _, err := s.Client.Put(t.Context(), key, string(bytes.Repeat([]byte(key), size/len(key)))); err != nil {
			t.Fatal(err)
		}
	}
	const each, count = 128 << 10, 17_000 // 2.1 GiB
	for i := range count {
		put(fmt.Sprintf("/elsewhere/%06d", i), each)
	}
	large := s.Save(t)
	before := u.state(t)
	restore := []string{"restore", u.target(), "--from-other-cluster", "--yes", "--from"}
	r := u.c.etcd(t, append(restore, large)...)
	t.Logf("%.1f s\n%s", r.took.Seconds(), r.stderr)
	r.fails(1, `restore snapshot.db: etcd could not write: its quota \(--quota-backend-bytes\) is 2.0 GiB, and without any history the snapshot has 2.\d GiB`, "raise it .*")
	u.unchanged(t, before)
	for i := range count * 3 / 10 { // more than half stays, and less than the quota
		put(fmt.Sprintf("/elsewhere/%06d", i), 64)
	}
	r = u.c.etcd(t, append(restore, s.Save(t), "-v")...).exits(0)
	t.Logf("%.1f s\n%s", r.took.Seconds(), r.stderr)
	r.says(`leave out the history of snapshot.db: 1.\d GiB remain of 2.\d GiB`)
	u.settled(t, before)
}

// TestRestoreLongMiscounted: API servers come back with another prefix than the snapshot was taken with. Everything is ready,
// and shows nothing of what was restored: that is told.
func TestRestoreLongMiscounted(t *testing.T) {
	u := userCluster(t, usersHome(t), userOptions{Members: 1})
	taken := u.backup(t)
	// Its pod takes no note of this before it is made anew.
	u.kubectl(t, "patch", "statefulset", "kube-apiserver", "-p", `{"spec":{"updateStrategy":{"type":"OnDelete","rollingUpdate":null}}}`)
	u.kubectl(t, "patch", "statefulset", "kube-apiserver", "--type=json", "-p",
		`[{"op":"add","path":"/spec/template/spec/containers/0/command/-","value":"--etcd-prefix=/elsewhere"}]`)
	r := u.c.etcd(t, "restore", u.target(), "--from", taken.file, "--yes", "-v")
	t.Logf("%.1f s\n%s", r.took.Seconds(), r.stderr)
	r.fails(3, `count objects: the API does not show what the snapshot has: .*0 namespaces of \d+.*`, `everything serves; do the API servers use the prefix .*`)
}

// TestRestoreLongNodeGone: a member's node is gone. That is said before anything is stopped, and everything goes on.
func TestRestoreLongNodeGone(t *testing.T) {
	u := userCluster(t, usersHome(t), userOptions{APIServers: 1})
	w := u.write(t)
	w.writes(t, 20)
	taken := u.backup(t)
	node := u.Volumes[1]
	server := u.kubectl(t, "get", "pod", "kube-apiserver-0", "-o", "jsonpath={.spec.nodeName}")
	if server == node {
		node = u.Volumes[2]
	}
	docker := func(verb string) {
		t.Helper()
		if _, err := output(testContext(t), nil, "docker", verb, node); err != nil {
			t.Fatal(err)
		}
	}
	docker("pause")
	t.Cleanup(func() {
		if _, err := output(testContext(t), nil, "docker", "unpause", node); err == nil {
			u.c.kubectl(t, "wait", "--for=condition=Ready", "node/"+node, "--timeout=3m")
		}
	})
	for _, seen := range []string{"not yet noticed", "noticed"} {
		t.Run(seen, func(t *testing.T) {
			if seen == "noticed" {
				u.c.kubectl(t, "wait", "--for=condition=Ready=Unknown", "node/"+node, "--timeout=3m")
			}
			r := u.c.etcd(t, "restore", u.target(), "--from", taken.file, "--yes", "-v")
			t.Logf("%.1f s\n%s", r.took.Seconds(), r.stderr)
			r.exits(1).within(3 * time.Minute)
			if seen == "noticed" {
				r.says(`error: .*node ` + node + ` is not ready.*`).says(`hint: .* --skip-member, .*`)
			}
		})
	}
	// What was refused has changed nothing.
	w.writes(t, 20)
	w.allThere(t)
	// Without its member it goes on; when the node is back, the member is replaced.
	gone := strings.TrimPrefix(u.pod(slices.Index(u.Volumes, node)), "kube-etcd-")
	began := time.Now()
	r := u.c.etcd(t, "restore", u.target(), "--from", taken.file, "--skip-member", gone, "--yes", "-v").exits(0)
	t.Logf("%.1f s\n%s", r.took.Seconds(), r.stderr)
	w.writes(t, 20)
	o := w.outage(began)
	w.restored(t, taken, o)
	docker("unpause")
	u.c.kubectl(t, "wait", "--for=condition=Ready", "node/"+node, "--timeout=3m")
	again := time.Now()
	r = u.c.etcd(t, "restore", u.target(), "--member", gone, "--yes", "-v").exits(0)
	t.Logf("%.1f s\n%s", r.took.Seconds(), r.stderr)
	u.ready(t)
	w.writes(t, 20)
	w.allSince(t, again)
	u.c.etcd(t, "status", u.target(), "--hashes").exits(0)
	u.serversAgree(t, time.Minute)
	u.c.etcd(t, "cleanup", "-n", u.Namespace, "--running", "--yes").exits(0)
	u.c.nothingLeft(t, u.Namespace)
}

// TestRestoreLongExclusive: the volumes are one pod's at a time. The data is built while etcd is stopped, and what would
// have to stand beside etcd's own pod is refused at once.
func TestRestoreLongExclusive(t *testing.T) {
	u := userCluster(t, usersHome(t), userOptions{APIServers: 1, AccessMode: "ReadWriteOncePod"})
	w, informer := u.write(t), u.watch(t)
	w.writes(t, 20)
	before := u.state(t)
	taken := u.backup(t)
	w.writes(t, 20)
	u.c.etcd(t, "restore", u.target(), "--from", taken.file, "--hot", "--yes").fails(1, `.*volume claim data-kube-etcd-\d is ReadWriteOncePod.*`, `leave out --hot`)
	u.c.etcd(t, "restore", u.target(), "--member", "1", "--yes").fails(1, `.*volume claim data-kube-etcd-1 is ReadWriteOncePod.*`, `restore all members .*`)
	began := time.Now()
	r := u.c.etcd(t, "restore", u.target(), "--from", taken.file, "--yes", "-v").exits(0)
	t.Logf("%s\n%.1f s in all", r.stderr, r.took.Seconds())
	r.says(`warning: volume claim data-kube-etcd-0 is ReadWriteOncePod, one pod's at a time: .* the outage grows with the data`)
	w.writes(t, 20)
	o := w.outage(began)
	t.Logf("outage: %s", o)
	w.restored(t, taken, o)
	t.Logf("the informer converged after %.1f s", informer.converged(t, patience).Seconds())
	u.settled(t, before)
	u.c.etcd(t, "restore", "cleanup", "-n", u.Namespace, "--yes").fails(1, `.*data-kube-etcd-\d is ReadWriteOncePod, and pod kube-etcd-\d has it`, `scale etcd to 0 .*`)
	u.kubectl(t, "scale", "statefulset", "kube-etcd", "--replicas=0")
	u.kubectl(t, "wait", "--for=delete", "pod", "-l", "app=kube-etcd", "--timeout=1m")
	u.cleanRestores(t)
	u.kubectl(t, "scale", "statefulset", "kube-etcd", "--replicas=3")
	u.ready(t)
	w.writes(t, 20)
	u.unchanged(t, before)
}

// TestRestoreLongHidden: a program writes to etcd, and nothing tells that it does. It is noticed; once named it is stopped.
func TestRestoreLongHidden(t *testing.T) {
	u := userCluster(t, usersHome(t), userOptions{Members: 1, APIServers: 1})
	u.apply(t, "nightshift.yaml")
	u.kubectl(t, "rollout", "status", "--timeout=1m", "deployment/night-shift")
	w := u.write(t)
	w.writes(t, 20)
	before := u.state(t)
	taken := u.backup(t)
	w.writes(t, 20)
	u.c.etcd(t, "restore", u.target(), "--from", taken.file, "--yes").
		fails(1, `.*something still writes to this etcd: key /night-shift.*`, `.*--writer KIND/NAME`).says(`everything was undone: .*`)
	u.c.etcd(t, "restore", u.target(), "--from", taken.file, "--writer", "Deployment/day-shift", "--yes").exits(1).says(`error: .*day-shift.*`)
	w.writes(t, 20)
	began := time.Now()
	u.c.etcd(t, "restore", u.target(), "--from", taken.file, "--writer", "deployment/night-shift", "--yes", "-v").exits(0).
		says(`.*scale writer \S+/Deployment/night-shift from 1 to 0 \(named by --writer\).*`)
	u.restoredSince(t, w, began, taken, before)
}

// TestRestoreLongStolen: a client is stopped for longer than its lock lasts, as on a machine that sleeps, and another takes
// everything back. When the first goes on, it must not change anything any more.
func TestRestoreLongStolen(t *testing.T) {
	u := userCluster(t, usersHome(t), userOptions{Members: 1, APIServers: 1})
	w := u.write(t)
	w.writes(t, 20)
	before := u.state(t)
	taken := u.backup(t)
	w.writes(t, 20)
	p := start(t, u.c.kubeconfig, "", "restore", u.target(), "--from", taken.file, "--yes", "-v")
	p.err.shows(t, 2*time.Minute, "scale StatefulSet kube-etcd from 1 to 0")
	p.signal(syscall.SIGSTOP)
	r := u.c.etcd(t, "restore", "undo", "-n", u.Namespace, "--yes", "-v").exits(0)
	t.Logf("%s\n%.1f s in all", r.stderr, r.took.Seconds())
	r.says(`.* is as it was before operation .*`)
	p.signal(syscall.SIGCONT)
	stopped := p.wait()
	t.Logf("the first client:\n%s", stopped.stderr)
	stopped.exits(1).says(`error: .*the operation is not this client.s any more.*`).says(`hint: when this client stopped, this was down or missing: .*; who is at operation \S+ says: .*`)
	w.writes(t, 20)
	w.allThere(t)
	u.settled(t, before)
}
