package objects

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// outside are the kinds of which an object has something outside of etcd, and which of its objects do; nil: all.
var outside = []struct {
	kind string
	does func(Object) bool
}{
	{"nodes", nil},
	{"pods", func(o Object) bool { return !ended(o.Unstructured) }},
	{"persistentvolumes", nil},
	{"persistentvolumeclaims", func(o Object) bool { return field(o, "spec", "volumeName") != "" }},
	{"volumeattachments.storage.k8s.io", nil},
	{"services", func(o Object) bool { return field(o, "spec", "type") == "LoadBalancer" }},
}

func field(o Object, path ...string) string {
	s, _, _ := unstructured.NestedString(o.Object, path...)
	return s
}

// InQuestion are the objects that have something outside of etcd and are on one of two servers only: nodes, pods, volumes that are
// bound or attached, load balancers. A restore leaves a machine, processes, a disk or an address that nobody knows of, or a name with
// nothing behind it. It has no sums.
func InQuestion(ctx context.Context, before, after *Server) (*Comparison, error) {
	all := &Comparison{Differences: []Difference{}, before: before.Called, after: after.Called}
	for _, k := range outside {
		was, err := before.outside(ctx, k.kind, k.does)
		var is map[string]bool
		if err == nil {
			is, err = after.outside(ctx, k.kind, k.does)
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			all.Unread = append(all.Unread, k.kind+": "+err.Error())
			continue
		}
		all.only(k.kind, before.Called, was, is)
		all.only(k.kind, after.Called, is, was)
	}
	return all, nil
}

// outside tells of each object of a kind whether it has something outside of etcd.
func (s *Server) outside(ctx context.Context, kind string, does func(Object) bool) (map[string]bool, error) {
	out := map[string]bool{}
	err := s.Each(ctx, Selection{Names: []string{kind}}, func(o Object) error {
		out[o.Key()] = does == nil || does(o)
		return nil
	}, func(string, error) {}) // a kind that is named fails as a whole
	var unknown *UnknownKind
	if errors.As(err, &unknown) {
		return out, nil // a kind that it does not know has no objects there
	}
	return out, err
}

// only adds what one server has and the other has not, whatever it has there.
func (c *Comparison) only(kind, called string, has, other map[string]bool) {
	for _, key := range slices.Sorted(maps.Keys(has)) {
		if _, both := other[key]; both || !has[key] {
			continue
		}
		d := Difference{Kind: kind, State: "only in " + called}
		d.Namespace, d.Name, _ = strings.Cut(key, "/")
		c.Differences = append(c.Differences, d)
	}
}
