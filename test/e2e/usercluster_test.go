//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestUserCluster is about what the tests of restore stand on: it is a real control plane, what they look at tells the
// truth, and the plugin knows it.
func TestUserCluster(t *testing.T) {
	u := userCluster(t, usersHome(t), userOptions{History: true})
	before := u.state(t)
	begin := time.Now()
	w := u.write(t)
	v := u.watch(t)
	w.writes(t, 40)
	v.converged(t, 30*time.Second)
	t.Run("plugin", func(t *testing.T) { testUserPlugin(t, u) })
	t.Run("fill", func(t *testing.T) { testUserFill(t, u) })
	t.Run("outage", func(t *testing.T) { testUserOutage(t, u, w) })
	w.end()
	w.allThere(t)
	t.Logf("all outages: %s; the informer's watch errors: %v", w.outage(begin), v.failures())
	v.converged(t, time.Minute)
	u.serversAgree(t, time.Minute)
	u.unchanged(t, before)
}

// TestUserClusterSmall is one member and one API server, whose maintenance compacts; the oldest etcd that we support.
func TestUserClusterSmall(t *testing.T) {
	u := userCluster(t, usersHome(t), userOptions{Members: 1, Tag: "3.5.35-0"})
	w := u.write(t)
	w.writes(t, 20)
	u.writesPast(t, 600)
	eventually(t, 2*time.Minute, "maintenance compacts and defragments", func() error {
		log := u.kubectl(t, "logs", "deployment/gke-master-etcd-maintenance")
		if !strings.Contains(log, "compacted revision") || !strings.Contains(log, "Finished defragmenting") {
			return fmt.Errorf("its log: %s", log)
		}
		return nil
	})
	w.end()
	w.allThere(t)
	u.serversAgree(t, time.Minute)
}

func testUserPlugin(t *testing.T, u *user) {
	r := u.c.etcd(t, "backup", u.target(), "-o", "json").exits(0)
	b := r.backup()
	if b.Snapshot.Proof != "full" || len(b.Survey.Members) != 3 {
		t.Errorf("want a fully proven snapshot of one of three members: %+v", b)
	}
	if err := agree(t.Context(), filepath.Join(r.dir, b.File), "3.6"); err != nil {
		t.Error(err)
	}
	var list struct {
		Items []struct {
			Namespace, Name, Layout string
			Members                 []struct{ Name string }
		}
	}
	out := u.c.etcd(t, "list", "-A", "-o", "json").exits(0).stdout
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		t.Fatal(err)
	}
	for _, p := range list.Items {
		if p.Namespace != u.Namespace {
			continue
		}
		var names []string
		for _, m := range p.Members {
			names = append(names, m.Name)
		}
		if want := []string{"kube-etcd-0", "kube-etcd-1", "kube-etcd-2"}; p.Layout != "kubeception" || !slices.Equal(names, want) {
			t.Errorf("want a kubeception with %v: %+v", want, p)
		}
		return
	}
	t.Errorf("list does not have it: %s", out)
}

// testUserFill: the database grows by what was asked for, and it is history.
func testUserFill(t *testing.T, u *user) {
	c := u.etcd(t)
	before, err := c.Status(t.Context(), u.endpoint(t))
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	u.fill(t, 64<<20)
	after, err := c.Status(t.Context(), u.endpoint(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("64 MiB: %.1f s", time.Since(start).Seconds())
	if grown := after.DbSize - before.DbSize; grown < 60<<20 || grown > 120<<20 {
		t.Errorf("the database has grown by %d bytes", grown)
	}
	count, err := c.Get(t.Context(), "/kubectl-etcd-e2e/fill/", etcdCount...)
	if err != nil {
		t.Fatal(err)
	}
	if count.Count != fillers {
		t.Errorf("%d live keys, want %d", count.Count, fillers)
	}
}

// testUserOutage: the writer notices an outage, and its end.
func testUserOutage(t *testing.T, u *user, w *writer) {
	begin := time.Now()
	replicas := fmt.Sprint(u.APIServers)
	u.kubectl(t, "scale", "statefulset", "kube-apiserver", "--replicas=0")
	eventually(t, time.Minute, "requests fail", func() error {
		if o := w.outage(begin); o.failed < 5 {
			return fmt.Errorf("%d have", o.failed)
		}
		return nil
	})
	if o := w.outage(begin); o.over {
		t.Errorf("no API server, and yet it is over: %s", o)
	}
	u.kubectl(t, "scale", "statefulset", "kube-apiserver", "--replicas="+replicas)
	u.ready(t)
	w.writes(t, 20)
	o := w.outage(begin)
	t.Log(o)
	if !o.over || o.first <= 0 || o.whole < o.first || o.whole > time.Since(begin) {
		t.Errorf("an outage that cannot be: %+v", o)
	}
}
