//go:build e2e

package e2e

import (
	"encoding/json"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// restoreHot brings a user cluster back under its running API servers while applications write and watch.
func restoreHot(t *testing.T, u *user) {
	w := u.write(t)
	v := u.watch(t)
	w.writes(t, 40)
	before := u.state(t)
	servers := u.apiServers(t)
	taken := u.backup(t)
	u.c.etcd(t, "restore", u.target(), "--from", taken.file, "--hot", "--dry-run=client").exits(0).
		prints(`(?s).*freeze etcd on all members.*from its first leader on, only forward.*The API servers go on running.*`).says(`nothing was changed.*`)
	// Where such pods are not admitted, nothing is begun.
	u.kubectl(t, "label", "namespace", u.Namespace, "pod-security.kubernetes.io/enforce=baseline")
	u.c.etcd(t, "restore", u.target(), "--from", taken.file, "--hot", "--yes").fails(1, `(?s).*hostPID.*everything was undone.*`, `.*leave out --hot.*`)
	u.kubectl(t, "label", "namespace", u.Namespace, "pod-security.kubernetes.io/enforce-")
	u.unchanged(t, before, journals)
	for range share(t, 1, []string{"once", "twice from the same snapshot"}) {
		w.writes(t, 40)
		began := time.Now()
		r := u.c.etcd(t, "restore", u.target(), "--from", taken.file, "--hot", "--yes", "-o", "json", "-v").exits(0)
		t.Logf("%s\n%.1f s in all", r.stderr, r.took.Seconds())
		w.writes(t, 20)
		outage := w.outage(began)
		out := r.restored()
		r.counted()
		frozen := r.outageBegan()
		t.Logf("outage: %s; no write was acknowledged for %.2f s at most; journalled until all members were healthy: %.2f s",
			w.outage(frozen), w.silence(frozen).Seconds(), out.OutageSeconds)
		if out.Operation.Phase != "succeeded" || out.Restore.ClusterID == out.Restore.OldClusterID || out.Restore.ClusterID == "" {
			t.Errorf("not as promised: %+v", out)
		}
		if out.Restore.Snapshot.Revision+out.Restore.Bump <= out.Restore.Highest {
			t.Errorf("revision %d + %d is not above %d", out.Restore.Snapshot.Revision, out.Restore.Bump, out.Restore.Highest)
		}
		w.restored(t, taken, outage)
		t.Logf("frozen %s\n%s", frozen.Format(time.RFC3339Nano), u.kubectl(t, "get", "pods", "-l", "app=kube-etcd", "-o",
			`jsonpath={range .items[*]}{.metadata.name} ended {.status.containerStatuses[*].lastState.terminated.finishedAt} started {.status.containerStatuses[*].state.running.startedAt}{"\n"}{end}`))
		t.Logf("the informer converged after %.1f s", v.converged(t, patience).Seconds())
		u.serversAgree(t, time.Minute)
		if now := u.apiServers(t); !slices.Equal(now, servers) {
			t.Errorf("API servers were %v, are %v", servers, now)
		}
		u.unchanged(t, before, journals)
		u.c.nothingLeft(t, u.Namespace)
		u.c.etcd(t, "restore", "status", "-n", u.Namespace).exits(0).prints(`(?s).*` + out.Operation.ID + `.*succeeded.*`)
	}
	u.cleanRestores(t)
	u.unchanged(t, before)
}

// outageBegan is right before the members were frozen.
func (r *result) outageBegan() time.Time {
	r.t.Helper()
	var out struct {
		Restore struct{ OutageBegan time.Time }
	}
	if err := json.Unmarshal([]byte(r.stdout), &out); err != nil || out.Restore.OutageBegan.IsZero() {
		r.t.Fatalf("when did the outage begin? %v: %s", err, r.stdout)
	}
	return out.Restore.OutageBegan
}

// silence is the longest time between two writes that were acknowledged, the latter since then.
func (w *writer) silence(since time.Time) (longest time.Duration) {
	last := time.Time{}
	for _, r := range w.all() {
		if r.err != nil {
			continue
		}
		if !last.IsZero() && r.end.After(since) {
			longest = max(longest, r.end.Sub(last))
		}
		last = r.end
	}
	return max(longest, time.Since(last))
}

// apiServers are their pods, and how often each has been started.
func (u *user) apiServers(t testing.TB) []string {
	t.Helper()
	out := u.kubectl(t, "get", "pods", "-l", "app=kube-apiserver", "-o", `jsonpath={range .items[*]}{.metadata.name} {.metadata.uid} {.status.containerStatuses[*].restartCount}{"\n"}{end}`)
	pods := strings.Split(strings.TrimSpace(out), "\n")
	if len(pods) < 2 {
		t.Fatalf("API servers: %q", out)
	}
	slices.Sort(pods)
	return pods
}

// TestRestoreHotInterrupted kills the client as the step begins in which members are frozen and exchanged; nobody may be left
// frozen, and another client takes it up. What happens when it dies between two orders is shown by TestHotClientDies (test/operations).
func TestRestoreHotInterrupted(t *testing.T) {
	u := userCluster(t, usersHome(t), userOptions{})
	w := u.write(t)
	w.writes(t, 40)
	before := u.state(t)
	taken := u.backup(t)
	w.writes(t, 40)
	began := time.Now()
	p := start(t, u.c.kubeconfig, "", "restore", u.target(), "--from", taken.file, "--hot", "--yes")
	p.err.shows(t, 3*time.Minute, "freeze etcd on all members")
	p.signal(syscall.SIGKILL)
	<-p.done
	// With its data old or new, but not for lack of an order.
	w.writes(t, 20)
	r := u.c.etcd(t, "restore", "resume", "-n", u.Namespace, "--yes").exits(0).says(`restored .*`)
	t.Logf("%s\n%.1f s in all", r.stderr, r.took.Seconds())
	w.writes(t, 20)
	w.restored(t, taken, w.outage(began))
	u.settled(t, before)
	id := u.c.etcd(t, "restore", "status", "-n", u.Namespace, "-o", "jsonpath={.items[0].id}").exits(0).stdout
	u.takenBack(t, w, began, id)
	u.settled(t, before)
	u.cleanRestores(t)
}

// TestRestoreLongStale: without a bump the restored revisions are below what an API server has in its caches, which it would
// go on serving for ever. It is found out, and restarted.
func TestRestoreLongStale(t *testing.T) {
	u := userCluster(t, usersHome(t), userOptions{Members: 1})
	w := u.write(t)
	w.writes(t, 20)
	taken := u.backup(t)
	w.writes(t, 200)
	w.end()
	r := u.c.etcd(t, "restore", u.target(), "--from", taken.file, "--hot", "--bump-revision=0", "--yes", "-v").exits(0)
	t.Logf("%s\n%.1f s in all", r.stderr, r.took.Seconds())
	r.says(`warning: the restored revision \d+ will not be above \d+, which clients may have seen: .*`)
	r.says(`warning: pod kube-apiserver-0 of StatefulSet .* has not read its \S+ anew: it is restarted`)
	u.answers(t)
	u.serversAgree(t, time.Minute)
	u.c.nothingLeft(t, u.Namespace)
	u.cleanRestores(t)
}
