//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestRestoreWays brings one user cluster back in the ways that are not every day's: it takes a restore back that clients
// have seen, restores what an operator owns, what has lost its quorum, and what has lost a member's node.
func TestRestoreWays(t *testing.T) {
	u := userCluster(t, usersHome(t), userOptions{APIServers: 1})
	before := u.state(t)
	for _, way := range []struct {
		name string
		run  func(*testing.T, *user)
	}{
		{"taken back", wayTakenBack}, {"another cluster", wayOtherCluster}, {"given up", wayGivenUp},
		{"not serving", wayNotServing}, {"owned by an operator", wayOwned}, {"quorum lost", wayQuorumLost}, {"node gone", wayNodeGone},
		{"all lost", wayAllLost}, {"all lost, a file left", wayFileLeft},
	} {
		if !t.Run(way.name, func(t *testing.T) { way.run(t, u) }) {
			return
		}
		u.serversAgree(t, time.Minute)
		u.unchanged(t, before, journals)
		u.c.nothingLeft(t, u.Namespace)
	}
	u.cleanRestores(t)
}

// wayTakenBack restores, lets clients see that, and takes it back: what the restore had taken away is there again, and
// what was written after it is gone.
func wayTakenBack(t *testing.T, u *user) {
	w := u.write(t)
	v := u.watch(t)
	w.writes(t, 20)
	taken := u.backup(t)
	w.writes(t, 20)
	begun := time.Now()
	in, err := os.Open(taken.file)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	p := prepared(t, u.c.kubeconfig, "", "restore", u.target(), "--from", "-", "--yes", "-o", "json")
	p.cmd.Stdin = in
	p.begin()
	out := p.wait().exits(0).restored()
	u.takenBack(t, w, begun, out.Operation.ID)
	t.Logf("the informer converged after %.1f s", v.converged(t, patience).Seconds())
}

// takenBack takes a restore back that began then, after clients have seen it.
func (u *user) takenBack(t testing.TB, w *writer, begun time.Time, operation string) {
	t.Helper()
	w.writes(t, 20)
	restored := w.outage(begun).up
	w.writes(t, 20)
	undo := []string{"restore", "undo", "-n", u.Namespace, operation, "--yes"}
	nowhere := filepath.Join(t.TempDir(), "nowhere")
	u.c.etcd(t, append(undo, "--safety-backup", nowhere)...).fails(1, "find folder for the safety backup: .*nowhere is none", "name another folder with --safety-backup")
	u.c.etcd(t, append(undo, "--skip-member", "bogus")...).fails(2, `no member "bogus"; there are: kube-etcd-0.*`, "")
	u.c.etcd(t, "restore", "status", "-n", "default", operation).fails(1, "find operation .*: there is no journal of it", ".*status -A.*")
	u.c.etcd(t, "restore", "-n", "default", u.target(), "--member", "0", "--yes").fails(2, "find .*: it is not in the namespace that -n names, default", "")
	again := time.Now()
	r := u.c.etcd(t, append(undo, "-v")...).exits(0)
	t.Logf("%s\n%.1f s in all", r.stderr, r.took.Seconds())
	r.says(`restored .*`)
	w.writes(t, 20)
	o := w.outage(again)
	w.end()
	there := u.truth(t)
	for what, c := range map[string]struct {
		names []string
		want  bool
	}{
		"from before the restore":  {w.acknowledged(time.Time{}, begun), true},
		"from between the two":     {w.acknowledged(restored, again), false},
		"from after it was undone": {w.acknowledged(o.up, time.Now()), true},
	} {
		for _, name := range c.names {
			if _, ok := there[name]; ok != c.want {
				t.Errorf("object %s %s: %t, of %d", name, what, ok, len(c.names))
				break
			}
		}
		if len(c.names) == 0 {
			t.Errorf("no object %s", what)
		}
	}
}

// backup is what is restored; it holds what was acknowledged before begin and nothing from after end.
type backup struct {
	file       string
	begin, end time.Time
}

func (u *user) backup(t testing.TB) backup { t.Helper(); return u.backupTo(t, "s.db") }

