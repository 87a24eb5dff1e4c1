package restore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/await"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/userapi"
)

// count compares what an API server of the restored cluster shows, at the very revision that was restored, with what the
// snapshot has. What cannot be asked is told, and stops nothing.
func (r *Run) count(ctx context.Context) error {
	r.Shared.Miscounted = "" // what an earlier try found
	want := r.Shared.Snapshot.Objects
	if len(want) == 0 {
		return nil
	}
	got := map[string]int64{} // also what an earlier try was told: it is of one moment
	err := await.Until(ctx, r.CountFor, "an API server counts its objects", func(ctx context.Context) (string, bool, error) {
		some, err := r.objects(ctx, r.Shared.Snapshot.Revision+r.Shared.Bump, slices.Collect(maps.Keys(want)))
		maps.Copy(got, some)
		if errors.Is(err, userapi.ErrCompacted) {
			err = await.Stop(err)
		}
		return "", err == nil, err
	})
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil && len(got) == 0:
		r.Deps.Report.Warn("whether the API shows what the snapshot has is not known: %v", err)
		return nil
	}
	r.compareCounts(want, got)
	return nil
}

// objects asks one API server after the other until one answers.
func (r *Run) objects(ctx context.Context, rev int64, kinds []string) (map[string]int64, error) {
	some, last := map[string]int64{}, errors.New("no API server has a pod")
	for _, s := range r.Shared.Access.Servers {
		w, err := site.ParseWorkload(s.Object)
		if err != nil {
			return nil, err
		}
		pods, err := r.Cluster.Pods(ctx, w)
		if err != nil {
			return nil, err
		}
		for _, p := range pods {
			got, err := r.API.Objects(ctx, *r.Shared.Access, w.Namespace, p.Name, s.Port, rev, kinds)
			if err == nil || errors.Is(err, userapi.ErrCompacted) {
				return got, err
			}
			maps.Copy(some, got)
			last = err
		}
	}
	return some, last
}

func (r *Run) compareCounts(want, got map[string]int64) {
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
		r.Deps.Report.Warn("the API does not say how many it has of: %s", strings.Join(silent, ", "))
	}
	if r.Shared.Miscounted = strings.Join(wrong, ", "); len(wrong) > 0 {
		r.Deps.Report.Warn("%v: %s", site.ErrMiscounted, r.Shared.Miscounted)
		return
	}
	r.Deps.Report.Step("the API shows what the snapshot has: %d objects of %d kinds", total, len(want)-len(silent))
}
