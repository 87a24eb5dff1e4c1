//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	appsv1client "k8s.io/client-go/kubernetes/typed/apps/v1"
	"k8s.io/client-go/tools/clientcmd"
)

// faulty is a user cluster to which the faults of these tests happen, one after the other. Each has to leave it as it was.
type faulty struct {
	*user
	w        *writer
	snapshot string
	before   state
}

// TestRestoreFaults: what makes a restore impossible, or fails in the middle of it. One user cluster, on a disk of its own,
// goes through a third of it, others with another commit, and nothing of it is ever lost.
func TestRestoreFaults(t *testing.T) {
	u := userCluster(t, usersHome(t), userOptions{Members: 1, History: true, Disk: "600m"})
	f := &faulty{user: u, w: u.write(t)}
	f.w.writes(t, 20)
	f.snapshot = u.backup(t).file
	f.before = u.state(t)
	type fault struct {
		name string
		run  func(*testing.T, *faulty)
	}
	for _, fault := range share(t, 1, []fault{
		{"snapshot without keys", faultNoKeys}, {"corrupt snapshot", faultCorrupt}, {"snapshot of another cluster", faultOtherCluster},
		{"another client works on it", faultBusy}, {"quota refuses the pod", faultQuota},
		{"pod security refuses the pod", faultPodSecurity}, {"disk too small", faultSmallDisk}, {"disk full in the middle", faultFullDisk},
		{"controller puts replicas back", faultReverted}, {"etcd does not come up on the new data", faultNoStart},
		{"something unknown writes", faultStranger}, {"room for one only", faultOneOnly},
	}) {
		if !t.Run(strings.ReplaceAll(fault.name, " ", "-"), func(t *testing.T) { fault.run(t, f) }) {
			break // the next one would find what this one has left
		}
	}
}

// restore runs one to its end.
func (f *faulty) restore(t testing.TB, args ...string) *result {
	t.Helper()
	r := f.c.etcd(t, append([]string{"restore", f.target(), "--from", f.snapshot, "--yes", "-v"}, args...)...)
	t.Logf("%.1f s\n%s", r.took.Seconds(), r.stderr)
	return r
}

// intact checks that everything is as before, but for journals.
func (f *faulty) intact(t testing.TB, except ...string) {
	t.Helper()
	f.w.writes(t, 20)
	f.w.allThere(t)
	f.unchanged(t, f.before, append(except, journals)...)
	f.c.nothingLeft(t, f.Namespace)
	f.onlyMember(t)
}

// onlyMember checks that no restore has left anything on the volumes.
func (u *user) onlyMember(t testing.TB) {
	t.Helper()
	for i, node := range u.Volumes {
		if left := strings.TrimSpace(u.c.inNode(t, node, fmt.Sprintf("ls -A %s/%d", u.Folder(), i))); left != "member" {
			t.Errorf("on the volume of member %d: %q", i, left)
		}
	}
}

// undisturbed returns a check that etcd and its users have noticed nothing since.
func (f *faulty) undisturbed(t testing.TB) (check func()) {
	t.Helper()
	pods := func() string {
		return f.kubectl(t, "get", "pods", "-l", "app in (kube-etcd,kube-apiserver)", "-o", `jsonpath={range .items[*]}{.metadata.uid} {.status.containerStatuses[0].restartCount}{"\n"}{end}`)
	}
	begin, were := time.Now(), pods()
	return func() {
		t.Helper()
		// On a busy machine a request takes a second now and then, which is the writer's limit: one such now and another ten
		// seconds later are no outage. What counts is how long nothing succeeded.
		if silence := f.w.silence(begin); silence > 3*time.Second {
			t.Errorf("the writer noticed: no creation was acknowledged for %s; %s", silence, f.w.outage(begin))
		}
		if now := pods(); now != were {
			t.Errorf("pods and restarts were\n%snow\n%s", were, now)
		}
	}
}

// faultNoKeys: the snapshot of an etcd that has never held a key.
func faultNoKeys(t *testing.T, f *faulty) {
	begun := f.undisturbed(t)
	r := f.c.etcd(t, "restore", f.target(), "--from", emptySnapshot(t), "--yes")
	r.fails(1, `restore `+f.target()+`: the snapshot empty\.db holds no keys`, "")
	f.unchanged(t, f.before) // not even a journal
	begun()
}