func (u *user) backupTo(t testing.TB, name string) backup {
	t.Helper()
	begin := time.Now()
	r := u.c.etcd(t, "backup", u.target(), "--to", name, "-q").exits(0)
	return backup{file: filepath.Join(r.dir, name), begin: begin, end: time.Now()}
}

// wayOwned: the StatefulSet starts one pod after the other, and an operator puts back what is scaled unless it is paused,
// as HyperShift's does.
func wayOwned(t *testing.T, u *user) {
	w := u.write(t)
	w.writes(t, 20)
	u.orderedReady(t)
	t.Cleanup(func() { u.recreate(t, "Parallel") })
	stop := u.hyperShift(t)
	before := u.state(t)
	taken := u.backup(t)
	w.writes(t, 20)
	u.c.etcd(t, "restore", u.target(), "--from", taken.file, "--yes").fails(1, `.*starts its pods one after the other \(OrderedReady\).*`, `pass --recreate-statefulset.*`)
	begun := time.Now()
	r := u.c.etcd(t, "restore", u.target(), "--from", taken.file, "--yes", "--recreate-statefulset", "-v").exits(0)
	t.Logf("%s\n%.1f s in all", r.stderr, r.took.Seconds())
	w.writes(t, 20)
	t.Logf("outage: %s", w.outage(begun))
	u.unchanged(t, before, journals)
	if until := u.c.kubectl(t, "-n", u.Namespace, "get", "hostedclusters.hypershift.openshift.io", "hosted", "-o", "jsonpath={.spec.pausedUntil}"); until != "" {
		t.Errorf("the hosted cluster is still paused: %q", until)
	}
	stop()
}

// orderedReady makes the StatefulSet another one with that policy, under the pods that run.
func (u *user) orderedReady(t testing.TB) { u.recreate(t, "OrderedReady") }

func (u *user) recreate(t testing.TB, policy string) {
	t.Helper()
	var set map[string]any
	if err := json.Unmarshal([]byte(u.kubectl(t, "get", "statefulset", "kube-etcd", "-o", "json")), &set); err != nil {
		t.Fatal(err)
	}
	spec := set["spec"].(map[string]any)
	if spec["podManagementPolicy"] == policy {
		return
	}
	spec["podManagementPolicy"] = policy
	meta := set["metadata"].(map[string]any)
	for _, field := range []string{"uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"} {
		delete(meta, field)
	}
	delete(set, "status")
	b, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	u.kubectl(t, "delete", "statefulset", "kube-etcd", "--cascade=orphan", "--wait=true")
	if out, err := u.c.tryKubectl(t, b, "create", "--raw", "/apis/apps/v1/namespaces/"+u.Namespace+"/statefulsets", "-f", "-"); err != nil { // others would change an annotation
		t.Fatal(out, err)
	}
	u.kubectl(t, "rollout", "status", "statefulset/kube-etcd", "--timeout=2m")
}

// hyperShift makes the user cluster a hosted one of HyperShift's: its objects, and what its operator does that matters
// here. It scales back what was scaled, unless the HostedCluster is paused, and hands that on to the HostedControlPlane.
func (u *user) hyperShift(t testing.TB) (stop func()) {
	t.Helper()
	for _, kind := range []string{"HostedCluster", "HostedControlPlane"} {
		plural := strings.ToLower(kind) + "s"
		u.c.apply(t, fmt.Sprintf(`
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: %[1]s.hypershift.openshift.io}
spec:
  group: hypershift.openshift.io
  scope: Namespaced
  names: {plural: %[1]s, singular: %[2]s, kind: %[3]s}
  versions:
  - name: v1beta1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
`, plural, strings.ToLower(kind), kind))
		u.c.kubectl(t, "wait", "--for=condition=Established", "crd/"+plural+".hypershift.openshift.io", "--timeout=1m")
		t.Cleanup(func() { u.c.kubectl(t, "delete", "crd", plural+".hypershift.openshift.io", "--ignore-not-found") })
	}
	u.c.apply(t, fmt.Sprintf(`
apiVersion: hypershift.openshift.io/v1beta1
kind: HostedCluster
metadata: {name: hosted, namespace: %[1]s}
spec: {}
---
apiVersion: hypershift.openshift.io/v1beta1
kind: HostedControlPlane
metadata: {name: hosted, namespace: %[1]s, annotations: {hypershift.openshift.io/cluster: %[1]s/hosted}}
spec: {}
`, u.Namespace))
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			u.reconcile(t)
			select {
			case <-done:
				return
			case <-time.After(time.Second):
			}
		}
	}()
	stop = func() {
		select {
		case <-done:
		default:
			close(done)
		}
		<-stopped
	}
	t.Cleanup(stop)
	return stop
}

