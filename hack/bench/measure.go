package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// way is one way to get a snapshot.
type way struct {
	name string
	run  func(ctx context.Context, b *bench, s *sample) error
}

// sample is one run of a way.
type sample struct {
	wall      time.Duration
	client    time.Duration // CPU of the processes on this side
	node      time.Duration // CPU of the node's container, all its pods included
	wire      int64         // bytes
	clientRSS int64         // bytes
	agentRSS  int64
}

// step runs one command and adds what it used.
func (b *bench) step(ctx context.Context, s *sample, name string, args ...string) ([]byte, error) {
	c := b.command(ctx, name, args...)
	var errOut strings.Builder
	c.Stderr = &errOut
	out, err := c.Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, errOut.String())
	}
	u := c.ProcessState.SysUsage().(*syscall.Rusage)
	s.client += c.ProcessState.UserTime() + c.ProcessState.SystemTime()
	s.clientRSS = max(s.clientRSS, u.Maxrss<<10)
	return out, nil
}

const inMember = "/var/lib/etcd/bench.db"

func save(ctx context.Context, b *bench, s *sample) error {
	_, err := b.step(ctx, s, "kubectl", append(b.etcdctl(), "snapshot", "save", inMember)...)
	return err
}

func (b *bench) floor() []way {
	return []way{
		{"`etcdctl snapshot save` in the member", save},
		{"the same, then `etcdutl snapshot status`", func(ctx context.Context, b *bench, s *sample) error {
			if err := save(ctx, b, s); err != nil {
				return err
			}
			_, err := b.step(ctx, s, "kubectl", "-n", "kube-system", "exec", "etcd-"+b.node, "--", "etcdutl", "snapshot", "status", inMember)
			return err
		}},
	}
}

func (b *bench) today() []way {
	return []way{{"today: `snapshot save`, then `kubectl cp`", func(ctx context.Context, b *bench, s *sample) error {
		to := filepath.Join(b.dir, "cp.db")
		defer func() { _ = os.Remove(to) }()
		return b.copied(ctx, s, to)
	}}}
}

// copied saves in the member, and copies that to a file here.
func (b *bench) copied(ctx context.Context, s *sample, to string) error {
	if err := save(ctx, b, s); err != nil {
		return err
	}
	if _, err := b.step(ctx, s, "kubectl", "-n", "kube-system", "cp", "--retries=3", "tar:/data/bench.db", to); err != nil {
		return err
	}
	info, err := os.Stat(to)
	if err == nil {
		s.wire = info.Size()
	}
	return err
}

func (b *bench) ours() []way { return []way{b.plugged("kubectl etcd backup (agent)", "--via=agent")} }

func (b *bench) others() []way {
	direct := []string{"--via=direct", "--endpoint=" + b.endpoint, "--cacert=" + filepath.Join(b.dir, "ca.crt"),
		"--cert=" + filepath.Join(b.dir, "healthcheck-client.crt"), "--key=" + filepath.Join(b.dir, "healthcheck-client.key")}
	return []way{
		b.plugged("… --compress=zstd (file too)", "--via=agent", "--compress=zstd"),
		b.plugged("… --compress=none", "--via=agent", "--compress=none"),
		b.plugged("… --prove=stream", "--via=agent", "--prove=stream"),
		b.plugged("kubectl etcd backup --via=exec", "--via=exec"),
		b.plugged("kubectl etcd backup --via=direct", direct...),
	}
}

func (b *bench) plugged(name string, args ...string) way {
	return way{name, func(ctx context.Context, b *bench, s *sample) error {
		dir := filepath.Join(b.dir, "out")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		out, err := b.step(ctx, s, b.plugin, append([]string{"backup", "-q", "-o", "json", "--to", dir}, args...)...)
		if err != nil {
			return err
		}
		var r struct {
			WireBytes, AgentPeakRSS int64
		}
		if err := json.Unmarshal(out, &r); err != nil {
			return err
		}
		s.wire, s.agentRSS = r.WireBytes, r.AgentPeakRSS
		return nil
	}}
}

