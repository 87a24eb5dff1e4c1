//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
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
	return fmt.Sprintf("%02d %s %s, %s, %s, %s", c.number, kind, object[strings.LastIndex(object, "/")+1:], direction, c.fault, c.then)
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

// cells are all interruptions of a plan. What ends by itself is not taken up, so that there is one cell of it.
func cells(steps []planned) (out []cell) {
	for i, s := range steps {
		c := cell{number: i + 1, step: s, then: "undo"}
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
			if s.Back != "" { // both go back then
				c.back, c.then = true, []string{"resume", "undo"}[(i+j)%2]
				out = append(out, c)
			}
		}
	}
	return out
}

// share chooses cells: RESTORE_KIND_CELLS says how many, or all, and RESTORE_KIND_SEED which. The seed is the commit's
// where none is given, so that another commit has others.
func share(t testing.TB, all []cell) []cell {
	t.Helper()
	n, seed := 2, uint64(time.Now().UnixNano())
	if head, err := output(t.Context(), nil, "git", "-C", root, "rev-parse", "HEAD"); err == nil && len(head) > 16 {
		if seed, err = strconv.ParseUint(head[:15], 16, 64); err != nil {
			t.Fatal(err)
		}
	}
	if s := os.Getenv("RESTORE_KIND_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	switch s := os.Getenv("RESTORE_KIND_CELLS"); s {
	case "":
	case "all":
		t.Logf("all %d cells", len(all))
		return all
	default:
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	n = min(n, len(all))
	t.Logf("%d of %d cells, seed %d", n, len(all), seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:n]
}

// TestRestoreMatrix interrupts restores of a real control plane at the boundaries of their steps: a share of all that the
// plan has. Then it is taken up once, by whatever the cell says, and must be restored, or as it was before.
func TestRestoreMatrix(t *testing.T) {
	m := newMatrix(t)
	for _, c := range share(t, cells(m.plan(t))) {
		if m == nil { // what a failed cell leaves is not where the next one begins
			m = newMatrix(t)
		}
		if !t.Run(c.String(), func(t *testing.T) { m.run(t, c) }) {
			m = nil
		}
	}
}

// matrix is the user cluster on which the cells of a run happen.
type matrix struct {
	*user
	w      *writer
	taken  backup
	before state
	since  time.Time // of the last restore: what was acknowledged since has to be there, but for another one
}

func newMatrix(t *testing.T) *matrix {
	u := userCluster(t, usersHome(t), userOptions{Members: 1})
	m := &matrix{user: u, w: u.write(t)}
	m.w.writes(t, 20)
	m.taken = u.backup(t)
	m.before = u.state(t)
	return m
}

// plan is what a restore would do. The namespace is another one each time.
func (m *matrix) plan(t testing.TB) []planned {
	t.Helper()
	var plan struct{ Operation struct{ Steps []planned } }
	out := m.c.etcd(t, "restore", m.target(), "--from", m.taken.file, "--dry-run=client", "-o", "json").exits(0).stdout
	if err := json.Unmarshal([]byte(strings.ReplaceAll(out, m.Namespace, "NAMESPACE")), &plan); err != nil {
		t.Fatal(err)
	}
	return plan.Operation.Steps
}

func (m *matrix) run(t *testing.T, c cell) {
	for _, s := range []*string{&c.step.ID, &c.step.What, &c.step.Back, &c.next.What} {
		*s = strings.ReplaceAll(*s, "NAMESPACE", m.Namespace)
	}
	m.w.writes(t, 10)
	begin := time.Now()
	args := []string{"restore", m.target(), "--from", m.taken.file, "--yes", "-v"}
	if c.back {
		// As far as the step after it, and back from there.
		m.killed(t, args, starts(c.next, false))
		args = []string{"restore", "undo", "-n", m.Namespace, "--yes", "-v"}
	}
	m.interrupted(t, c, args)
	op := m.operation(t)
	t.Logf("after the fault: %s (%s)", op.Phase, op.Error)
	if op.Phase != "succeeded" && op.Phase != "undone" {
		op = m.takeUp(t, c.then, op)
	}
	switch op.Phase {
	case "succeeded":
		if c.back {
			t.Error("it was being undone, and was restored")
		}
		m.w.writes(t, 20)
		o := m.w.outage(begin)
		t.Logf("restored; outage: %s", o)
		m.w.restored(t, m.taken, o)
		m.since = o.up
	case "undone":
		m.w.writes(t, 20)
		m.w.allSince(t, m.since)
	default:
		t.Fatalf("it has not ended: %s (%s)", op.Phase, op.Error)
	}
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

// starts is the line that says that a step begins.
func starts(s planned, back bool) string {
	if back {
		return `^` + regexp.QuoteMeta("undo: "+s.Back+" ("+s.ID+")") + `$`
	}
	return `^` + regexp.QuoteMeta(s.What) + `$`
}

// ends is the line that says that a step is done.
func ends(s planned) string { return `^` + regexp.QuoteMeta(s.ID) + `: \d+\.\d s$` }

// trigger does something at the moment at which a line is printed.
type trigger struct {
	pattern *regexp.Regexp
	do      func()
	rest    string
	pulled  bool
}

func (tr *trigger) Write(p []byte) (int, error) {
	tr.rest += string(p)
	for {
		line, rest, whole := strings.Cut(tr.rest, "\n")
		if !whole {
			return len(p), nil
		}
		tr.rest = rest
		if !tr.pulled && tr.pattern.MatchString(line) {
			tr.pulled = true
			tr.do()
		}
	}
}

// at runs the plugin, and does something when a line is printed.
func (m *matrix) at(t testing.TB, kubeconfig string, args []string, line string, do func(*proc)) *proc {
	t.Helper()
	p := prepared(t, kubeconfig, "", args...)
	tr := &trigger{pattern: regexp.MustCompile(line), do: func() { do(p) }}
	p.cmd.Stderr = writers{&p.err, tr}
	p.begin()
	r := p.wait()
	t.Logf("kubectl etcd %s: exit code %d after %.1f s\n%s", strings.Join(args, " "), r.code, r.took.Seconds(), r.stderr)
	if !tr.pulled {
		t.Fatalf("no line like %s", line)
	}
	return p
}

// writers are written to in order.
type writers [2]interface{ Write([]byte) (int, error) }

func (w writers) Write(p []byte) (int, error) {
	_, _ = w[0].Write(p)
	return w[1].Write(p)
}

func kill(p *proc) { _ = p.cmd.Process.Signal(syscall.SIGKILL) }

// killed runs the plugin up to a line. Its lock goes with it: how long that is waited for is TestRestoreInterrupted's.
func (m *matrix) killed(t testing.TB, args []string, line string) {
	t.Helper()
	m.at(t, m.c.kubeconfig, args, line, kill)
	m.unlock(t)
}

func (m *matrix) unlock(t testing.TB) {
	t.Helper()
	m.kubectl(t, "delete", "lease", "kubectl-etcd-"+m.Name, "--ignore-not-found")
}

// interrupted runs the plugin into the cell's fault, and to its end.
func (m *matrix) interrupted(t *testing.T, c cell, args []string) {
	line := starts(c.step, c.back)
	switch c.fault {
	case killBefore:
		m.killed(t, args, line)
	case killAfter:
		m.killed(t, args, ends(c.step))
	case cutShortly, cutForGood:
		m.cutAt(t, c, args, line)
	case podDeleted:
		m.at(t, m.c.kubeconfig, args, line, func(p *proc) {
			_ = p.cmd.Process.Signal(syscall.SIGSTOP)
			_, err := m.c.tryKubectl(t, nil, "-n", m.Namespace, "delete", "pods", "-l", "app.kubernetes.io/managed-by=kubectl-etcd", "--grace-period=1")
			_ = p.cmd.Process.Signal(syscall.SIGCONT)
			if err != nil {
				t.Error(err)
			}
		})
	case restarted:
		done := make(chan error, 1)
		m.at(t, m.c.kubeconfig, args, line, func(*proc) {
			go func() { done <- m.restart(t) }()
		})
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
}

// cutAt cuts the connection to the API server at a line.
func (m *matrix) cutAt(t *testing.T, c cell, args []string, line string) {
	l := newLink(t, m.c, 0)
	m.at(t, l.kubeconfig, args, line, func(p *proc) {
		l.setDown(true)
		l.cut()
		if c.fault == cutShortly {
			time.AfterFunc(5*time.Second, func() { l.setDown(false) })
		} else {
			time.AfterFunc(15*time.Second, func() { kill(p) })
		}
	})
	if c.fault == cutForGood {
		m.unlock(t)
	}
}

// restart restarts the member's node, and waits until its kubelet has said that it is well.
func (m *matrix) restart(t *testing.T) error {
	node := m.Volumes[0]
	if _, err := output(testContext(t), nil, "docker", "restart", "--time=2", node); err != nil {
		return err
	}
	back := time.Now()
	var last string
	for end := back.Add(2 * time.Minute); time.Now().Before(end); pause(t.Context(), time.Second) {
		last, _ = m.c.tryKubectl(t, nil, "-n", "kube-node-lease", "get", "lease", node, "-o", "jsonpath={.spec.renewTime}")
		if renewed, err := time.Parse(time.RFC3339, last); err == nil && renewed.After(back) {
			_, err := m.c.tryKubectl(t, nil, "wait", "--for=condition=Ready", "node/"+node, "--timeout=2m")
			return err
		}
	}
	return fmt.Errorf("kubelet of %s: no lease renewed two minutes after its restart; the last one: %s", node, last)
}

// takeUp types resume or undo. Nothing goes back once API servers have started on the new data: then an undo is refused.
func (m *matrix) takeUp(t *testing.T, then string, op operation) operation {
	t.Helper()
	committed := false
	for _, s := range op.Steps {
		committed = committed || s.Commit && s.State != "pending" && s.State != "undone"
	}
	args := []string{"restore", then, "-n", m.Namespace, "--yes", "-v"}
	if then == "resume" {
		args = append(args, "--from", m.taken.file)
	}
	r := m.c.etcd(t, args...)
	t.Logf("%s: exit code %d after %.1f s\n%s", then, r.code, r.took.Seconds(), r.stderr)
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
