//go:build e2e && bench

package e2e

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// benchReport is what was measured, as Markdown.
type benchReport struct {
	kubernetes, etcd string
	rounds           int
	sizes            []benchedSize
}

type benchedSize struct {
	name  string
	bytes int64 // of the snapshot
	runs  map[string][]benchRun
}

// write puts it into a file, or on standard output.
func (r *benchReport) write(file string) error {
	if file == "" {
		_, err := fmt.Print(r.markdown())
		return err
	}
	return os.WriteFile(file, []byte(r.markdown()), 0o600)
}

func (r *benchReport) markdown() string {
	var b strings.Builder
	rounds := "one round"
	if r.rounds > 1 {
		rounds = fmt.Sprintf("medians of %d rounds", r.rounds)
	}
	fmt.Fprintf(&b, "Measured %s: Kubernetes %s, %s, %d processors, %s.\n\n", time.Now().UTC().Format("2006-01-02"), r.kubernetes, r.etcd, runtime.NumCPU(), rounds)
	b.WriteString("| database | way | outage | API servers' own start in it | disturbed | total | outage / by hand | total / by hand | kept of before the snapshot | left of after it | informer true again |\n")
	b.WriteString("|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, s := range r.sizes {
		for _, way := range []string{cold, hot, handWay} {
			if len(s.runs[way]) > 0 {
				b.WriteString(s.row(way))
			}
		}
	}
	b.WriteString("\n| goal | measured | |\n|---|---|---|\n")
	for _, g := range r.goals() {
		b.WriteString(g)
	}
	return b.String()
}

func (s benchedSize) row(way string) string {
	ratio := func(get func(benchRun) time.Duration) string {
		if way == handWay || len(s.runs[handWay]) == 0 {
			return "–"
		}
		return fmt.Sprintf("%.2f", float64(s.median(way, get))/float64(s.median(handWay, get)))
	}
	startUp := "–"
	if d := s.median(way, startOf); d > 0 {
		startUp = seconds(d)
	}
	var before, after kept
	informer := seconds(s.median(way, func(r benchRun) time.Duration { return r.converged }))
	for _, r := range s.runs[way] {
		before.of, before.there = before.of+r.before.of, before.there+r.before.there
		after.of, after.there = after.of+r.after.of, after.there+r.after.there
		if r.stale != nil {
			informer = fmt.Sprintf("not in %s", patience)
		}
	}
	return fmt.Sprintf("| %s (%d MiB) | %s | %s | %s | %s | %s | %s | %s | %d of %d | %d of %d | %s |\n", s.name, s.bytes>>20, way,
		seconds(s.median(way, outageOfRun)), startUp, seconds(s.median(way, func(r benchRun) time.Duration { return r.disturbed })),
		seconds(s.median(way, totalOf)), ratio(outageOfRun), ratio(totalOf), before.there, before.of, after.there, after.of, informer)
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

func outageOfRun(r benchRun) time.Duration { return r.outage }
func totalOf(r benchRun) time.Duration     { return r.total }
func startOf(r benchRun) time.Duration     { return r.startUp }

func (s benchedSize) median(way string, get func(benchRun) time.Duration) time.Duration {
	var all []time.Duration
	for _, r := range s.runs[way] {
		all = append(all, get(r))
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// goals are of the largest size and of its ratio to the smallest.
func (r *benchReport) goals() (out []string) {
	if len(r.sizes) == 0 {
		return nil
	}
	small, large := r.sizes[0], r.sizes[len(r.sizes)-1]
	goal := func(what, measured string, reached bool) {
		out = append(out, fmt.Sprintf("| %s | %s | %s |\n", what, measured, map[bool]string{true: "reached", false: "missed"}[reached]))
	}
	has := func(s benchedSize, way string) bool { return len(s.runs[way]) > 0 }
	if has(large, cold) {
		o := large.median(cold, outageOfRun)
		if has(small, cold) && len(r.sizes) > 1 {
			ratio := float64(o) / float64(small.median(cold, outageOfRun))
			goal(fmt.Sprintf("cold outage at %s ≤ 1.2 × at %s", large.name, small.name), fmt.Sprintf("%.2f", ratio), ratio <= 1.2)
		}
		goal("cold outage at "+large.name+" ≤ 30 s", seconds(o), o <= 30*time.Second)
	}
	for _, s := range r.sizes {
		if has(s, hot) {
			o := s.median(hot, outageOfRun)
			goal("hot outage at "+s.name+" ≤ 5 s", seconds(o), o <= 5*time.Second)
		}
	}
	if has(large, cold) && has(large, handWay) {
		ratio := float64(large.median(cold, totalOf)) / float64(large.median(handWay, totalOf))
		goal("total at "+large.name+" ≤ 0.5 × by hand", fmt.Sprintf("%.2f", ratio), ratio <= 0.5)
		ratio = float64(large.median(cold, outageOfRun)) / float64(large.median(handWay, outageOfRun))
		goal("cold outage at "+large.name+" ≤ 0.6 × by hand", fmt.Sprintf("%.2f", ratio), ratio <= 0.6)
	}
	return out
}
