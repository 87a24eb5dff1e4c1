package objects

import (
	"context"
	"errors"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// listed is how many objects of a kind in a namespace are worth a list of all that are there; fewer are asked for one by one.
const listed = 20

var errAll = errors.New("all are found")

// shelf is where objects lie together.
type shelf struct {
	kind      Kind
	namespace string
}

// present tells what a server has of those objects that a snapshot has.
type present struct {
	s      *Server
	wanted map[shelf]map[string]bool
	have   map[shelf]map[string]*unstructured.Unstructured
}

func (s *Server) present(all []Object) *present {
	n := &present{s, map[shelf]map[string]bool{}, map[shelf]map[string]*unstructured.Unstructured{}}
	for _, o := range all {
		k, err := s.kindOf(o.GroupVersionKind())
		if err != nil {
			continue
		}
		on := shelf{k, o.GetNamespace()}
		if n.wanted[on] == nil {
			n.wanted[on] = map[string]bool{}
		}
		n.wanted[on][o.GetName()] = true
	}
	return n
}

// get is an object; nil where there is none.
func (n *present) get(ctx context.Context, on shelf, name string) (*unstructured.Unstructured, error) {
	if len(n.wanted[on]) < listed {
		return n.s.get(ctx, on.kind, on.namespace, name)
	}
	if n.have[on] == nil {
		have, missing := map[string]*unstructured.Unstructured{}, len(n.wanted[on])
		err := n.s.each(ctx, n.s.of(on.kind, on.namespace), metav1.ListOptions{}, func(u *unstructured.Unstructured) error {
			if n.wanted[on][u.GetName()] {
				have[u.GetName()] = u
				missing--
			}
			if missing == 0 {
				return errAll
			}
			return nil
		})
		if err != nil && !errors.Is(err, errAll) { // each by itself may be allowed, and says more
			n.wanted[on] = nil
			return n.get(ctx, on, name)
		}
		n.have[on] = have
	}
	return n.have[on][name], nil
}
