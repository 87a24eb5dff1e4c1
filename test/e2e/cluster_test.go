//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func bytesReader(b []byte) io.Reader { return bytes.NewReader(b) }

type tail struct{ bytes.Buffer }

// kind is a kind of cluster that tests ask for.
type kind struct {
	name  string // also the name of the kind cluster, behind "e2e-"
	nodes int    // of its control plane
	tag   string // tag of etcd's image
	// workers are nodes besides: of user clusters' members each has one of its own.
	workers int
}

// main is what most tests share; the others are there for what only they have.
var (
	mainKind  = kind{"main", 1, "3.6.8-0", 0}
	oldKind   = kind{"old", 1, "3.5.35-0", 0}
	newKind   = kind{"new", 1, "3.7.3-0", 0}
	shellKind = kind{"shell", 1, "3.6.8-0-sh", 0}
	haKind    = kind{"ha", 3, "3.6.8-0", 0}
	userKind  = kind{"user", 1, "3.6.8-0", 3}
)

// cluster is a running kind cluster.
type cluster struct {
	kind
	kubeconfig string
	context    string // its name in the kubeconfig
	full       string // its name for kind
}

// pool makes clusters when they are asked for. The main one stays to the end; of the others there is one at a time, and
// one more may be in the making.
type pool struct {
	live  []*cluster
	begun map[kind]*making
}

// making is a cluster that is not ready yet.
type making struct {
	done       chan struct{} // closed when the rest is known
	kubeconfig string
	took       time.Duration
	err        error
}

var clusters = pool{begun: map[kind]*making{}}

func (k kind) full() string { return "e2e-" + k.name }

// borrowed is the kubeconfig of a cluster that the developer lends.
func (k kind) borrowed() string { return os.Getenv("E2E_CLUSTER_" + strings.ToUpper(k.name)) }

// get waits for a cluster of that kind. Tests that run in parallel ask before they say so.
func (p *pool) get(t testing.TB, k kind) *cluster {
	t.Helper()
	if i := slices.IndexFunc(p.live, func(c *cluster) bool { return c.kind == k }); i >= 0 {
		return p.live[i]
	}
	if k != mainKind {
		for _, c := range slices.Clone(p.live) {
			p.drop(t.Context(), c)
		}
	}
	c := &cluster{kind: k, full: k.full(), kubeconfig: k.borrowed()}
	if c.kubeconfig == "" {
		m := p.start(testContext(t), k)
		<-m.done
		delete(p.begun, k)
		if m.err != nil {
			t.Fatalf("make cluster %s: %v", c.full, m.err)
		}
		c.kubeconfig = m.kubeconfig
		t.Logf("cluster %s: %.0f s", c.full, m.took.Seconds())
	}
	p.live = append(p.live, c)
	c.context = strings.TrimSpace(c.kubectl(t, "config", "current-context"))
	c.full = strings.TrimPrefix(c.context, "kind-")
	return c
}

// begin makes a cluster that a later test will ask for, while this one waits for other things. Where only some tests
// run, nobody may ask.
func (p *pool) begin(t testing.TB, k kind) {
	if flag.Lookup("test.run").Value.String() == "" && k.borrowed() == "" {
		p.start(testContext(t), k)
	}
}

func (p *pool) start(ctx context.Context, k kind) *making {
	if m := p.begun[k]; m != nil {
		return m
	}
	m := &making{done: make(chan struct{})}
	p.begun[k] = m
	go func() {
		defer close(m.done)
		start := time.Now()
		var out string
		out, m.err = output(ctx, nil, filepath.Join(root, "hack", "testbed", "cluster.sh"), k.full(), fmt.Sprint(k.nodes), k.tag, fmt.Sprint(k.workers))
		m.kubeconfig, m.took = strings.TrimSpace(out), time.Since(start)
	}()
	return m
}

// drop deletes a cluster that no test will ask for again; never the main one.
func (p *pool) drop(ctx context.Context, c *cluster) {
	if c.kind != mainKind {
		c.delete(ctx)
		p.live = slices.DeleteFunc(p.live, func(l *cluster) bool { return l == c })
	}
}

func (p *pool) clean(ctx context.Context) {
	for _, c := range p.live {
		c.delete(ctx)
	}
	for k, m := range p.begun {
		<-m.done
		(&cluster{kind: k, full: k.full()}).delete(ctx)
	}
}

func (c *cluster) delete(ctx context.Context) {
	if c.borrowed() != "" || os.Getenv("KEEP") != "" {
		return
	}
	if _, err := output(ctx, nil, filepath.Join(root, "hack", "testbed", "clean.sh"), c.full); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

// node is the name of a control plane node, which is also its container's.
func (c *cluster) node() string { return c.full + "-control-plane" }

// kubectl runs kubectl with the cluster's own administrator, not through any proxy.
func (c *cluster) kubectl(t testing.TB, args ...string) string {
	t.Helper()
	out, err := c.tryKubectl(t, nil, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (c *cluster) tryKubectl(t testing.TB, stdin []byte, args ...string) (string, error) {
	return output(testContext(t), stdin, "kubectl", append([]string{"--kubeconfig", c.kubeconfig}, args...)...)
}

func (c *cluster) apply(t testing.TB, manifest string) {
	t.Helper()
	if _, err := c.tryKubectl(t, []byte(manifest), "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
}

// inNode runs a shell command on a node.
func (c *cluster) inNode(t testing.TB, node, script string) string {
	t.Helper()
	out, err := output(testContext(t), nil, "docker", "exec", node, "sh", "-c", script)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// testContext outlives the test's own context, which is over when its cleanups run.
func testContext(t testing.TB) context.Context { return context.WithoutCancel(t.Context()) }

// eventually waits for a condition; the last error says why it is not met.
func eventually(t testing.TB, limit time.Duration, what string, cond func() error) {
	t.Helper()
	if err := within(limit, cond); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// within waits for a condition for so long, and returns why it is not met then.
func within(limit time.Duration, cond func() error) error {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		err := cond()
		if err == nil {
			return nil
		}
		select {
		case <-deadline.C:
			return fmt.Errorf("not after %s: %w", limit, err)
		case <-tick.C:
		}
	}
}

// nothingLeft checks that the plugin left neither pods nor ConfigMaps in a namespace.
func (c *cluster) nothingLeft(t testing.TB, namespace string) {
	t.Helper()
	eventually(t, 30*time.Second, "no utility pod and no ConfigMap in "+namespace, func() error {
		out, err := c.tryKubectl(t, nil, "-n", namespace, "get", "pods,configmaps", "-l", "app.kubernetes.io/managed-by=kubectl-etcd", "-o", "name")
		if err != nil {
			return err
		}
		if out != "" {
			return fmt.Errorf("left: %s", out)
		}
		return nil
	})
}
