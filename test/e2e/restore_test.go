//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// journals are what a restore may leave behind until its cleanup.
const journals = "ConfigMap/kubectl-etcd-restore-"

// restored is what `restore -o json` prints, as far as tests look at it.
type restored struct {
	Operation struct {
		ID, Phase, Error string
		Steps            []struct{ ID, State string }
	}
	Restore struct {
		ClusterID, OldClusterID string
		Highest, Bump           int64
		Snapshot                struct{ Revision int64 }
	}
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

// TestRestore brings a user cluster back, twice from the same snapshot, while applications write and watch.
func TestRestore(t *testing.T) {
	u := userCluster(t, usersHome(t), userOptions{})
	w := u.write(t)
	v := u.watch(t)
	w.writes(t, 40)
	before := u.state(t)
	begin := time.Now()
	r := u.c.etcd(t, "backup", u.target(), "--to", "s.db", "-q").exits(0)
	end := time.Now()
	snapshot := filepath.Join(r.dir, "s.db")
	for range 2 {
		w.writes(t, 40)
		began := time.Now()
		r := u.c.etcd(t, "restore", u.target(), "--from", snapshot, "--yes", "-o", "json", "-v").exits(0)
		t.Logf("%s\n%.1f s in all", r.stderr, r.took.Seconds())
		back := time.Now()
		w.writes(t, 20)
		t.Logf("outage: %s", w.outage(began))
		out := r.restored()
		if out.Operation.Phase != "succeeded" || out.Restore.ClusterID == out.Restore.OldClusterID || out.Restore.ClusterID == "" {
			t.Errorf("not as promised: %+v", out)
		}
		if out.Restore.Snapshot.Revision+out.Restore.Bump <= out.Restore.Highest {
			t.Errorf("revision %d + %d is not above %d", out.Restore.Snapshot.Revision, out.Restore.Bump, out.Restore.Highest)
		}
		u.lost(t, w, begin, end, began, back)
		t.Logf("the informer converged after %.1f s", v.converged(t, time.Minute).Seconds())
		u.serversAgree(t, time.Minute)
		u.unchanged(t, before, journals)
		u.c.nothingLeft(t, u.Namespace)
		// What was between the two is history now; the second restore takes it back again.
		begin2 := u.c.etcd(t, "restore", "status", "-n", u.Namespace).exits(0)
		if !strings.Contains(begin2.stdout, out.Operation.ID) || !strings.Contains(begin2.stdout, "succeeded") {
			t.Errorf("status does not have it: %s", begin2.stdout)
		}
	}
	u.cleanRestores(t)
	u.unchanged(t, before)
}

// lost checks what a restore promises of writes: those before the snapshot are there, those between snapshot and
// restore are not, and those since are.
func (u *user) lost(t testing.TB, w *writer, begin, end, began, back time.Time) {
	t.Helper()
	there := u.truth(t)
	check := func(what string, names []string, want bool) {
		t.Helper()
		wrong := 0
		for _, n := range names {
			if _, ok := there[n]; ok != want {
				wrong++
			}
		}
		if wrong > 0 || len(names) == 0 {
			t.Errorf("%s: %d of %d objects are there or not as they should (%t)", what, wrong, len(names), want)
		}
	}
	check("before the snapshot", w.acknowledged(time.Time{}, begin), true)
	check("between snapshot and restore", w.acknowledged(end, began), false)
	check("since", w.acknowledged(back, time.Now()), true)
}

// cleanRestores removes the old data of all restores of this control plane.
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
}
