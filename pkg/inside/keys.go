package inside

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/mvcc"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify"
)

// Keys reads the snapshot once more, for the names of the objects of a custom resource: they are in its keys, whether or not the API server can show
// what is stored there. They are sorted.
func (s *Server) Keys(ctx context.Context, kind schema.GroupResource) ([]types.NamespacedName, error) {
	prefix := []byte(s.Prefix + "/" + kind.Group + "/" + kind.Resource + "/")
	exist := map[types.NamespacedName]bool{}
	_, err := verify.File(ctx, s.from.Snapshot, verify.Options{Raw: s.from.Raw, TempDir: s.from.Dir, NoSidecar: true, Each: func(kv mvcc.KeyValue, deleted bool) {
		rest, ok := bytes.CutPrefix(kv.Key, prefix)
		if !ok {
			return
		}
		namespace, name, namespaced := strings.Cut(string(rest), "/")
		if !namespaced {
			namespace, name = "", namespace
		}
		if key := (types.NamespacedName{Namespace: namespace, Name: name}); deleted {
			delete(exist, key)
		} else {
			exist[key] = true
		}
	}})
	return slices.SortedFunc(maps.Keys(exist), func(a, b types.NamespacedName) int { return strings.Compare(a.String(), b.String()) }), err
}
