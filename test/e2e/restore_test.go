//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience is for an informer: after an outage it waits up to half a minute between two tries, by its own rules.
const patience = 2 * time.Minute

// journals are what a restore may leave behind until its cleanup.
const journals = "ConfigMap/kubectl-etcd-restore-"

// step is one of a plan's, as far as tests look at it.
type step struct {
	ID, State      string
	Started, Ended time.Time
}

// step is one that was carried out.
func (r restored) step(t testing.TB, id string) step {
	t.Helper()
	i := slices.IndexFunc(r.Operation.Steps, func(s step) bool { return s.ID == id && s.State == "done" })
	if i < 0 {
		t.Fatalf("step %s is not done: %+v", id, r.Operation.Steps)
	}
	return r.Operation.Steps[i]
}

// restored is what `restore -o json` prints, as far as tests look at it.
type restored struct {
	Operation struct {
		ID, Phase, Error string
		Steps            []step
	}
	Restore struct {
		ClusterID, OldClusterID string
		Highest, Bump           int64
		Snapshot                struct{ Revision int64 }
	}
	Disagree      []string
	OutageSeconds float64
}

func (r *result) restored() restored {
	r.t.Helper()
	var out restored
	if err := json.Unmarshal([]byte(r.stdout), &out); err != nil {
		r.t.Fatalf("%v: %s", err, r.stdout)
	}
	return out
}

// TestRestore is every day's: one user cluster of three members and three API servers is restored, cold and hot, one of its
// members is replaced, and it is told what is wrong with a snapshot: two of the four.
func TestRestore(t *testing.T) {
	u := userCluster(t, usersHome(t), userOptions{})
	type way struct {
		name string
		run  func(*testing.T, *user)
	}
	for _, test := range share(t, 1, []way{{"cold", restoreCold}, {"hot", restoreHot}, {"member", replaceMember}, {"told", restoreTold}}) {
		if !t.Run(test.name, func(t *testing.T) { test.run(t, u) }) {
			return // what this one has left is not where the next one begins
		}
	}
}

