//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

// planned is a step of a plan, as `restore --dry-run=client -o json` and `restore status -o json` have it.
type planned struct {
	ID, What, Back, State string
	Commit                bool
}

// operation is what `restore status -o json` says of one.
type operation struct {
	ID, Phase, Error string
	Steps            []planned
}

// cell is one fault, at one step, in one direction, and what is typed afterwards.
type cell struct {
	number int // of the step
	step   planned
	next   planned // the step after it
	how    string  // cold, hot or replace
	back   bool    // while the restore is undone
	fault  string
	then   string // where the operation has not ended by itself: resume or undo
}

func (c cell) String() string {
	direction := "forward"
	if c.back {
		direction = "back"
	}
	kind, object, _ := strings.Cut(c.step.ID, "/")
	return fmt.Sprintf("%s %02d %s %s, %s, %s, %s", c.how, c.number, kind, object[strings.LastIndex(object, "/")+1:], direction, c.fault, c.then)
}

// The faults. "Before" and "after" are the boundaries of a step.
const (
	killBefore = "kill before"   // the client, with -9
	killAfter  = "kill after"    // the same
	cutShortly = "cut shortly"   // the connection to the API server, for some seconds
	cutForGood = "cut for good"  // and then the client's machine is switched off
	podDeleted = "pod deleted"   // the utility pods
	restarted  = "node restarts" // the member's
)

// cells are all interruptions of a plan. What ends by itself is not taken up, so that there is one cell of it. Nothing goes
// back from a hot restore's exchange: by the next step its only member is a leader. How three do, before there is one, is
// shown by TestHotFaults and TestHotClientDies (test/operations). Nor once a step has begun from which it only goes on.
func cells(steps []planned, how string) (out []cell) {
	for i, s := range steps {
		c := cell{number: i + 1, step: s, then: "undo", how: how}
		if i+1 < len(steps) {
			c.next = steps[i+1]
		}
		for j, fault := range []string{killBefore, killAfter, cutShortly, cutForGood, podDeleted, restarted} {
			c.fault, c.back = fault, false
			for _, c.then = range []string{"resume", "undo"} {
				if c.then == "resume" || fault == killBefore || fault == killAfter || fault == cutForGood {
					out = append(out, c)
				}
			}
			if s.Back != "" && !s.exchangesHot() && !c.next.Commit { // both go back then
				c.back, c.then = true, []string{"resume", "undo"}[(i+j)%2]
				out = append(out, c)
			}
		}
	}
	return out
}

func (s planned) exchangesHot() bool { return s.ID == "hot-switch" }

// TestRestoreMatrix interrupts restores of a real control plane, cold and hot, or replacements of a member, at the boundaries
// of their steps: a share of all that the plans have. Then it is taken up once, by whatever the cell says, and must be restored,
// or as it was before. How long an outage is decides nothing here, so that it can go on beside what mostly waits on the main
// cluster.
func TestRestoreMatrix(t *testing.T) {
	turn(t)
	home := usersHome(t)
	t.Parallel()
	type kind struct {
		name   string
		has    userOptions
		member int
	}
	for _, k := range share(t, 1, []kind{
		{"cold", userOptions{Members: 1}, 0},
		{"hot", userOptions{Members: 1}, 0},
		{"replace", userOptions{APIServers: 1}, 1},
	}) {
		t.Run(k.name, func(t *testing.T) {
			fresh := func() *matrix { return newMatrix(t, userCluster(t, home, k.has), k.member) }
			m := fresh()
			m.each(t, share(t, 1, m.cells(t, k.name)), fresh)
		})
	}
}

// matrix is the user cluster on which the cells of a run happen.
type matrix struct {
	*user
	member int // that is replaced, and whose node restarts
	w      *writer
	taken  backup
	before state
	since  time.Time // of the last restore: what was acknowledged since has to be there, but for another one
}

func newMatrix(t *testing.T, u *user, member int) *matrix {
	m := &matrix{user: u, member: member, w: u.write(t)}
	m.w.writes(t, 20)
	m.taken = u.backup(t)
	m.before = u.state(t)
	return m
}

// each runs one cell after the other. What a failed one leaves is not where the next one begins.
func (m *matrix) each(t *testing.T, all []cell, fresh func() *matrix) {
	for _, c := range all {
		if m == nil {
			m = fresh()
		}
		if !t.Run(c.String(), func(t *testing.T) { m.run(t, c) }) {
			m = nil
		}
	}
}

