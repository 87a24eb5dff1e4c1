//go:build e2e && bench

package e2e

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"k8s.io/apimachinery/pkg/api/resource"
)

// TestRestoreBench measures restores of one user cluster, three members and three API servers, while its writer and an
// informer are at work: ours cold, ours hot, and by hand, in turn, for each size of the database.
//
//	BENCH_RESTORE_SIZES   64Mi,512Mi,2Gi   sizes of the database, in this order, smallest first
//	BENCH_RESTORE_ROUNDS  1                rounds for each; the table has medians
//	BENCH_RESTORE_WAYS    all of them      regular expression of their names: "hand", "--hot"
//	BENCH_RESTORE_LIVE    unset            1: the database is objects that exist, instead of history of a few
//	BENCH_RESTORE_REPORT  standard output  file for the table
func TestRestoreBench(t *testing.T) {
	sizes := strings.Split(cmp.Or(os.Getenv("BENCH_RESTORE_SIZES"), "64Mi,512Mi,2Gi"), ",")
	rounds, err := strconv.Atoi(cmp.Or(os.Getenv("BENCH_RESTORE_ROUNDS"), "1"))
	if err != nil || rounds < 1 {
		t.Fatalf("BENCH_RESTORE_ROUNDS is no number above 0: %v", err)
	}
	u := userCluster(t, usersHome(t), userOptions{History: true})
	u.FillLive = os.Getenv("BENCH_RESTORE_LIVE") != ""
	report := benchReport{rounds: rounds, kubernetes: u.Kubernetes, etcd: u.Image}
	for _, s := range sizes {
		q, err := resource.ParseQuantity(s)
		if err != nil {
			t.Fatalf("parse size %q: %v", s, err)
		}
		t.Run(s, func(t *testing.T) { u.benchSize(t, &report, s, q.Value()) })
	}
	if err := report.write(os.Getenv("BENCH_RESTORE_REPORT")); err != nil {
		t.Fatal(err)
	}
}

// benchWay is one way to restore all members. It says what took how long.
type benchWay struct {
	name    string
	perform func(t testing.TB, u *user, snapshot string) (log string)
}

const (
	cold        = "`kubectl etcd restore`"
	hot         = "`kubectl etcd restore --hot`"
	handWay     = "by hand"
	enoughFresh = 40 // writes, two seconds of them
)

// benchWays are those that the plugin under test has, as far as they are asked for.
func (u *user) benchWays(t testing.TB) []benchWay {
	ours := func(flags ...string) func(testing.TB, *user, string) string {
		return func(t testing.TB, u *user, snapshot string) string { return u.benchPlugin(t, snapshot, flags...) }
	}
	ways := []benchWay{{cold, ours()}}
	if help := u.c.etcd(t, "restore", "--help").exits(0); strings.Contains(help.stdout, "--hot") {
		ways = append(ways, benchWay{hot, ours("--hot")})
	} else {
		t.Log("this plugin has no --hot")
	}
	ways = append(ways, benchWay{handWay, func(t testing.TB, u *user, snapshot string) string {
		b := &byHand{u: u, snapshot: snapshot, dir: t.TempDir()}
		b.perform(t)
		return b.log.String()
	}})
	asked, err := regexp.Compile(os.Getenv("BENCH_RESTORE_WAYS"))
	if err != nil {
		t.Fatalf("BENCH_RESTORE_WAYS: %v", err)
	}
	return slices.DeleteFunc(ways, func(w benchWay) bool { return !asked.MatchString(w.name) })
}

func (u *user) benchSize(t *testing.T, report *benchReport, name string, size int64) {
	ways := u.benchWays(t)
	u.fillTo(t, size)
	w := u.write(t)
	defer w.end()
	w.writes(t, enoughFresh)
	taken := u.backup(t)
	info, err := os.Stat(taken.file)
	if err != nil {
		t.Fatal(err)
	}
	report.sizes = append(report.sizes, benchedSize{name: name, bytes: info.Size(), runs: map[string][]benchRun{}})
	runs := report.sizes[len(report.sizes)-1].runs
	for round := range report.rounds {
		for _, way := range ways {
			// A test of its own, so that its informer ends with it. One that fails has no figures; the others may have.
			t.Run(fmt.Sprintf("%d %s", round+1, strings.Trim(way.name, "`")), func(t *testing.T) {
				u.fillTo(t, size) // a restore before may have made it smaller, and then there is less to back up before this one
				runs[way.name] = append(runs[way.name], u.benchRun(t, w, way, taken))
			})
		}
	}
}

// fillTo makes the database as large as that.
func (u *user) fillTo(t testing.TB, size int64) {
	t.Helper()
	fillTo(t, u.etcd(t), u.endpoint(t), size, func(n int) { u.fill(t, n) })
}