// restoreCold brings a user cluster back, once or twice from the same snapshot, while applications write and watch.
func restoreCold(t *testing.T, u *user) {
	w := u.write(t)
	v := u.watch(t)
	w.writes(t, 40)
	// The same names in another namespace: none of its business.
	neighbour := userCluster(t, u.c, userOptions{Members: 1})
	untouched := neighbour.state(t)
	as := u.operator(t) // who has the printed rights only
	before := u.state(t)
	taken := u.backup(t)
	u.lacksRight(t, as, taken.file)
	// What nothing leads back from is not begun.
	const guard = `[{"op":"add","path":"/metadata/finalizers","value":["example.com/guard"]}]`
	u.kubectl(t, "patch", "poddisruptionbudget", "kube-etcd-pdb", "--type=json", "-p", guard)
	plan := u.c.etcd(t, "restore", u.target(), "--from", taken.file, "--dry-run=client").exits(0).says(`warning: disruption budget \S+/kube-etcd-pdb has the finalizer example\.com/guard.*`)
	u.kubectl(t, "patch", "poddisruptionbudget", "kube-etcd-pdb", "--type=merge", "-p", `{"metadata":{"finalizers":null}}`)
	if strings.Contains(plan.stdout, "delete disruption budget kube-etcd-pdb") || !strings.Contains(plan.stdout, "delete disruption budget kube-apiserver-pdb") {
		t.Errorf("which budgets are deleted? %s", plan.stdout)
	}
	u.unchanged(t, before)
	for range share(t, 1, []string{"once", "twice from the same snapshot"}) {
		w.writes(t, 40)
		began := time.Now()
		p := start(t, u.c.kubeconfig, "", "restore", u.target(), "--from", taken.file, "--yes", "-o", "json", "-v", as)
		u.budgetInTheWay(t, p)
		r := p.wait().exits(0)
		t.Logf("%s\n%.1f s in all", r.stderr, r.took.Seconds())
		w.writes(t, 20)
		outage := w.outage(began)
		t.Logf("outage: %s", outage)
		out := r.restored()
		if out.Operation.Phase != "succeeded" || out.Restore.ClusterID == out.Restore.OldClusterID || out.Restore.ClusterID == "" {
			t.Errorf("not as promised: %+v", out)
		}
		u.savedFirst(t, r, out.Restore.Snapshot.Revision)
		// Every API server was asked, and had read everything anew.
		out.step(t, "caches")
		r.counted()
		if strings.Contains(r.stderr, "warning: ") {
			t.Errorf("were the API servers asked? %+v\n%s", out.Operation.Steps, r.stderr)
		}
		if out.Restore.Snapshot.Revision+out.Restore.Bump <= out.Restore.Highest {
			t.Errorf("revision %d + %d is not above %d", out.Restore.Snapshot.Revision, out.Restore.Bump, out.Restore.Highest)
		}
		w.restored(t, taken, outage)
		t.Logf("the informer converged after %.1f s", v.converged(t, patience).Seconds())
		u.serversAgree(t, time.Minute)
		u.unchanged(t, before, journals)
		u.c.nothingLeft(t, u.Namespace)
		neighbour.unchanged(t, untouched)
		// What was between the two is history now; the second restore takes it back again.
		listed := u.c.etcd(t, "restore", "status", "-n", u.Namespace).exits(0)
		if !strings.Contains(listed.stdout, out.Operation.ID) || !strings.Contains(listed.stdout, "succeeded") {
			t.Errorf("status does not have it: %s", listed.stdout)
		}
		// Nobody takes back by mistake what has succeeded.
		u.c.etcd(t, "restore", "undo", "-n", u.Namespace, "--yes").fails(1, `find operation: there are none that are unfinished`, `to undo one that has ended, name it: .*`)
	}
	u.cleanRestores(t)
	u.unchanged(t, before)
	u.noDeadServers(t)
}

// noDeadServers checks that the addresses of API servers that were there at the backup are gone: each had a lease.
func (u *user) noDeadServers(t testing.TB) {
	t.Helper()
	sorted := func(s string) string { f := strings.Fields(s); slices.Sort(f); return strings.Join(f, " ") }
	want := sorted(u.kubectl(t, "get", "pods", "-l", "app=kube-apiserver", "-o", "jsonpath={.items[*].status.podIP}"))
	eventually(t, time.Minute, "endpoints/kubernetes has the API servers that are there", func() error {
		out, err := u.api(t, "get", "endpoints", "-n", "default", "kubernetes", "-o", "jsonpath={.subsets[*].addresses[*].ip}")
		if err == nil && sorted(out) != want {
			err = fmt.Errorf("%s, want %s", out, want)
		}
		return err
	})
}

// budgetInTheWay puts a budget in the place of one that a restore has taken away. It is being deleted, and held by a finalizer
// until the restore wants to have its own back: one that took it for that would end without any.
func (u *user) budgetInTheWay(t testing.TB, p *proc) {
	t.Helper()
	const name = "kube-apiserver-pdb"
	p.err.shows(t, 3*time.Minute, "^scale StatefulSet kube-etcd from 3 to 0$")
	u.kubectl(t, "create", "poddisruptionbudget", name, "--selector=app=nobody", "--max-unavailable=1")
	u.kubectl(t, "patch", "poddisruptionbudget", name, "--type=merge", "-p", `{"metadata":{"finalizers":["example.com/guard"]}}`)
	u.kubectl(t, "delete", "poddisruptionbudget", name, "--wait=false")
	p.err.shows(t, 3*time.Minute, "^create disruption budget "+name+" again$")
	time.Sleep(time.Second)
	u.kubectl(t, "patch", "poddisruptionbudget", name, "--type=merge", "-p", `{"metadata":{"finalizers":null}}`)
}

