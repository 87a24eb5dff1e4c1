package restore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/await"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/userapi"
)

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
		if errors.Is(err, userapi.ErrCompacted) {
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
			if err == nil || errors.Is(err, userapi.ErrCompacted) {
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