func fillTo(t testing.TB, c *clientv3.Client, endpoint string, size int64, fill func(bytes int)) {
	t.Helper()
	for range 8 {
		s, err := c.Status(t.Context(), endpoint)
		if err != nil {
			t.Fatal(err)
		}
		missing := size - s.DbSize
		if missing < max(size/30, 4<<20) { // fill writes 2 MiB or nothing
			t.Logf("the database has %d MiB", s.DbSize>>20)
			return
		}
		fill(int(missing) * 7 / 8) // pages are not filled to the last byte
	}
	t.Fatalf("the database does not grow to %d MiB", size>>20)
}

// benchRun is one restore.
type benchRun struct {
	outage    time.Duration // from the writer's last acknowledged creation to its next one
	disturbed time.Duration // from the first creation that failed to the first one after the last that did
	startUp   time.Duration // from the first member that was ready to the first API server that was; 0: none was restarted
	total     time.Duration
	before    kept // what was acknowledged before the snapshot
	after     kept // what was between snapshot and outage
	converged time.Duration
	stale     error // the informer's cache, which did not converge
}

// kept are objects that were acknowledged, and how many of them are there after the restore.
type kept struct{ of, there int }

func (u *user) benchRun(t *testing.T, w *writer, way benchWay, taken backup) (run benchRun) {
	v, pods := u.watch(t), u.watchPods(t)
	w.writes(t, enoughFresh)
	began := time.Now()
	log := way.perform(t, u, taken.file)
	run.total = time.Since(began)
	w.writes(t, enoughFresh)
	gap := longestGap(w.all(), began)
	o := w.outage(began)
	run.outage, run.disturbed, run.startUp = gap.end.Sub(gap.begin), o.whole, pods.startUp(gap)
	there := u.truth(t)
	run.before = countKept(w.acknowledged(time.Time{}, taken.begin), there)
	run.after = countKept(w.acknowledged(taken.end, gap.begin), there)
	fresh := countKept(w.acknowledged(gap.end, time.Now()), u.truth(t))
	if run.before.of == 0 || run.before.there != run.before.of || run.after.of == 0 || run.after.there > 0 || fresh.there != fresh.of || !o.over {
		t.Errorf("not the snapshot's state: before it %+v, after it %+v, after the restore %+v; %s", run.before, run.after, fresh, o)
	}
	back := time.Now()
	c := u.etcd(t)
	run.stale = within(patience, func() error {
		return agreed(t.Context(), c, func(context.Context) (versions, error) { return v.cached(), nil })
	})
	run.converged = time.Since(back)
	t.Logf("%s\noutage %.2f s (API server's start-up %.1f s), %s; in all %.1f s; the informer after %.1f s: %v",
		log, run.outage.Seconds(), run.startUp.Seconds(), o, run.total.Seconds(), run.converged.Seconds(), run.stale)
	if way.name != handWay && run.stale != nil {
		t.Errorf("the informer does not converge: %v", run.stale)
	}
	u.benchReset(t, way)
	return run
}

// benchPlugin runs the plugin as a user would, safety backup included.
func (u *user) benchPlugin(t testing.TB, snapshot string, flags ...string) (log string) {
	p := start(t, u.c.kubeconfig, "", append([]string{"restore", u.target(), "--from", snapshot, "--yes", "-v"}, flags...)...)
	select {
	case err := <-p.done:
		if err != nil {
			t.Fatalf("kubectl etcd restore: %v\n%s", err, p.err.String())
		}
	case <-time.After(30 * time.Minute):
		t.Fatalf("kubectl etcd restore: no end after 30 minutes\n%s", p.err.String())
	}
	if err := os.RemoveAll(p.cmd.Dir); err != nil { // the safety backup is as large as the database
		t.Fatal(err)
	}
	return p.err.String()
}

// benchReset gives the next restore the same ground: room on the volumes and, where caches were left behind, controllers
// without them. None of it is measured.
func (u *user) benchReset(t testing.TB, way benchWay) {
	if way.name == handWay {
		u.kubectl(t, "rollout", "restart", "deployment/kube-controller-manager")
	} else {
		u.cleanRestores(t)
	}
	u.ready(t)
}

// gap is a span of time in which no creation was acknowledged.
type gap struct{ begin, end time.Time }

// longestGap is the longest one that ended after began. It is what the users of an API mean by an outage, whether
// requests fail in it or hang.
func longestGap(requests []request, began time.Time) (longest gap) {
	var last time.Time
	for _, r := range requests {
		if r.err != nil {
			continue
		}
		if !last.IsZero() && r.end.After(began) && r.end.Sub(last) > longest.end.Sub(longest.begin) {
			longest = gap{last, r.end}
		}
		last = r.end
	}
	return longest
}

func countKept(names []string, there versions) kept {
	k := kept{of: len(names)}
	for _, name := range names {
		if _, ok := there[name]; ok {
			k.there++
		}
	}
	return k
}
