// suites runs test suites one after the other, says how each goes, and ends with the sum over all of them:
//
//	suites [-run REGEXP] [-load N] NAME...
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
	"sync"
	"syscall"
	"time"
)

// suite is one `go test` run.
type suite struct {
	name  string
	about string
	dir   string // of its module
	args  []string
	// beside the suite before it: it waits most of the time, for links that are stalled on purpose.
	beside bool
	// cgo: it is what the race detector links with. Without a compiler the suite fails.
	cgo bool
	// longer are tests that run only when they are asked for by name, and in `make e2e-full`: those of what others stand on, large
	// and slow transfers, variants and faults that take their time.
	longer string
}

// races are the packages that start goroutines. Of the restores' tests the longest are left out: they wait most of the time, for what
// the others do, too.
var races = []string{"-race", "-p=4", "-parallel=4", "-timeout=15m", "-skip=^(TestInterrupted|TestStatic|TestReplace[A-Z]|TestTakeBack|TestStagedLate|TestDiffers)",
	"./test/operations", "./pkg/restore/...", "./pkg/site", "./pkg/member", "./pkg/agent", "./pkg/backup", "./pkg/store/s3", "./pkg/catalog", "./pkg/etcd", "./pkg/operation", "./pkg/plan", "./pkg/reach", "./pkg/survey", "./pkg/keys", "./hack/suites"}

var suites = []suite{
	// The package that takes longest begins first. More packages and tests run at the same time than there are processors: most
	// of it is waiting for members to elect, to notice, and to start.
	{name: "unit", about: "packages, with real etcd processes and real files", dir: ".", args: []string{"-p=4", "-parallel=4", "-timeout=15m", "./test/operations", "./..."}},
	{name: "streaming", about: "transfers against the real streaming server code, in one process", dir: "test/streaming", args: []string{"-timeout=15m", "./..."}, beside: true},
	{name: "race", about: "what starts goroutines, under the race detector", dir: ".", args: races, cgo: true},
	{name: "dist", about: "a release archive: the same twice, unpacks, runs, fits its manifest", dir: ".", args: []string{"-count=1", "-timeout=15m", "-tags=dist", "-run=^TestRelease", "./hack/dist"}},
	{name: "e2e", about: "real kind clusters, from end to end", dir: ".", args: []string{"-count=1", "-timeout=75m", "-tags=e2e", "./test/e2e/..."}, longer: "^(TestUserCluster|TestBig|TestSlow|TestStage|TestOlderKubernetes|TestRestore(Long|Variants|Ways|Interrupted|HotInterrupted))"},
}

func main() {
	pattern := flag.String("run", "", "run only the tests that match")
	busy := flag.Int("load", 0, "run beside so many busy loops: what depends on luck on a busy machine fails then")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	idle := load(*busy)
	ok, err := runAll(ctx, flag.Args(), *pattern)
	idle()
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
	p := &printer{w: os.Stdout, started: time.Now()}
	var total counts
	ok = true
	for _, group := range groups(chosen) {
		got, fine := runGroup(ctx, group, pattern, p)
		total.add(got)
		ok = ok && fine
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

// groups are the suites that run at the same time.
func groups(chosen []suite) [][]suite {
	var out [][]suite
	for i, s := range chosen {
		if i > 0 && s.beside {
			out[len(out)-1] = append(out[len(out)-1], s)
		} else {
			out = append(out, []suite{s})
		}
	}
	return out
}

func runGroup(ctx context.Context, group []suite, pattern string, p *printer) (total counts, ok bool) {
	type end struct {
		got counts
		ran bool
	}
	ends := make([]end, len(group))
	var wg sync.WaitGroup
	for i, s := range group {
		p.line("=== %s: %s", s.name, s.about)
		at := time.Now()
		wg.Go(func() {
			ends[i].got, ends[i].ran = s.run(ctx, pattern, p)
			p.line("=== %s: %s in %s", s.name, ends[i].got, time.Since(at).Round(time.Second))
		})
	}
	wg.Wait()
	ok = true
	for _, e := range ends {
		total.add(e.got)
		ok = ok && e.ran && e.got.failed == 0
	}
	return total, ok
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