// faultOtherCluster: the snapshot is the admin cluster's own, whose etcd cannot be restored here at all.
func faultOtherCluster(t *testing.T, f *faulty) {
	begun := f.undisturbed(t)
	own := f.snapshot
	defer func() { f.snapshot = own }()
	r := f.c.etcd(t, "backup", "kube-system/etcd", "--to", "other.db.zst", "-q").exits(0)
	f.snapshot = filepath.Join(r.dir, "other.db.zst")
	r = f.restore(t)
	r.exits(1).says(`error: .*the snapshot is of another cluster \(its kube-system has UID \S+, this one's \S+\).*`).says(`hint: pass --from-other-cluster .*`)
	r.says(`everything was undone: .*`)
	f.intact(t)
	begun()
}

// faultBusy: while one client works on it, no other one can, and Ctrl-C undoes everything.
func faultBusy(t *testing.T, f *faulty) {
	begun := f.undisturbed(t)
	p := start(t, f.c.kubeconfig, "", "restore", f.target(), "--from", f.snapshot, "--yes", "--limit-rate", "64Ki")
	p.err.shows(t, 2*time.Minute, "upload the snapshot")
	p.signal(syscall.SIGSTOP)
	begin := time.Now()
	f.c.etcd(t, "restore", f.target(), "--from", f.snapshot, "--yes").fails(1, `.*operation \S+, begun \S+, is unfinished \(running\); in progress by .*, last heard of \d+s ago`, `wait until that client has ended, or press Ctrl-C there; .*; if it is gone, finish it with: .*`)
	lock := f.kubectl(t, "get", "lease", "kubectl-etcd-kube-etcd", "-o", "jsonpath={.spec.holderIdentity}")
	if !strings.Contains(lock, "(operation ") {
		t.Errorf("the lock is held by %q", lock)
	}
	f.c.etcd(t, "restore", "resume", "-n", f.Namespace, "--yes").fails(1, `continue operation .*: s\.db has not been uploaded to all members yet`, `pass the snapshot again with --from`)
	if took := time.Since(begin); took > 20*time.Second {
		t.Fatalf("all of that took %s: the lock is over soon", took)
	}
	p.signal(syscall.SIGCONT)
	p.signal(syscall.SIGINT)
	p.wait().exits(130).says(`everything was undone: .*`).says(`error: interrupted`)
	f.intact(t)
	begun()
}

// emptySnapshot is taken of a real etcd that is new.
func emptySnapshot(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	var urls []string
	for range 2 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		urls = append(urls, "http://"+l.Addr().String())
		_ = l.Close()
	}
	ctx, stop := context.WithCancel(testContext(t))
	cmd := exec.CommandContext(ctx, tool("3.6", "etcd"), "--data-dir="+filepath.Join(dir, "etcd"), "--listen-client-urls="+urls[0], "--advertise-client-urls="+urls[0],
		"--listen-peer-urls="+urls[1], "--initial-advertise-peer-urls="+urls[1], "--initial-cluster=default="+urls[1], "--log-level=error")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { stop(); _ = cmd.Wait() }()
	file := filepath.Join(dir, "empty.db")
	eventually(t, 30*time.Second, "snapshot of an empty etcd", func() error {
		_, err := output(ctx, nil, tool("3.6", "etcdctl"), "--endpoints="+urls[0], "snapshot", "save", file)
		return err
	})
	return file
}

// faultCorrupt: one byte of the file is another one, with and without the sidecar beside it.
func faultCorrupt(t *testing.T, f *faulty) {
	begun := f.undisturbed(t)
	b, err := os.ReadFile(f.snapshot)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	file := filepath.Join(t.TempDir(), "s.db")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	f.c.etcd(t, "restore", f.target(), "--from", file, "--yes").fails(1, `verify .*s\.db: trailer does not match: the data is damaged or incomplete`, "do not restore this file; .*")
	side, err := os.ReadFile(f.snapshot + ".json")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file+".json", side, 0o600); err != nil {
		t.Fatal(err)
	}
	f.c.etcd(t, "restore", f.target(), "--from", file, "--yes").fails(1, `verify .*s\.db: .*`, "do not restore this file; .*")
	f.unchanged(t, f.before)
	begun()
}

