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

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// stored is how etcd's keys name a kind, where the API calls it something else.
var stored = map[string]string{"nodes": "minions", "services": "services/specs"}

// countable are the kinds that the API will be asked for.
func countable(objects map[string]int64) map[string]int64 {
	out := map[string]int64{}
	for _, path := range cached {
		kind := path[strings.LastIndex(path, "/")+1:]
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
var errCompacted = errors.New("its revision has been compacted")

// Objects counts those of a moment: of each kind only the first is sent.
func (k kube) Objects(ctx context.Context, a access, namespace, pod string, port int, rev int64) (map[string]int64, error) {
	u, err := k.userAPI(ctx, a, namespace, pod, port)
	if err != nil {
		return nil, err
	}
	counts := map[string]int64{}
	first := url.Values{"limit": {"1"}, "resourceVersion": {strconv.FormatInt(rev, 10)}, "resourceVersionMatch": {"Exact"}}
	return counts, u.each(ctx, first, func(kind string, list *metav1.PartialObjectMetadataList) error {
		n := int64(len(list.Items))
		if list.RemainingItemCount != nil {
			n += *list.RemainingItemCount
		} else if list.Continue != "" {
			return nil // there are more, and nobody says how many
		}
		counts[kind] = n
		return nil
	})
}

// count compares what the restored cluster's own API shows, at the very revision that was restored, with what the snapshot
// has. What cannot be asked is told, and stops nothing.
func (r *run) count(ctx context.Context) error {
	want := r.sh.Snapshot.Objects
	if len(want) == 0 {
		return nil
	}
	got, err := r.objects(ctx, r.sh.Snapshot.Revision+r.sh.Bump)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, errCompacted):
		r.d.Report.Step("the objects of the snapshot cannot be counted any more: something has compacted etcd since")
		return nil
	case err != nil:
		r.d.Report.Warn("the objects of the snapshot were not counted: %v", err)
		return nil
	}
	var wrong []string
	kinds, total := 0, int64(0)
	for _, kind := range slices.Sorted(maps.Keys(want)) {
		switch n, ok := got[kind]; {
		case !ok:
			continue
		case n != want[kind]:
			wrong = append(wrong, fmt.Sprintf("%d %s of %d", n, kind, want[kind]))
		}
		kinds, total = kinds+1, total+want[kind]
	}
	if r.sh.Miscounted = strings.Join(wrong, ", "); len(wrong) == 0 {
		r.d.Report.Step("the API shows what the snapshot has: %d objects of %d kinds", total, kinds)
	}
	return nil
}

// objects asks one API server after the other until one answers.
func (r *run) objects(ctx context.Context, rev int64) (map[string]int64, error) {
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
			got, err := r.c.Objects(ctx, *r.sh.Access, w.namespace, p.Name, s.Port, rev)
			if err == nil || errors.Is(err, errCompacted) {
				return got, err
			}
			last = err
		}
	}
	return nil, last
}