// reconcile is one round of the operator's; what fails is for the next round.
func (u *user) reconcile(t testing.TB) {
	until, err := u.c.tryKubectl(t, nil, "-n", u.Namespace, "get", "hostedcluster", "hosted", "-o", "jsonpath={.spec.pausedUntil}")
	if err != nil {
		return
	}
	patch := `{"spec":{"pausedUntil":null}}`
	if until != "" {
		patch = fmt.Sprintf(`{"spec":{"pausedUntil":%q}}`, until)
	}
	_, _ = u.c.tryKubectl(t, nil, "-n", u.Namespace, "patch", "hostedcontrolplane", "hosted", "--type=merge", "-p", patch)
	if until == "" {
		_, _ = u.c.tryKubectl(t, nil, "-n", u.Namespace, "scale", "statefulset/kube-etcd", fmt.Sprintf("--replicas=%d", u.Members))
		_, _ = u.c.tryKubectl(t, nil, "-n", u.Namespace, "scale", "statefulset/kube-apiserver", fmt.Sprintf("--replicas=%d", u.APIServers))
	}
}

// lose destroys the data of members, as a broken disk does.
func (u *user) lose(t testing.TB, members ...int) {
	t.Helper()
	for _, i := range members {
		u.c.inNode(t, u.Volumes[i], fmt.Sprintf("rm -rf %s/%d/member/wal", u.Folder(), i))
		u.kubectl(t, "delete", "pod", u.pod(i), "--grace-period=0", "--force")
	}
}

// wayQuorumLost: two of three members have lost their data. The third one still has everything, and is restored on all.
func wayQuorumLost(t *testing.T, u *user) {
	w := u.write(t)
	w.writes(t, 20)
	taken := u.backup(t)
	w.writes(t, 20)
	w.end()
	u.allHave(t)
	u.lose(t, 0, 1)
	u.c.etcd(t, "restore", u.target(), "--from", taken.file, "--member", "0", "--member", "1", "--yes").
		fails(1, `.*quorum is lost, and etcd cannot start on the snapshot before these members are restored too: kube-etcd-2; member kube-etcd-2 still has revision \d+, which can be restored on all: --from member/kube-etcd-2`, `add --member kube-etcd-2.*`)
	r := u.c.etcd(t, "restore", u.target(), "--from", "member/2", "--yes", "-v").exits(0)
	t.Logf("%s\n%.1f s in all", r.stderr, r.took.Seconds())
	w.allThere(t)
	again := u.write(t)
	again.writes(t, 20)
	again.end()
	again.allThere(t)
	u.c.etcd(t, "status", u.target(), "--hashes").exits(0)
}

// allHave waits until all members hold the same revision: an acknowledged write is on two of three.
func (u *user) allHave(t testing.TB) {
	t.Helper()
	revision := regexp.MustCompile(`"revision":\s*(\d+)`)
	eventually(t, time.Minute, "all members hold the same revision", func() error {
		out := u.c.etcd(t, "status", u.target(), "-o", "json").stdout
		found := revision.FindAllStringSubmatch(out, -1)
		if len(found) != u.Members {
			return fmt.Errorf("%d revisions in %s", len(found), out)
		}
		for _, f := range found {
			if f[1] != found[0][1] {
				return fmt.Errorf("revisions %s and %s", f[1], found[0][1])
			}
		}
		return nil
	})
}