// counted checks that the user cluster's own API was asked how many objects there are.
func (r *result) counted() {
	r.t.Helper()
	if !regexp.MustCompile(`the API shows what the snapshot has: \d{2,} objects of (?:[5-9]|1\d) kinds`).MatchString(r.stderr) {
		r.t.Errorf("the objects were not counted: %s", r.stderr)
	}
}

// cleanRestores removes the old data of all restores of this control plane, and waits for the pods that did so to be gone:
// what is noted after it as what was there before must not have them.
func (u *user) cleanRestores(t testing.TB) {
	t.Helper()
	out := u.kubectl(t, "get", "configmaps", "-l", "kubectl-etcd.io/journal=restore", "-o", "jsonpath={.items[*].metadata.name}")
	for _, name := range strings.Fields(out) {
		u.c.etcd(t, "restore", "cleanup", "-n", u.Namespace, strings.TrimPrefix(name, "kubectl-etcd-restore-"), "--yes").exits(0)
	}
	for i, node := range u.Volumes {
		if left := strings.TrimSpace(u.c.inNode(t, node, fmt.Sprintf("ls -A %s/%d", u.Folder(), i))); left != "member" {
			t.Errorf("on the volume of member %d: %q", i, left)
		}
	}
	u.c.nothingLeft(t, u.Namespace)
}

// savedFirst checks the backup of what there was: it is good, and newer than what was restored.
func (u *user) savedFirst(t testing.TB, r *result, restored int64) {
	t.Helper()
	found := regexp.MustCompile(`(?m)safety backup: (\S+)$`).FindStringSubmatch(r.stderr)
	if found == nil {
		t.Fatalf("no safety backup: %s", r.stderr)
	}
	out := u.c.etcd(t, "verify", filepath.Join(r.dir, found[1]), "-o", "jsonpath={.revision}").exits(0).stdout
	if revision, err := strconv.ParseInt(strings.TrimSpace(out), 10, 64); err != nil || revision <= restored {
		t.Errorf("the safety backup has revision %q, the snapshot %d: %v", out, restored, err)
	}
}

// TestRestoreInterrupted kills the client in the middle of a step, and lets another go on, or go back.
func TestRestoreInterrupted(t *testing.T) {
	u := userCluster(t, usersHome(t), userOptions{Members: 1})
	w := u.write(t)
	v := u.watch(t)
	w.writes(t, 20)
	taken := u.backup(t)
	w.writes(t, 20)
	before := u.state(t)
	for _, kill := range []struct{ during, then string }{
		{"scale StatefulSet kube-etcd from 1 to 0", "undo"}, {"exchange old data and new", "resume"},
	} {
		t.Run(kill.during+", "+kill.then, func(t *testing.T) {
			begin := time.Now()
			p := start(t, u.c.kubeconfig, "", "restore", u.target(), "--from", taken.file, "--yes")
			p.err.shows(t, 2*time.Minute, kill.during)
			p.signal(syscall.SIGKILL)
			<-p.done
			u.c.etcd(t, "restore", "status", "-n", u.Namespace).exits(0).says(`\S+: in progress by \S+ on \S+, process \d+ .*, last heard of \d+s ago.*`)
			u.c.etcd(t, "cleanup", "-n", u.Namespace, "--dry-run").exits(0).says(`left alone, still running: \d+ \(some are of an unfinished restore, .*restore status -n \S+\)`)
			u.c.etcd(t, "status", u.target()).says(`warning: restore \S+ of it is unfinished; see: kubectl etcd restore status -n \S+`)
			u.c.etcd(t, "restore", u.target(), "--from", taken.file, "--yes").fails(1, `.*is unfinished \(running\); in progress by .*`, `wait until that client .*; if it is gone, finish it with: .*resume.*undo.*`)
			r := u.c.etcd(t, "restore", kill.then, "-n", u.Namespace, "--yes").exits(0)
			t.Logf("%s\n%.1f s in all", r.stderr, r.took.Seconds())
			w.writes(t, 20)
			o := w.outage(begin)
			t.Logf("outage: %s", o)
			if kill.then == "undo" {
				r.says(`.* is as it was before operation .*`)
				w.allThere(t)
			} else {
				r.says(`restored .*`)
				w.restored(t, taken, o)
			}
			v.converged(t, patience)
			u.serversAgree(t, time.Minute)
			u.unchanged(t, before, journals)
			u.c.nothingLeft(t, u.Namespace)
		})
	}
	u.cleanRestores(t)
}