// cells are those of what a restore would do. The namespace is another one each time.
func (m *matrix) cells(t testing.TB, how string) []cell {
	t.Helper()
	var plan struct{ Operation struct{ Steps []planned } }
	out := m.c.etcd(t, m.restore(how, "--dry-run=client", "-o", "json")...).exits(0).stdout
	if err := json.Unmarshal([]byte(strings.ReplaceAll(out, m.Namespace, "NAMESPACE")), &plan); err != nil {
		t.Fatal(err)
	}
	return cells(plan.Operation.Steps, how)
}

// restore is what is typed for one.
func (m *matrix) restore(how string, more ...string) []string {
	args := []string{"restore", m.target()}
	switch how {
	case "replace":
		args = append(args, "--member", strconv.Itoa(m.member))
	case "hot":
		args = append(args, "--from", m.taken.file, "--hot")
	default:
		args = append(args, "--from", m.taken.file)
	}
	return append(args, more...)
}

func (m *matrix) run(t *testing.T, c cell) {
	for _, s := range []*string{&c.step.ID, &c.step.What, &c.step.Back, &c.next.What} {
		*s = strings.ReplaceAll(*s, "NAMESPACE", m.Namespace)
	}
	m.w.writes(t, 10)
	begin := time.Now()
	args := m.restore(c.how, "--yes", "-v")
	if c.back {
		// As far as the step after it, and back from there.
		m.killed(t, args, starts(c.next, false))
		args = []string{"restore", "undo", "-n", m.Namespace, "--yes", "-v"}
	}
	m.interrupted(t, c, args)
	op := m.operation(t)
	t.Logf("after the fault: %s (%s)", op.Phase, op.Error)
	if op.Phase != "succeeded" && op.Phase != "undone" {
		op = m.takeUp(t, c, op)
	}
	switch {
	case op.Phase == "undone" || op.Phase == "succeeded" && c.how == "replace":
		m.w.writes(t, 20)
		m.w.allSince(t, m.since)
	case op.Phase == "succeeded":
		if c.back {
			t.Error("it was being undone, and was restored")
		}
		m.w.writes(t, 20)
		o := m.w.outage(begin)
		t.Logf("restored; outage: %s", o)
		m.w.restored(t, m.taken, o)
		m.since = o.up
	default:
		t.Fatalf("it is unfinished: %s (%s)", op.Phase, op.Error)
	}
	m.ready(t)
	m.serversAgree(t, time.Minute)
	m.unchanged(t, m.before, journals)
	m.c.nothingLeft(t, m.Namespace)
	m.cleanRestores(t)
}

// operation is the newest one.
func (m *matrix) operation(t testing.TB) (op operation) {
	t.Helper()
	out := m.c.etcd(t, "restore", "status", "-n", m.Namespace, "-o", "json").exits(0).stdout
	list := struct{ Items []json.RawMessage }{}
	err := json.Unmarshal([]byte(out), &list)
	if err == nil && len(list.Items) == 0 {
		t.Fatal("there is no journal")
	}
	if err == nil {
		err = json.Unmarshal(list.Items[0], &op)
	}
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return op
}

// takeUp types resume or undo. Nothing is undone once API servers have started on the new data: then an undo is refused.
func (m *matrix) takeUp(t *testing.T, c cell, op operation) operation {
	t.Helper()
	committed, hot := false, false
	for _, s := range op.Steps {
		begun := s.State != "pending" && s.State != "undone"
		committed = committed || s.Commit && begun
		hot = hot || s.exchangesHot() && begun
	}
	then, args := c.then, []string{"restore", c.then, "-n", m.Namespace, "--yes", "-v"}
	if then == "resume" && c.how != "replace" {
		args = append(args, "--from", m.taken.file)
	}
	r := m.c.etcd(t, args...)
	t.Logf("%s: exit code %d after %.1f s\n%s", then, r.code, r.took.Seconds(), r.stderr)
	if hot && then == "undo" && !committed && r.code == 1 { // nobody knew before etcd was asked
		r.says(`error: .*clients have seen it: .*`)
		committed = true
	}
	if then == "undo" && committed {
		r.exits(1)
		r = m.c.etcd(t, "restore", "resume", "-n", m.Namespace, "--yes", "-v")
		t.Logf("resume: %.1f s\n%s", r.took.Seconds(), r.stderr)
	}
	r.exits(0)
	after := m.operation(t)
	if want := map[bool]string{true: "succeeded", false: "undone"}[op.Phase != "undoing" && (committed || then == "resume")]; after.Phase != want {
		t.Errorf("it ended as %s, not %s", after.Phase, want)
	}
	return after
}
