// bench compares ways to get a snapshot out of a kind cluster, in one run: the
// floor (etcdctl inside the member), what operators do today (etcdctl, then
// kubectl cp through a pod with tar), and kubectl etcd by each of its ways.
//
//	bench -cluster bench -kubeconfig FILE -sizes 256Mi,1Gi,2Gi -rounds 3
//
// It prints Markdown: medians, ratios to the floor, CPU seconds of the node and
// of the client, bytes on the wire, peak memory of client and agent. The ways
// take turns within a round, so that a machine that slows down slows all.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	var (
		cluster    = flag.String("cluster", "bench", "kind cluster with one node whose etcd image has a shell")
		kubeconfig = flag.String("kubeconfig", os.Getenv("KUBECONFIG"), "its kubeconfig")
		plugin     = flag.String("plugin", "bin/kubectl-etcd", "the plugin")
		sizes      = flag.String("sizes", "256Mi,1Gi,2Gi", "database sizes, in this order")
		full       = flag.String("full", "1Gi", "the size at which every way is measured; at the others only ours")
		only       = flag.String("ways", "", "measure only the ways whose name matches this expression")
		rounds     = flag.Int("rounds", 3, "rounds after one warm-up")
	)
	flag.Parse()
	dir, err := os.MkdirTemp("", "kubectl-etcd-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	b := &bench{node: *cluster + "-control-plane", kubeconfig: *kubeconfig, dir: dir, rounds: *rounds}
	if b.plugin, err = filepath.Abs(*plugin); err != nil {
		return err
	}
	if err := b.prepare(ctx); err != nil {
		return err
	}
	stop, err := b.serveS3(ctx)
	if err != nil {
		return err
	}
	defer stop()
	fmt.Printf("Measured %s on %d processors, medians of %d rounds after a warm-up.\n", time.Now().UTC().Format("2006-01-02"), cpus(), *rounds)
	for _, s := range strings.Split(*sizes, ",") {
		q, err := resource.ParseQuantity(s)
		if err != nil {
			return fmt.Errorf("parse size %q: %w", s, err)
		}
		if err := b.fill(ctx, q.Value()); err != nil {
			return err
		}
		ways := b.ours()
		if s == *full {
			ways = append(b.floor(), append(b.today(), append(append(ways, b.others()...), b.stores()...)...)...)
		}
		if ways, err = pick(ways, *only); err != nil {
			return err
		}
		if err := b.measure(ctx, s, ways); err != nil {
			return err
		}
	}
	return b.help(ctx)
}

func pick(ways []way, only string) ([]way, error) {
	re, err := regexp.Compile(only)
	if err != nil {
		return nil, fmt.Errorf("parse -ways: %w", err)
	}
	return slices.DeleteFunc(ways, func(w way) bool { return !re.MatchString(w.name) }), nil
}
