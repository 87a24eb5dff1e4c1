//go:build e2e && bench

package e2e

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/client-go/tools/clientcmd"
)

// TestStaticBench measures restores of a cluster's own etcd, with one control plane node and with three, while a writer and an informer are at work
// through the cluster's load balancer: ours, and by hand, in turn, for each size of the database.
//
//	BENCH_STATIC_SIZES   64Mi,1Gi         sizes of the database, in this order, smallest first
//	BENCH_STATIC_ROUNDS  1                rounds for each; the table has medians
//	BENCH_STATIC_REPORT  standard output  file for the table
func TestStaticBench(t *testing.T) {
	sizes := strings.Split(cmp.Or(os.Getenv("BENCH_STATIC_SIZES"), "64Mi,1Gi"), ",")
	rounds, err := strconv.Atoi(cmp.Or(os.Getenv("BENCH_STATIC_ROUNDS"), "1"))
	if err != nil || rounds < 1 {
		t.Fatalf("BENCH_STATIC_ROUNDS is no number above 0: %v", err)
	}
	var report strings.Builder
	fmt.Fprintf(&report, "Measured %s, medians of %d.\n\n", time.Now().UTC().Format("2006-01-02"), rounds)
	report.WriteString("| control plane nodes | database | way | outage | total | outage / by hand | informer true again |\n|---|---|---|---|---|---|---|\n")
	for _, k := range []kind{stacked1, stacked3} {
		t.Run(strconv.Itoa(k.nodes), func(t *testing.T) {
			b := newStaticBench(t, clusters.get(t, k))
			defer clusters.drop(t.Context(), b.cluster)
			for _, s := range sizes {
				q, err := resource.ParseQuantity(s)
				if err != nil {
					t.Fatalf("parse size %q: %v", s, err)
				}
				b.size(t, &report, s, q.Value(), rounds)
			}
		})
	}
	if file := os.Getenv("BENCH_STATIC_REPORT"); file != "" {
		err = os.WriteFile(file, []byte(report.String()), 0o600)
	} else {
		_, err = fmt.Print(report.String())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// staticBench is a cluster whose own etcd is restored again and again.
type staticBench struct {
	stacked
	client   *clientv3.Client // past the API servers
	endpoint string
	bump     int64 // of the last restore by hand: each is above all before it, or API servers would show what is not so
}

func newStaticBench(t testing.TB, c *cluster) *staticBench {
	t.Helper()
	b := &staticBench{stacked: stacked{cluster: c, files: map[string]string{}}, endpoint: "https://" + c.nodeIP(t) + ":2379"}
	for _, n := range c.controlPlane() {
		b.files[n] = b.manifests(t, n)
	}
	const pki = "cat /etc/kubernetes/pki/etcd/"
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(c.inNode(t, c.node(), pki+"ca.crt")))
	certificate, err := tls.X509KeyPair([]byte(c.inNode(t, c.node(), pki+"server.crt")), []byte(c.inNode(t, c.node(), pki+"server.key")))
	if err != nil {
		t.Fatal(err)
	}
	b.client, err = clientv3.New(clientv3.Config{Endpoints: []string{b.endpoint}, DialTimeout: 20 * time.Second, Logger: zap.NewNop(),
		TLS: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{certificate}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.client.Close() })
	return b
}

// staticRun is one restore.
type staticRun struct{ outage, total, converged time.Duration }

func (b *staticBench) size(t *testing.T, report *strings.Builder, name string, size int64, rounds int) {
	fillTo(t, b.client, b.endpoint, size, func(n int) { fillEtcd(t, b.client, n, true) })
	cfg, err := clientcmd.BuildConfigFromFlags("", b.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	cfg.QPS = -1 // the pace is the test's
	w := writeTo(t, cfg, nil)
	defer w.end()
	w.writes(t, enoughFresh)
	taken := b.etcd(t, "backup", "--to", "a.db", "--compress=none").exits(0)
	b.snapshot = filepath.Join(taken.dir, "a.db")
	runs := map[string][]staticRun{}
	ways := []struct {
		name    string
		perform func(testing.TB)
	}{{cold, b.plugin}, {handWay, b.byHand}}
	for range rounds {
		for _, way := range ways {
			b.calm(t)
			b.ready(t)
			v := watchAt(t, cfg, nil)
			w.writes(t, enoughFresh)
			began := time.Now()
			way.perform(t)
			run := staticRun{total: time.Since(began)}
			w.writes(t, enoughFresh)
			gap := longestGap(w.all(), began)
			run.outage = gap.end.Sub(gap.begin)
			back := time.Now()
			stale := within(patience, func() error {
				return agreed(t.Context(), b.client, func(context.Context) (versions, error) { return v.cached(), nil })
			})
			run.converged = time.Since(back)
			t.Logf("%s %s: outage %.1f s, total %.1f s, informer after %.1f s: %v", name, way.name, run.outage.Seconds(), run.total.Seconds(), run.converged.Seconds(), stale)
			if way.name == cold && stale != nil {
				t.Errorf("the informer does not converge: %v", stale)
			}
			runs[way.name] = append(runs[way.name], run)
			if way.name == cold { // by hand, utility pods come back with the snapshot
				b.sound(t)
				b.clean(t)
			}
		}
	}
	median := func(way string, of func(staticRun) time.Duration) time.Duration {
		var all []time.Duration
		for _, r := range runs[way] {
			all = append(all, of(r))
		}
		slices.Sort(all)
		return all[len(all)/2]
	}
	outage := func(r staticRun) time.Duration { return r.outage }
	for _, way := range ways {
		fmt.Fprintf(report, "| %d | %s | %s | %s | %s | %.2f | %s |\n", b.nodes, name, way.name, seconds(median(way.name, outage)),
			seconds(median(way.name, func(r staticRun) time.Duration { return r.total })), float64(median(way.name, outage))/float64(median(handWay, outage)),
			seconds(median(way.name, func(r staticRun) time.Duration { return r.converged })))
	}
}

// plugin is what a user types.
func (b *staticBench) plugin(t testing.TB) {
	r := start(t, b.kubeconfig, "", "restore", "--from", b.snapshot, "--yes", "-v").wait().exits(0)
	t.Logf("%s", r.stderr)
}

// byHand is what documentations have, without the time in which an operator reads, types and looks, and nodes one after the other: the snapshot
// is copied to each node before anything is down.
func (b *staticBench) byHand(t testing.TB) {
	b.bump += 2_000_000_000
	var members []string
	peer := map[string]string{}
	for _, n := range b.controlPlane() {
		peer[n] = "https://" + b.address(t, n) + ":2380" // as long as there is an API server
		members = append(members, n+"="+peer[n])
		onEngine(t, "cp", b.snapshot, n+":/root/a.db")
		onEngine(t, "cp", filepath.Join(os.Getenv("ETCD_BINARIES"), "etcd-3.6", "etcdutl"), n+":/usr/local/bin/etcdutl")
	}
	each := func(command string) {
		for _, n := range b.controlPlane() {
			b.inNode(t, n, command)
		}
	}
	each("mkdir -p /root/m && mv /etc/kubernetes/manifests/*.yaml /root/m/")
	each("for i in $(seq 240); do pgrep -x 'etcd|kube-apiserver' >/dev/null || exit 0; sleep .25; done; exit 1")
	for _, n := range b.controlPlane() {
		b.inNode(t, n, fmt.Sprintf("mv /var/lib/etcd/member /root/member.old && etcdutl snapshot restore /root/a.db --data-dir /root/r --name %s --initial-cluster %s --initial-advertise-peer-urls %s "+
			"--bump-revision %d --mark-compacted 2>/dev/null && mv /root/r/member /var/lib/etcd/member && rm -r /root/r", n, strings.Join(members, ","), peer[n], b.bump))
	}
	each("mv /root/m/*.yaml /etc/kubernetes/manifests/")
	eventually(t, 5*time.Minute, "the API server is ready", func() error {
		_, err := b.tryKubectl(t, nil, "get", "--raw", "/readyz")
		return err
	})
	each("rm -r /root/member.old /root/a.db")
}

func (b *staticBench) address(t testing.TB, node string) string {
	t.Helper()
	return b.kubectl(t, "get", "node", node, "-o", `jsonpath={.status.addresses[?(@.type=="InternalIP")].address}`)
}