// stranger writes to etcd past every API server, until it is stopped.
func (u *user) stranger(t testing.TB) (stop func()) {
	t.Helper()
	c := u.etcd(t)
	ctx, cancel := context.WithCancel(testContext(t))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ctx.Err() == nil; i++ {
			one, end := context.WithTimeout(ctx, time.Second)
			_, _ = c.Put(one, fmt.Sprintf("/stranger/%d", i), "x") // etcd is away for a while
			end()
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

// neighbours are the pods of the other members and of the API servers, and how often each was restarted.
func (u *user) neighbours(t testing.TB, but int) string {
	t.Helper()
	out := u.kubectl(t, "get", "pods", "-l", "app in (kube-etcd,kube-apiserver)", "-o", `jsonpath={range .items[*]}{.metadata.name} {.metadata.uid} {.status.containerStatuses[0].restartCount}{"\n"}{end}`)
	return strings.Join(slices.DeleteFunc(strings.Split(out, "\n"), func(line string) bool { return strings.HasPrefix(line, u.pod(but)+" ") }), "\n")
}

// replaceMember: one member's data is lost while the others have quorum. It is replaced without a snapshot, and nothing that
// was acknowledged is lost.
func replaceMember(t *testing.T, u *user) {
	w := u.write(t)
	w.writes(t, 40)
	before, taken := u.state(t), u.backup(t)
	u.c.inNode(t, u.Volumes[1], fmt.Sprintf("rm -rf %s/1/member/wal", u.Folder()))
	u.kubectl(t, "delete", "pod", u.pod(1), "--grace-period=0", "--force")
	others := u.neighbours(t, 1)
	plan := u.c.etcd(t, "restore", u.target(), "--member", "1", "--dry-run=client").exits(0)
	plan.prints(`^Replace member kube-etcd-1 of ` + u.target())
	u.c.etcd(t, "restore", u.target(), "--member", "7", "--dry-run=client").fails(2, `no member "7"; there are: .*`, "")
	// A snapshot besides is not what is needed: that is said, and asked.
	args := []string{"restore", u.target(), "--from", taken.file, "--member", "1"}
	u.c.etcd(t, append(args, "--yes")...).fails(1, `restore member from a snapshot: the other members have quorum and all of the data; .*`, `replace it without the snapshot: leave out --from; .*`)
	p, person := startOnTerminal(t, u.c.kubeconfig, args...)
	p.out.shows(t, time.Minute, `The other members have quorum and all of the data\.(?s:.*)Replace member 1 without the snapshot\? \[y/N\] `)
	if _, err := person.WriteString("n\n"); err != nil {
		t.Fatal(err)
	}
	if r := p.wait().exits(1); !strings.Contains(r.stdout, "nothing was changed: not confirmed") {
		t.Errorf("not said that nothing was changed: %s", r)
	}
	u.unchanged(t, before)
	r := u.c.etcd(t, "restore", u.target(), "--member", u.pod(1), "--yes", "-v").exits(0).says(`replaced member kube-etcd-1 of .*`)
	t.Logf("%s\n%.1f s in all", r.stderr, r.took.Seconds())
	w.writes(t, 20)
	w.end()
	w.allThere(t)
	if now := u.neighbours(t, 1); now != others {
		t.Errorf("the other members were disturbed:\n%s\nnow\n%s", others, now)
	}
	u.c.etcd(t, "status", u.target(), "--hashes").exits(0)
	u.serversAgree(t, time.Minute)
	u.unchanged(t, before, journals)
	u.c.nothingLeft(t, u.Namespace)
	u.cleanRestores(t)
}
