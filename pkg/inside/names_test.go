//go:build unix

package inside

import (
	"path/filepath"
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/rehearse"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify/etcdtest"
)

// TestNames: the names of a kind's objects, without those that were deleted and those of other kinds.
func TestNames(t *testing.T) {
	t.Parallel()
	b := etcdtest.Find(t, "3.6")
	etcd := etcdtest.Start(t, b)
	ctl := func(args ...string) {
		etcdtest.Tool(t, b.Etcdctl, append([]string{"--endpoints", etcd.Endpoint}, args...)...)
	}
	for _, key := range []string{"example.com/crates/b/two", "example.com/crates/a/one", "example.com/crates/a/gone", "example.com/cratesets/a/other", "other.com/crates/a/other", "example.com/worlds/all"} {
		ctl("put", "/registry/"+key, "{}")
	}
	ctl("del", "/registry/example.com/crates/a/gone")
	ctl("put", "/elsewhere/example.com/crates/a/other", "{}")
	path := filepath.Join(t.TempDir(), "a.db")
	ctl("snapshot", "save", path)
	s := &Server{Prefix: "/registry", from: rehearse.Config{Snapshot: path}}
	for kind, want := range map[string][]types.NamespacedName{
		"crates": {{Namespace: "a", Name: "one"}, {Namespace: "b", Name: "two"}},
		"worlds": {{Name: "all"}},
		"none":   nil,
	} {
		got, err := s.Names(t.Context(), schema.GroupResource{Group: "example.com", Resource: kind})
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v; want %v", kind, got, err, want)
		}
	}
}
