//go:build e2e && bench

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"text/template"
	"time"
)

// byHand is the restore of three members as a vendor's documentation has it, command by command, without the time in
// which an operator reads, types and looks. What it lacks where the members are alive is added, each time so that it
// costs the least: such steps say so.
type byHand struct {
	u        *user
	snapshot string // file
	dir      string // for manifests
	log      strings.Builder
}

// perform runs it to where the user cluster's API answers and the budget is back.
func (b *byHand) perform(t testing.TB) {
	b.step(t, "save and delete the budget", b.takeBudget)
	b.step(t, "stop the API servers and the maintenance", b.stopWriters)
	b.step(t, "stop etcd", b.stopEtcd)
	for i := range b.u.Members {
		b.step(t, fmt.Sprintf("utility pod of member %d", i), func(t testing.TB) { b.startPod(t, i) })
		b.step(t, "copy the snapshot in", func(t testing.TB) {
			b.u.kubectl(t, "cp", b.snapshot, fmt.Sprintf("etcd-utility-%d:/snapshot.db", i))
		})
		b.step(t, "restore it", func(t testing.TB) { b.inPod(t, i, b.restoreCommand(i)...) })
		b.step(t, "replace the data", func(t testing.TB) {
			b.inPod(t, i, "sh", "-c", fmt.Sprintf("rm -r /var/lib/etcd/* && cp -r /%s.etcd/* /var/lib/etcd/", b.u.pod(i)))
		})
		b.step(t, "delete the utility pod", func(t testing.TB) { b.u.kubectl(t, "delete", "pod", fmt.Sprintf("etcd-utility-%d", i)) })
	}
	b.step(t, "start etcd", b.startEtcd)
	b.step(t, "start the API servers and the maintenance", b.startWriters)
	b.step(t, "wait until the API answers", func(t testing.TB) { b.u.answers(t) })
	b.step(t, "put the budget back", func(t testing.TB) { b.u.kubectl(t, "apply", "-f", filepath.Join(b.dir, "budget.yaml")) })
}

func (b *byHand) step(t testing.TB, what string, do func(testing.TB)) {
	t.Helper()
	start := time.Now()
	do(t)
	fmt.Fprintf(&b.log, "%7.1f s  %s\n", time.Since(start).Seconds(), what)
}

func (b *byHand) takeBudget(t testing.TB) {
	saved := b.u.kubectl(t, "get", "poddisruptionbudget", "kube-apiserver-pdb", "-o", "yaml")
	if err := os.WriteFile(filepath.Join(b.dir, "budget.yaml"), []byte(saved), 0o600); err != nil {
		t.Fatal(err)
	}
	b.u.kubectl(t, "delete", "poddisruptionbudget", "kube-apiserver-pdb")
}

func (b *byHand) stopWriters(t testing.TB) {
	b.u.kubectl(t, "scale", "statefulset/kube-apiserver", "deployment/gke-master-etcd-maintenance", "--replicas=0")
	b.gone(t, "app in (kube-apiserver, gke-master-etcd-maintenance)")
}

// stopEtcd is added: the documentation is for members that crash. One that is alive would write into the files that are
// swapped, and the first one with new data would join those with old data, since the cluster token is the same.
func (b *byHand) stopEtcd(t testing.TB) {
	b.u.kubectl(t, "scale", "statefulset/kube-etcd", "--replicas=0")
	b.gone(t, "app=kube-etcd")
}

func (b *byHand) gone(t testing.TB, selector string) {
	b.u.kubectl(t, "wait", "--for=delete", "pods", "-l", selector, "--timeout=3m")
}

func (b *byHand) startPod(t testing.TB, i int) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "byhand.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	err = template.Must(template.New("byhand").Parse(string(text))).Execute(&out, map[string]string{
		"Member": strconv.Itoa(i), "Namespace": b.u.Namespace, "Node": b.u.Volumes[i], "Image": b.u.ShellImage(), "Secret": b.u.EtcdSecret(),
	})
	if err != nil {
		t.Fatal(err)
	}
	b.u.c.apply(t, out.String())
	b.u.kubectl(t, "wait", "--for=condition=Ready", fmt.Sprintf("pod/etcd-utility-%d", i), "--timeout=2m")
}

// restoreCommand makes a folder that is called as the member, with ".etcd" behind. It is etcdutl's: etcd 3.6 has it no
// more in etcdctl.
func (b *byHand) restoreCommand(i int) []string {
	name := b.u.pod(i)
	return []string{"etcdutl", "snapshot", "restore", "/snapshot.db", "--name=" + name, "--initial-cluster=" + b.u.InitialCluster(),
		"--initial-cluster-token=etcd-cluster-1", fmt.Sprintf("--initial-advertise-peer-urls=https://%s.kube-etcd:2380", name)}
}

func (b *byHand) inPod(t testing.TB, i int, command ...string) {
	t.Helper()
	b.u.kubectl(t, append([]string{"exec", fmt.Sprintf("etcd-utility-%d", i), "--"}, command...)...)
}

// startEtcd restarts the StatefulSet while it has no pods, so that its members start at once, and not one after the other.
func (b *byHand) startEtcd(t testing.TB) {
	b.u.kubectl(t, "rollout", "restart", "statefulset/kube-etcd")
	b.u.kubectl(t, "scale", "statefulset/kube-etcd", fmt.Sprintf("--replicas=%d", b.u.Members)) // added, see stopEtcd
}

func (b *byHand) startWriters(t testing.TB) {
	b.u.kubectl(t, "scale", "statefulset/kube-apiserver", fmt.Sprintf("--replicas=%d", b.u.APIServers))
	b.u.kubectl(t, "scale", "deployment/gke-master-etcd-maintenance", "--replicas=1")
}