// faultQuota: the namespace takes no more pods.
func faultQuota(t *testing.T, f *faulty) {
	begun := f.undisturbed(t)
	pods := len(strings.Fields(f.kubectl(t, "get", "pods", "-o", "name")))
	f.quota(t, fmt.Sprintf("pods=%d", pods))
	eventually(t, time.Minute, "the quota is counted", func() error {
		if used := f.kubectl(t, "get", "quota", "full", "-o", "jsonpath={.status.used.pods}"); used != fmt.Sprint(pods) {
			return fmt.Errorf("used %q", used)
		}
		return nil
	})
	r := f.restore(t)
	r.exits(1).says(`error: .*create utility pod: .* is forbidden: exceeded quota: full.*`)
	r.says(`everything was undone: .*`)
	f.intact(t)
	begun()
}

// faultPodSecurity: the namespace takes only pods that do not run as root, as etcd's does.
func faultPodSecurity(t *testing.T, f *faulty) {
	begun := f.undisturbed(t)
	const label = "pod-security.kubernetes.io/enforce"
	f.c.kubectl(t, "label", "namespace", f.Namespace, label+"=restricted")
	t.Cleanup(func() { f.c.kubectl(t, "label", "namespace", f.Namespace, label+"-") })
	r := f.restore(t)
	r.exits(1).says(`error: .*create utility pod: .* is forbidden: violates PodSecurity "restricted:latest".*`)
	r.says(`everything was undone: .*`)
	f.intact(t)
	begun()
}

// volume is the first member's, as its node has it.
func (f *faulty) volume() string { return f.Folder() + "/0" }

// full takes all but so many MiB of the volume, until the function that it returns is called.
func (f *faulty) full(t testing.TB, leave int) (free func()) {
	t.Helper()
	file := f.volume() + "/full"
	f.c.inNode(t, f.Volumes[0], fmt.Sprintf(`n=$(($(df --output=avail -k %s | tail -1) - %d)); fallocate -l ${n}K %s`, f.volume(), leave<<10, file))
	free = func() { f.c.inNode(t, f.Volumes[0], "rm -f "+file+"*") }
	t.Cleanup(free)
	return free
}

// faultSmallDisk: there is room for the old data and what goes on, but not for the new data beside it.
func faultSmallDisk(t *testing.T, f *faulty) {
	begun := f.undisturbed(t)
	free := f.full(t, 40)
	r := f.restore(t)
	r.exits(1).says(`error: .*need \d+(\.\d)? MiB.*\d+(\.\d)? MiB.* are free.*`)
	r.says(`everything was undone: .*`)
	free()
	f.intact(t)
	begun()
}

// faultFullDisk: there was room when it was asked for; when the snapshot comes, there is none for the new data.
func faultFullDisk(t *testing.T, f *faulty) {
	begun := f.undisturbed(t)
	free := f.full(t, 175)
	done := make(chan error, 1)
	go func() {
		_, err := output(testContext(t), nil, "docker", "exec", f.Volumes[0], "timeout", "120", "sh", "-c",
			fmt.Sprintf(`cd %s; until ls .kubectl-etcd/*/snapshot.db*; do :; done >/dev/null 2>&1; fallocate -l 120M full.1`, f.volume()))
		done <- err
	}()
	t.Cleanup(free)
	r := f.restore(t)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	r.exits(1).says(`error: do step build/kube-etcd-0: .*(needs \d+ MiB .*, \d+ MiB .* are free|became full while the data was built).*`)
	r.says(`everything was undone: .*`)
	free()
	f.intact(t)
	begun()
}

// faultOneOnly comes last: there is room for the old data or the new, and the user says that the old may go. Then the restore
// is interrupted: it cannot be given up, and goes on with another snapshot.
func faultOneOnly(t *testing.T, f *faulty) {
	f.snapshot = f.backup(t).file
	f.w.writes(t, 20)
	taken := f.backupTo(t, "later.db")
	f.w.writes(t, 20)
	free := f.full(t, 100)
	f.restore(t).exits(1).says(`hint: .*--discard-old-data deletes the old data first, for good`)
	began := time.Now()
	p := start(t, f.c.kubeconfig, "", "restore", f.target(), "--from", f.snapshot, "--discard-old-data", "--yes", "-v")
	p.err.shows(t, 2*time.Minute, "delete the old data for good$")
	p.signal(syscall.SIGINT)
	r := p.wait().exits(130).says(`warning: the old data is deleted for good before the new is there: .*`).says(`error: interrupted`)
	t.Log(r.stderr)
	next := `finish it with: .* resume .*, or put another snapshot in its place with: kubectl etcd restore ` + f.target() + ` --from SNAPSHOT`
	r.says(`hint: operation \S+ is unfinished, and this is down or missing: .*writer .*/kube-apiserver \(had 1 replicas\), .*etcd \(StatefulSet kube-etcd\); ` + next)
	f.c.etcd(t, "restore", "abandon", "-n", f.Namespace, "--yes").fails(1, `abandon operation \S+: it has deleted the old data, and etcd has not come up on the new`, next)
	f.snapshot = taken.file
	f.restore(t).exits(0).says(`warning: operation \S+ has deleted the old data, and etcd has not come up: it goes on with later.db instead of s.db; nothing leads back`)
	free()
	f.restoredSince(t, f.w, began, taken, f.before)
}

