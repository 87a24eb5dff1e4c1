//go:build e2e

package e2e

import (
	"fmt"
	"testing"
	"time"
)

// variant is a control plane that is restored.
type variant struct {
	tag     string
	members int
}

func (v variant) String() string { return fmt.Sprintf("%s, %d members", v.tag, v.members) }

// TestRestoreVariants restores one member of the oldest etcd and of the newest; TestRestore has three in between.
func TestRestoreVariants(t *testing.T) {
	for _, v := range []variant{{"3.5.35-0", 1}, {"3.7.3-0-sh", 1}} {
		t.Run(v.String(), func(t *testing.T) { testVariant(t, v) })
	}
}

// TestRestoreLongVariants are the others; those of three members have one replaced besides.
func TestRestoreLongVariants(t *testing.T) {
	for _, v := range []variant{{"3.5.35-0", 3}, {"3.6.8-0", 1}, {"3.6.8-0-sh", 3}, {"3.7.3-0", 3}, {"3.7.3-0-sh", 3}, {"3.5.35-0-sh", 1}} {
		t.Run(v.String(), func(t *testing.T) { testVariant(t, v) })
	}
}

// testVariant restores while applications write and watch, and while an autoscaler gives the API server one more replica:
// what there was when it was stopped is what comes back.
func testVariant(t *testing.T, v variant) {
	u := userCluster(t, usersHome(t), userOptions{Members: v.members, APIServers: 1, Tag: v.tag})
	// Its volumes would go with its pods.
	u.kubectl(t, "patch", "statefulset", "kube-etcd", "-p", `{"spec":{"persistentVolumeClaimRetentionPolicy":{"whenScaled":"Delete"}}}`)
	w, informer := u.write(t), u.watch(t)
	w.writes(t, 20)
	before := u.state(t)
	taken := u.backupTo(t, "s.db.zst")
	w.writes(t, 20)
	began := time.Now()
	p := start(t, u.c.kubeconfig, "", "restore", u.target(), "--from", taken.file, "--yes", "-o", "json", "-v")
	p.err.shows(t, 2*time.Minute, "back up what answers now")
	u.kubectl(t, "scale", "statefulset", "kube-apiserver", "--replicas=2")
	r := p.wait().exits(0)
	t.Logf("%s\n%.1f s in all", r.stderr, r.took.Seconds())
	w.writes(t, 20)
	o := w.outage(began)
	t.Logf("outage: %s", o)
	w.restored(t, taken, o)
	if got := u.kubectl(t, "get", "statefulset", "kube-apiserver", "-o", "jsonpath={.spec.replicas}"); got != "2" {
		t.Errorf("%s replicas of the API server came back, not 2", got)
	}
	u.kubectl(t, "scale", "statefulset", "kube-apiserver", "--replicas=1")
	t.Logf("the informer converged after %.1f s", informer.converged(t, patience).Seconds())
	u.settled(t, before)
	if v.members > 1 {
		u.replaceOne(t, w, before)
	}
	u.cleanRestores(t)
	u.unchanged(t, before)
}

// restoredSince checks what is promised of a restore that began then, and cleans up.
func (u *user) restoredSince(t testing.TB, w *writer, began time.Time, from backup, before state) {
	t.Helper()
	w.writes(t, 20)
	o := w.outage(began)
	t.Logf("outage: %s", o)
	w.restored(t, from, o)
	u.settled(t, before)
	u.cleanRestores(t)
}

// settled checks that all is as before, but for the data, and for journals.
func (u *user) settled(t testing.TB, before state) {
	t.Helper()
	u.serversAgree(t, time.Minute)
	u.unchanged(t, before, journals)
	u.c.nothingLeft(t, u.Namespace)
}

// replaceOne loses the last member's data, and replaces it; nobody notices.
func (u *user) replaceOne(t *testing.T, w *writer, before state) {
	since := time.Now()
	w.writes(t, 20)
	last := u.Members - 1
	u.c.inNode(t, u.Volumes[last], fmt.Sprintf("rm -rf %s/%d/member/wal", u.Folder(), last))
	u.kubectl(t, "delete", "pod", u.pod(last), "--grace-period=0", "--force")
	r := u.c.etcd(t, "restore", u.target(), "--member", fmt.Sprint(last), "--yes", "-v").exits(0).says(fmt.Sprintf(`replaced member %s of .*`, u.pod(last)))
	t.Logf("%s\n%.1f s in all", r.stderr, r.took.Seconds())
	w.writes(t, 20)
	w.allSince(t, since)
	u.c.etcd(t, "status", u.target(), "--hashes").exits(0)
	u.settled(t, before)
}
