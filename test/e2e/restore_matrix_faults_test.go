//go:build e2e

package e2e

import (
	"fmt"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

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
	node := m.Volumes[m.member]
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
