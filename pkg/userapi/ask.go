package userapi

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// cached are kinds that every API server keeps in its caches; each has one of its own.
var cached = []string{
	"/api/v1/namespaces", "/api/v1/nodes", "/api/v1/pods", "/api/v1/services", "/api/v1/configmaps", "/api/v1/secrets", "/api/v1/serviceaccounts",
	"/api/v1/persistentvolumes", "/api/v1/persistentvolumeclaims", "/apis/apps/v1/deployments", "/apis/apps/v1/replicasets",
	"/apis/apps/v1/statefulsets", "/apis/apps/v1/daemonsets", "/apis/batch/v1/jobs", "/apis/coordination.k8s.io/v1/leases",
	"/apis/discovery.k8s.io/v1/endpointslices", "/apis/rbac.authorization.k8s.io/v1/clusterroles",
}

// kindOf is the kind of a path in cached.
func kindOf(path string) string { return path[strings.LastIndex(path, "/")+1:] }

// stored is how etcd's keys name a kind, where the API calls it something else.
var stored = map[string]string{"nodes": "minions", "services": "services/specs"}

// Countable are the kinds that the API will be asked for, of what etcd holds by the names of its keys.
func Countable(objects map[string]int64) map[string]int64 {
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

// ErrCompacted says that the revision that was asked for is gone.
var ErrCompacted = errors.New("etcd has been compacted since")

// Cached are the revisions of the pod's caches, by kind: from the cache (resourceVersion=0), for
// an object of which there is none. Nothing of a kind is listed but the revision.
func (u *API) Cached(ctx context.Context) (map[string]int64, error) {
	revisions := map[string]int64{}
	nothing := url.Values{"resourceVersion": {"0"}, "fieldSelector": {"metadata.name=kubectl-etcd-asks-for-nothing"}}
	for _, path := range cached {
		list, err := u.list(ctx, path, nothing)
		if err == nil && list != nil {
			revisions[kindOf(path)], err = strconv.ParseInt(list.ResourceVersion, 10, 64)
		}
		if err != nil {
			return nil, fmt.Errorf("ask pod %s: %s: %w", u.pod, path, err)
		}
	}
	if len(revisions) == 0 {
		return nil, fmt.Errorf("ask pod %s: %s may list nothing", u.pod, u.user)
	}
	return revisions, nil
}

// Count counts the objects of a moment: of each kind only the first is sent. A kind that cannot be counted is left out; an error
// is why none was, or why one was not that another try may count. API servers before Kubernetes 1.24 count only what is one object or none.
func (u *API) Count(ctx context.Context, rev int64, kinds []string) (map[string]int64, error) {
	var last, again error
	counts := map[string]int64{}
	first := url.Values{"limit": {"1"}, "resourceVersion": {strconv.FormatInt(rev, 10)}, "resourceVersionMatch": {"Exact"}}
	for _, path := range cached {
		kind := kindOf(path)
		if !slices.Contains(kinds, kind) {
			continue
		}
		list, err := u.list(ctx, path, first)
		switch {
		case err != nil:
			again = fmt.Errorf("ask pod %s: %s: %w", u.pod, path, err)
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
	if again == nil && len(counts) == 0 && last != nil {
		again = fmt.Errorf("ask pod %s: %w", u.pod, last)
	}
	return counts, again
}