func (b *bench) measure(ctx context.Context, size string, ways []way) error {
	samples := make([][]sample, len(ways))
	for round := range b.rounds + 1 {
		for i, w := range ways {
			var s sample
			before, err := b.nodeCPU(ctx)
			if err != nil {
				return err
			}
			start := time.Now()
			if err := w.run(ctx, b, &s); err != nil {
				return fmt.Errorf("%s: %w", w.name, err)
			}
			s.wall = time.Since(start)
			after, err := b.nodeCPU(ctx)
			if err != nil {
				return err
			}
			s.node = after - before
			fmt.Fprintf(os.Stderr, "%s round %d: %s: %.1f s\n", size, round, w.name, s.wall.Seconds())
			if round > 0 {
				samples[i] = append(samples[i], s)
			}
		}
	}
	b.print(size, ways, samples)
	return nil
}

// nodeCPU is what the node's container has used so far.
func (b *bench) nodeCPU(ctx context.Context) (time.Duration, error) {
	id, err := b.must(ctx, "docker", "inspect", "-f", "{{.Id}}", b.node)
	if err != nil {
		return 0, err
	}
	name := strings.TrimSpace(string(id))
	for _, p := range []string{"/sys/fs/cgroup/cpuacct/docker/" + name + "/cpuacct.usage"} {
		if raw, err := os.ReadFile(p); err == nil {
			n, err := strconv.ParseInt(strings.TrimSpace(string(raw)), 10, 64)
			return time.Duration(n), err
		}
	}
	for _, p := range []string{"/sys/fs/cgroup/system.slice/docker-" + name + ".scope/cpu.stat", "/sys/fs/cgroup/docker/" + name + "/cpu.stat"} {
		if raw, err := os.ReadFile(p); err == nil {
			for line := range strings.Lines(string(raw)) {
				if v, ok := strings.CutPrefix(line, "usage_usec "); ok {
					n, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
					return time.Duration(n) * time.Microsecond, err
				}
			}
		}
	}
	return 0, fmt.Errorf("find the CPU account of container %s", name)
}

func median[T int64 | time.Duration](samples []sample, get func(sample) T) T {
	var v []T
	for _, s := range samples {
		v = append(v, get(s))
	}
	slices.Sort(v)
	return v[len(v)/2]
}

func (b *bench) print(size string, ways []way, samples [][]sample) {
	wall := func(s sample) time.Duration { return s.wall }
	fmt.Printf("\n### %s\n\n| way | wall | × save | × save + status | × today | node CPU | client CPU | wire | client memory | agent memory |\n|---|---|---|---|---|---|---|---|---|---|\n", size)
	all := len(ways) > 1
	for i, w := range ways {
		m := median(samples[i], wall)
		ratio := func(j int) string {
			if !all || j == i || j >= len(ways) {
				return "–"
			}
			return fmt.Sprintf("%.2f", m.Seconds()/median(samples[j], wall).Seconds())
		}
		mib := func(n int64) string {
			if n == 0 {
				return "–"
			}
			return fmt.Sprintf("%d MiB", n>>20)
		}
		fmt.Printf("| %s | %.1f s | %s | %s | %s | %.1f s | %.1f s | %s | %s | %s |\n", w.name, m.Seconds(), ratio(0), ratio(1), ratio(2),
			median(samples[i], func(s sample) time.Duration { return s.node }).Seconds(),
			median(samples[i], func(s sample) time.Duration { return s.client }).Seconds(),
			mib(median(samples[i], func(s sample) int64 { return s.wire })),
			mib(median(samples[i], func(s sample) int64 { return s.clientRSS })),
			mib(median(samples[i], func(s sample) int64 { return s.agentRSS })))
	}
}

// help measures how quickly the plugin answers at all.
func (b *bench) help(ctx context.Context) error {
	var walls []sample
	for range 11 {
		start := time.Now()
		if _, err := b.must(ctx, b.plugin, "--help"); err != nil {
			return err
		}
		walls = append(walls, sample{wall: time.Since(start)})
	}
	info, err := os.Stat(b.plugin)
	if err != nil {
		return err
	}
	fmt.Printf("\n`kubectl etcd --help`: %d ms (median of 11). Plugin binary: %.1f MB.\n",
		median(walls, func(s sample) time.Duration { return s.wall }).Milliseconds(), float64(info.Size())/1e6)
	return nil
}
