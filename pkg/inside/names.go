package inside

import (
	"bytes"
	"context"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/mvcc"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify"
)

// Names are the names of the objects of a custom resource, sorted. They are in the snapshot's keys, whether or not the API server can show what is stored
// there. The first call reads the snapshot once more.
func (s *Server) Names(ctx context.Context, kind schema.GroupResource) ([]types.NamespacedName, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.names == nil {
		exist := map[schema.GroupResource]map[types.NamespacedName]bool{}
		_, err := verify.File(ctx, s.from.Snapshot, verify.Options{Raw: s.from.Raw, TempDir: s.from.Dir, NoSidecar: true, Each: func(kv mvcc.KeyValue, deleted bool) {
			kind, key, ok := keyOf(kv.Key, s.Prefix)
			switch {
			case !ok:
			case deleted:
				delete(exist[kind], key)
			case exist[kind] == nil:
				exist[kind] = map[types.NamespacedName]bool{key: true}
			default:
				exist[kind][key] = true
			}
		}})
		if err != nil {
			return nil, err
		}
		s.names = exist
	}
	var out []types.NamespacedName
	for key := range s.names[kind] {
		out = append(out, key)
	}
	slices.SortFunc(out, func(a, b types.NamespacedName) int { return strings.Compare(a.String(), b.String()) })
	return out, nil
}

// keyOf takes the key of a custom resource apart: PREFIX/GROUP/RESOURCE/[NAMESPACE/]NAME.
func keyOf(key []byte, prefix string) (kind schema.GroupResource, name types.NamespacedName, ok bool) {
	rest, ok := bytes.CutPrefix(key, []byte(prefix+"/"))
	group, _, _ := bytes.Cut(rest, []byte("/"))
	if !ok || !bytes.Contains(group, []byte(".")) {
		return kind, name, false
	}
	parts := strings.Split(string(rest), "/")
	if len(parts) < 3 || len(parts) > 4 {
		return kind, name, false
	}
	if len(parts) == 4 {
		name.Namespace = parts[2]
	}
	name.Name = parts[len(parts)-1]
	return schema.GroupResource{Group: parts[0], Resource: parts[1]}, name, true
}
