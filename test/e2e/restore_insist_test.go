//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// quota is in the way until the function that it returns is called.
func (u *user) quota(t testing.TB, hard string) (open func()) {
	t.Helper()
	u.kubectl(t, "create", "quota", "full", "--hard="+hard)
	open = func() { u.kubectl(t, "delete", "quota", "full", "--ignore-not-found") }
	t.Cleanup(open)
	return open
}

// wayGivenUp: a restore fails after its point of no return. Who gives it up gets what was taken from others, and the data
// stays.
func wayGivenUp(t *testing.T, u *user) {
	w := u.write(t)
	w.writes(t, 20)
	taken := u.backup(t)
	w.writes(t, 20)
	budget := u.budget(t)
	begun := time.Now()
	p := start(t, u.c.kubeconfig, "", "restore", u.target(), "--from", taken.file, "--yes", "-v")
	p.err.shows(t, 3*time.Minute, "^scale StatefulSet kube-etcd from 3 to 0$")
	journal, err := u.journal(t)
	if err != nil {
		t.Fatal(err)
	}
	u.kubectl(t, "delete", "configmap/"+journal, "lease/kubectl-etcd-kube-etcd")
	open := u.quota(t, "count/poddisruptionbudgets.policy=0")
	eventually(t, time.Minute, "journal and lock are there again", func() error {
		if _, err := u.c.tryKubectl(t, nil, "-n", u.Namespace, "get", "lease", "kubectl-etcd-kube-etcd"); err != nil {
			return err
		}
		_, err := u.journal(t)
		return err
	})
	u.c.etcd(t, "restore", u.target(), "--from", taken.file, "--yes").fails(1, `.*is unfinished \(running\); in progress by \S+ on .*, last heard of \d+s ago`,
		`wait until that client has ended, or press Ctrl-C there; .*restore status -n \S+ \S+; if it is gone, finish it with: .*`)
	r := p.wait().exits(1)
	t.Logf("%s\n%.1f s in all", r.stderr, r.took.Seconds())
	r.says(`error: do step budget-back/.*: .*forbidden: exceeded quota.*`).says(`warning: the journal \S+ was deleted; it is written again`)
	r.says(`hint: operation \S+ is unfinished, and this is down or missing: disruption budget \S+, disruption budget \S+; finish it with: .* resume .*, or give it up with: kubectl etcd restore abandon -n \S+ \S+`)
	u.c.etcd(t, "restore", "undo", "-n", u.Namespace, "--yes").exits(1).says(`error: undo operation .*: it is past its point of no return`)
	open()
	u.c.etcd(t, "restore", "abandon", "-n", u.Namespace, "--yes").exits(0).says(`gave up operation \S+; the volumes still hold old data of kube-etcd-0 \(.+\), kube-etcd-1 \(.+\), kube-etcd-2 \(.+\); remove it with: .* cleanup .*`)
	u.c.etcd(t, "restore", "status", "-n", u.Namespace).exits(0).prints(`(?s).*abandoned.*`)
	if u.budget(t) == budget {
		t.Error("the budget was never away")
	}
	w.writes(t, 20)
	w.restored(t, taken, w.outage(begun))
}

// journal is that of the operation that a client is at.
func (u *user) journal(t testing.TB) (name string, err error) {
	t.Helper()
	name = u.kubectl(t, "get", "configmaps", "-l", "kubectl-etcd.io/journal=restore", "-o", `jsonpath={.items[?(@.metadata.annotations.kubectl-etcd\.io/phase=="running")].metadata.name}`)
	if name == "" {
		err = errors.New("there is none")
	}
	return name, err
}

// wayNotServing: the data is restored, and no API server may start on it. That is no success.
func wayNotServing(t *testing.T, u *user) {
	w := u.write(t)
	w.writes(t, 20)
	taken := u.backup(t)
	w.writes(t, 20)
	begun := time.Now()
	p := start(t, u.c.kubeconfig, "", "restore", u.target(), "--from", taken.file, "--yes", "-v", "--timeout", "40s")
	p.err.shows(t, 3*time.Minute, "^scale StatefulSet kube-etcd to 3; wait .*")
	eventually(t, time.Minute, "etcd's new pods", func() error {
		if pods := strings.Fields(u.kubectl(t, "get", "pods", "-l", "app=kube-etcd", "-o", "name")); len(pods) < u.Members {
			return fmt.Errorf("there are %v", pods)
		}
		return nil
	})
	open := u.quota(t, "pods=1") // they take seconds to get ready, and the writers come after that
	r := p.wait().exits(1)
	t.Logf("%s\n%.1f s in all", r.stderr, r.took.Seconds())
	r.says(`error: start what was stopped: not ready in time: .*StatefulSet \S+/kube-apiserver`).says(`hint: the data is restored; look at their pods.*`).says(`restored \S+ to revision .*; not all that was stopped is ready: .*StatefulSet \S+/kube-apiserver`)
	open()
	// Their controllers try again later and later, unless something changes.
	for _, workload := range []string{"statefulset/kube-apiserver", "deployment/gke-master-etcd-maintenance", "deployment/kube-controller-manager"} {
		u.kubectl(t, "annotate", workload, "e2e/again=now")
		u.kubectl(t, "annotate", workload, "e2e/again-")
	}
	u.ready(t)
	w.writes(t, 20)
	w.restored(t, taken, w.outage(begun))
}

// wayOtherCluster: another cluster's snapshot is restored because the user insists, and taken back.
func wayOtherCluster(t *testing.T, u *user) {
	other := userCluster(t, usersHome(t), userOptions{Members: 1, APIServers: 1})
	theirs := other.write(t)
	theirs.writes(t, 20)
	theirs.end()
	taken := other.backup(t)
	w := u.write(t)
	w.writes(t, 20)
	args := []string{"restore", u.target(), "--from", taken.file, "--yes"}
	u.c.etcd(t, args...).exits(1).says(`error: .*the snapshot is of another cluster.*`).says(`hint: pass --from-other-cluster .*`)
	w.writes(t, 20)
	begun := time.Now()
	out := u.c.etcd(t, append(args, "--from-other-cluster", "-o", "json")...).exits(0).restored()
	w.writes(t, 20)
	there := u.truth(t)
	for want, names := range map[bool][]string{true: theirs.acknowledged(time.Time{}, begun), false: w.acknowledged(time.Time{}, begun)} {
		for _, name := range names {
			if _, ok := there[name]; ok != want {
				t.Errorf("object %s: %t, of %d", name, ok, len(names))
				break
			}
		}
	}
	u.takenBack(t, w, begun, out.Operation.ID)
}