// wayNodeGone: one member's node is gone, another one's data is lost. The third one is restored on the two that are left,
// and when the node is back its member is replaced.
func wayNodeGone(t *testing.T, u *user) {
	w := u.write(t)
	w.writes(t, 20)
	w.end()
	u.allHave(t)
	u.c.kubectl(t, "cordon", u.Volumes[2])
	t.Cleanup(func() { u.c.kubectl(t, "uncordon", u.Volumes[2]) })
	u.kubectl(t, "delete", "pod", u.pod(2), "--grace-period=0", "--force")
	u.c.etcd(t, "restore", u.target(), "--from", "member/0", "--skip-member", "0", "--yes").fails(1, `restore .* without member kube-etcd-0: it answers, .*`, `leave out --skip-member kube-etcd-0`)
	u.lose(t, 1)
	r := u.c.etcd(t, "restore", u.target(), "--from", "member/0", "--skip-member", "2", "--yes", "-v").exits(0)
	t.Logf("%s\n%.1f s in all", r.stderr, r.took.Seconds())
	r.says(`warning: member kube-etcd-2 stays away: .*replace it with: kubectl etcd restore ` + u.target() + ` --member kube-etcd-2`)
	w.allThere(t)
	u.c.kubectl(t, "uncordon", u.Volumes[2])
	r = u.c.etcd(t, "restore", u.target(), "--member", "2", "--yes", "-v").exits(0)
	t.Logf("%s\n%.1f s in all", r.stderr, r.took.Seconds())
	w.allThere(t)
	u.c.etcd(t, "status", u.target(), "--hashes").exits(0)
}

// spoil makes the logs of all members unreadable, as bad disks can: none starts any more. Their databases stay, with all that
// was acknowledged: etcd writes that when it ends.
func (u *user) spoil(t testing.TB) {
	t.Helper()
	u.kubectl(t, "scale", "statefulset", "kube-etcd", "--replicas=0")
	u.kubectl(t, "wait", "--for=delete", "pod", "-l", "app=kube-etcd", "--timeout=1m")
	for i, node := range u.Volumes {
		u.c.inNode(t, node, fmt.Sprintf("for f in %s/%d/member/wal/*.wal; do dd if=/dev/urandom of=$f bs=4096 count=4 conv=notrunc status=none; done", u.Folder(), i))
	}
	u.kubectl(t, "scale", "statefulset", "kube-etcd", fmt.Sprintf("--replicas=%d", u.Members))
}

// wayAllLost: no member runs any more. Its snapshot's sidecar says whose it is; what the volumes hold besides is told.
func wayAllLost(t *testing.T, u *user) {
	w := u.write(t)
	w.writes(t, 20)
	taken := u.backup(t)
	w.writes(t, 40)
	u.allHave(t)
	began := time.Now()
	u.spoil(t)
	budget := u.budget(t)
	r := u.c.etcd(t, "restore", u.target(), "--from", taken.file, "--keep-budgets", "--yes", "-v").exits(0)
	if now := u.budget(t); now != budget {
		t.Errorf("the budget was to be kept: it was %s, and is %s", budget, now)
	}
	t.Logf("%s\n%.1f s in all", r.stderr, r.took.Seconds())
	r.says(`warning: no member is healthy, and the volume of member kube-etcd-\d holds revision \d+, the snapshot \d+: .*--from member/kube-etcd-\d restores what the volume holds`)
	r.says(`warning: no safety backup: .*`)
	w.writes(t, 20)
	o := w.outage(began)
	w.restored(t, taken, o)
}

// budget is which one there is: another after it was deleted and made anew.
func (u *user) budget(t testing.TB) string {
	t.Helper()
	return u.kubectl(t, "get", "poddisruptionbudget", "kube-apiserver-pdb", "-o", "jsonpath={.metadata.uid}")
}

// wayFileLeft: no member runs any more, and there is no snapshot. One member's database file is restored on all.
func wayFileLeft(t *testing.T, u *user) {
	w := u.write(t)
	w.writes(t, 20)
	w.end()
	u.allHave(t)
	u.spoil(t)
	budget := u.budget(t)
	r := u.c.etcd(t, "restore", u.target(), "--from", "member/1", "--yes", "-v").exits(0)
	if now := u.budget(t); now == budget {
		t.Errorf("the budget was not away: it is still %s", now)
	}
	t.Logf("%s\n%.1f s in all", r.stderr, r.took.Seconds())
	r.says(`.*copying its database file.*`)
	w.allThere(t)
	u.c.etcd(t, "status", u.target(), "--hashes").exits(0)
}
