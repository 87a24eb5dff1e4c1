// suites runs test suites one after the other, says how each goes, and ends with the sum over all of them:
//
//	suites [-run REGEXP] NAME...
//
// The last line is always "N passed, N failed, N skipped". It counts leaves: a test with subtests is its subtests.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// suite is one `go test` run.
type suite struct {
	name  string
	about string
	dir   string // of its module
	args  []string
}

var suites = []suite{
	{"unit", "packages, with real etcd processes and real files", ".", []string{"-timeout=15m", "./..."}},
	{"streaming", "transfers against the real streaming server code, in one process", "test/streaming", []string{"-timeout=15m", "./..."}},
	{"dist", "a release archive: the same twice, unpacks, runs, fits its manifest", ".", []string{"-count=1", "-timeout=15m", "-tags=dist", "-run=^TestRelease", "./hack/dist"}},
	{"e2e", "real kind clusters, from end to end", ".", []string{"-count=1", "-timeout=40m", "-tags=e2e", "./test/e2e/..."}},
}

func main() {
	pattern := flag.String("run", "", "run only the tests that match")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ok, err := runAll(ctx, flag.Args(), *pattern)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "suites:", err)
		os.Exit(2)
	}
	if !ok {
		os.Exit(1)
	}
}

func runAll(ctx context.Context, names []string, pattern string) (ok bool, err error) {
	chosen, err := choose(names)
	if err != nil {
		return false, err
	}
	started := time.Now()
	var total counts
	ok = true
	for _, s := range chosen {
		at := time.Now()
		fmt.Printf("=== %s: %s\n", s.name, s.about)
		got, ran := s.run(ctx, pattern, &printer{w: os.Stdout, started: started})
		total.add(got)
		ok = ok && ran && got.failed == 0
		fmt.Printf("=== %s: %s in %s\n", s.name, got, time.Since(at).Round(time.Second))
		if ctx.Err() != nil {
			fmt.Println("interrupted")
			ok = false
			break
		}
	}
	if total.passed+total.failed == 0 {
		fmt.Println("no test ran")
		ok = false
	}
	fmt.Println(total)
	return ok, nil
}

func choose(names []string) ([]suite, error) {
	var out []suite
	for _, n := range names {
		i := slices.IndexFunc(suites, func(s suite) bool { return s.name == n })
		if i < 0 {
			return nil, fmt.Errorf("no suite %q", n)
		}
		out = append(out, suites[i])
	}
	if len(out) == 0 {
		var have []string
		for _, s := range suites {
			have = append(have, s.name)
		}
		return nil, fmt.Errorf("name suites: %s", strings.Join(have, ", "))
	}
	return out, nil
}
