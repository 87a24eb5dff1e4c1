package restore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/await"
)

// stored is how etcd's keys name a kind, where the API calls it something else.
var stored = map[string]string{"nodes": "minions", "services": "services/specs"}

// countable are the kinds that the API will be asked for.
func countable(objects map[string]int64) map[string]int64 {
	out := map[string]int64{}
	for _, path := range cached {
		kind := kindOf(path)
		name, ok := stored[kind]
		if !ok {
			name = kind
		}
		if n := objects[name]; n > 0 { // others may be kept elsewhere (--etcd-servers-overrides)
			out[kind] = n
		}
	}
	return out
}

// errCompacted says that the revision that was asked for is gone.
var errCompacted = errors.New("etcd has been compacted since")

// Objects counts those of a moment: of each kind only the first is sent. A kind that cannot be counted is left out; an error
// is why none was. API servers before Kubernetes 1.24 count only what is one object or none.
func (k kube) Objects(ctx context.Context, a access, namespace, pod string, port int, rev int64, kinds []string) (map[string]int64, error) {
	u, err := k.userAPI(ctx, a, namespace, pod, port)
	if err != nil {
		return nil, err
	}
	defer u.CloseIdleConnections()
	counts, err := u.count(ctx, rev, kinds)
	if err != nil {
		return nil, fmt.Errorf("ask pod %s: %w", pod, err)
	}
	return counts, nil
}

func (u *userAPI) count(ctx context.Context, rev int64, kinds []string) (map[string]int64, error) {
	counts, last := map[string]int64{}, error(nil)
	first := url.Values{"limit": {"1"}, "resourceVersion": {strconv.FormatInt(rev, 10)}, "resourceVersionMatch": {"Exact"}}
	for _, path := range cached {
		kind := kindOf(path)
		if !slices.Contains(kinds, kind) {
			continue
		}
		list, err := u.list(ctx, path, first)
		switch {
		case err != nil:
			last = fmt.Errorf("%s: %w", path, err)
		case list == nil:
			last = fmt.Errorf("%s: not for this user", path)
		case list.RemainingItemCount != nil:
			counts[kind] = int64(len(list.Items)) + *list.RemainingItemCount
		case list.Continue == "":
			counts[kind] = int64(len(list.Items))
		default:
			last = fmt.Errorf("%s: it does not say how many more there are", path)
		}
	}
	if len(counts) == 0 {
		return nil, last
	}
	return counts, nil
}

// countFor is how long an API server may be too busy to count.
var countFor = 15 * time.Second

// count compares what an API server of the restored cluster shows, at the very revision that was restored, with what the
// snapshot has. What cannot be asked is told, and stops nothing.
func (r *run) count(ctx context.Context) error {
	r.sh.Miscounted = "" // what an earlier try found
	want := r.sh.Snapshot.Objects
	if len(want) == 0 {
		return nil
	}
	var got map[string]int64
	err := await.Until(ctx, countFor, "an API server counts its objects", func(ctx context.Context) (_ string, _ bool, err error) {
		got, err = r.objects(ctx, r.sh.Snapshot.Revision+r.sh.Bump, slices.Collect(maps.Keys(want)))
		if errors.Is(err, errCompacted) {
			err = await.Stop(err)
		}
		return "", err == nil, err
	})
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		r.d.Report.Warn("whether the API shows what the snapshot has is not known: %v", err)
		return nil
	}
	r.compareCounts(want, got)
	return nil
}

// objects asks one API server after the other until one answers.
func (r *run) objects(ctx context.Context, rev int64, kinds []string) (map[string]int64, error) {
	last := errors.New("no API server has a pod")
	for _, s := range r.sh.Access.Servers {
		w, err := parseWorkload(s.Object)
		if err != nil {
			return nil, err
		}
		pods, err := r.c.Pods(ctx, w)
		if err != nil {
			return nil, err
		}
		for _, p := range pods {
			got, err := r.c.Objects(ctx, *r.sh.Access, w.namespace, p.Name, s.Port, rev, kinds)
			if err == nil || errors.Is(err, errCompacted) {
				return got, err
			}
			last = err
		}
	}
	return nil, last
}

func (r *run) compareCounts(want, got map[string]int64) {
	var wrong, silent []string
	total := int64(0)
	for _, kind := range slices.Sorted(maps.Keys(want)) {
		switch n, ok := got[kind]; {
		case !ok:
			silent = append(silent, kind)
		case n != want[kind]:
			wrong = append(wrong, fmt.Sprintf("%d %s of %d", n, kind, want[kind]))
		default:
			total += n
		}
	}
	if len(silent) > 0 {
		r.d.Report.Warn("the API does not say how many it has of: %s", strings.Join(silent, ", "))
	}
	if r.sh.Miscounted = strings.Join(wrong, ", "); len(wrong) > 0 {
		r.d.Report.Warn("%v: %s", ErrMiscounted, r.sh.Miscounted)
		return
	}
	r.d.Report.Step("the API shows what the snapshot has: %d objects of %d kinds", total, len(want)-len(silent))
}