// faultStranger: something that the plugin does not know of goes on writing. Everything is undone, and the key is named.
func faultStranger(t *testing.T, f *faulty) {
	stop := f.stranger(t)
	r := f.restore(t)
	if _, err := f.api(t, "get", "--raw", "/readyz", "--request-timeout=2s"); err != nil {
		t.Errorf("everything was undone, and the API does not answer: %v", err)
	}
	stop()
	r.fails(1, `.*something still writes to this etcd: key /stranger/.*`, `.*--writer KIND/NAME`)
	r.says(`everything was undone: .*`)
	f.intact(t)
}

// reverter puts a StatefulSet's replicas back as soon as they are 0, as a controller does that owns them.
func (u *user) reverter(t testing.TB, name string, replicas int, after time.Duration) (stop func()) {
	t.Helper()
	cfg, err := clientcmd.BuildConfigFromFlags("", u.c.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	apps, err := appsv1client.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(testContext(t))
	done := make(chan struct{})
	go func() {
		defer close(done)
		sets := apps.StatefulSets(u.Namespace)
		for ctx.Err() == nil {
			if s, err := sets.GetScale(ctx, name, metav1.GetOptions{}); err == nil && s.Spec.Replicas == 0 {
				pause(ctx, after)
				patch := fmt.Sprintf(`{"spec":{"replicas":%d}}`, replicas)
				if _, err := sets.Patch(ctx, name, types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: "acme-operator"}); err != nil && ctx.Err() == nil {
					t.Logf("put replicas back: %v", err)
				}
			}
			pause(ctx, 100*time.Millisecond)
		}
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// faultReverted: a controller owns the API servers and scales them up again, at once or only after a while.
func faultReverted(t *testing.T, f *faulty) {
	for _, after := range []time.Duration{0, 6 * time.Second} {
		t.Run("after "+after.String(), func(t *testing.T) {
			stop := f.reverter(t, "kube-apiserver", 1, after)
			r := f.restore(t)
			stop()
			r.exits(1).says(`error: .*StatefulSet .*/kube-apiserver.* put back to 1 by manager acme-operator; everything was undone`).says(`hint: pause what manages it, then restore again`)
			r.says(`everything was undone: .*`)
			f.intact(t)
		})
	}
}

// faultNoStart: the new data is damaged when nobody looks any more, so that etcd does not start on it. Meanwhile an
// autoscaler has given the API server a second replica, and that is what comes back.
func faultNoStart(t *testing.T, f *faulty) {
	t.Cleanup(func() { f.kubectl(t, "scale", "statefulset", "kube-apiserver", "--replicas=1") })
	p := start(t, f.c.kubeconfig, "", "restore", f.target(), "--from", f.snapshot, "--yes", "-v", "--timeout=25s")
	p.err.shows(t, 2*time.Minute, "back up what answers now")
	f.kubectl(t, "scale", "statefulset", "kube-apiserver", "--replicas=2")
	p.err.shows(t, 2*time.Minute, "^wait until .* check the revision again$")
	f.c.inNode(t, f.Volumes[0], fmt.Sprintf(`for w in %s/.kubectl-etcd/*/data/member/wal/*.wal; do head -c 4096 /dev/urandom | dd of=$w conv=notrunc status=none; done`, f.volume()))
	r := p.wait()
	t.Logf("%.1f s\n%s", r.took.Seconds(), r.stderr)
	r.exits(1).says(`error: .*wait until the restored members are one healthy cluster: not after 25s; last seen: .*`)
	r.says(`everything was undone: .*`)
	f.w.writes(t, 20)
	if got := f.kubectl(t, "get", "statefulset", "kube-apiserver", "-o", "jsonpath={.spec.replicas}"); got != "2" {
		t.Errorf("%s replicas came back, not 2", got)
	}
	f.kubectl(t, "scale", "statefulset", "kube-apiserver", "--replicas=1")
	f.intact(t)
}
