//go:build e2e && bench

package e2e

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dustin/go-humanize"
	"k8s.io/apimachinery/pkg/api/resource"
)

// TestOpenBench measures how long it takes until kubectl can be used on a snapshot, here and in a pod, and what memory that takes.
//
//	BENCH_OPEN_SIZES   64Mi,1Gi         sizes of the database, in this order, smallest first
//	BENCH_OPEN_REPORT  standard output  file for the table
func TestOpenBench(t *testing.T) {
	c := clusters.get(t, stacked1)
	defer clusters.drop(t.Context(), c)
	b := newStaticBench(t, c)
	programs := filepath.Join(testbed, "bin", "etcd-"+minor(c.tag))
	var report strings.Builder
	fmt.Fprintf(&report, "Measured %s.\n\n", time.Now().UTC().Format("2006-01-02"))
	report.WriteString("| database | where | open after | memory announced | memory used |\n|---|---|---|---|---|\n")
	for _, size := range strings.Split(cmp.Or(os.Getenv("BENCH_OPEN_SIZES"), "64Mi,1Gi"), ",") {
		q, err := resource.ParseQuantity(size)
		if err != nil {
			t.Fatalf("parse size %q: %v", size, err)
		}
		fillTo(t, b.client, b.endpoint, q.Value(), func(n int) { fillEtcd(t, b.client, n, true) })
		r := b.etcd(t, "backup", "--to", "a.db", "--compress=none").exits(0)
		for _, in := range []string{"local", "pod"} {
			args := []string{"open", filepath.Join(r.dir, "a.db"), "--in=" + in}
			if in == "local" {
				args = append(args, "--etcd", programs+"/etcd", "--etcdutl", programs+"/etcdutl")
			}
			p := start(t, b.kubeconfig, "", args...)
			p.err.shows(t, 5*time.Minute, `^open after`)
			said := regexp.MustCompile(`(?s)about (\S+ \SiB) of memory.*open after (\S+ s)`).FindStringSubmatch(p.err.String())
			if said == nil {
				t.Fatal(p.err.String())
			}
			taken := "-"
			if in == "local" {
				taken = memoryBelow(p.cmd.Process.Pid)
			}
			p.signal(syscall.SIGINT)
			p.wait()
			fmt.Fprintf(&report, "| %s | %s | %s | %s | %s |\n", size, in, said[2], said[1], taken)
		}
	}
	if file := os.Getenv("BENCH_OPEN_REPORT"); file != "" {
		if err := os.WriteFile(file, []byte(report.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	fmt.Print(report.String())
}

// memoryBelow is the sum of the peaks of what a process's children had of memory.
func memoryBelow(pid int) string {
	total := 0
	children, _ := filepath.Glob("/proc/[0-9]*/status")
	for _, file := range children {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		value := func(name string) (n int) {
			_, rest, _ := strings.Cut(string(text), "\n"+name+":")
			_, _ = fmt.Sscan(rest, &n)
			return n
		}
		if value("PPid") == pid {
			total += value("VmHWM") << 10
		}
	}
	return humanize.IBytes(uint64(total))
}
