package objects

import (
	"context"
	"errors"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// atOnce is how many objects of a kind are made or deleted at a time.
const atOnce = 8

// Waves calls f for each, in their order; of neighbours that may go together several at a time. The errors are in the order of what they
// are of. When ctx ends, no more is begun, and that is the last error.
func Waves[T any](ctx context.Context, all []T, together func(a, b T) bool, f func(context.Context, T) error) []error {
	errs := make([]error, len(all), len(all)+1)
	for from := 0; from < len(all); {
		to := from + 1
		for to < len(all) && together(all[from], all[to]) {
			to++
		}
		var g errgroup.Group
		g.SetLimit(atOnce)
		for i := from; i < to && ctx.Err() == nil; i++ {
			g.Go(func() error {
				if ctx.Err() == nil {
					errs[i] = f(ctx, all[i])
				}
				return nil
			})
		}
		_ = g.Wait()
		from = to
	}
	return append(errs, ctx.Err())
}

// Together tells that two actions may be carried out at the same time. What waits for its kind to be served goes by itself.
func Together(a, b Action) bool { return a.Kind == b.Kind && !a.late && !b.late }

// TogetherGone is the same of what is deleted again.
func TogetherGone(a, b Done) bool { return a.Group == b.Group && a.Resource == b.Resource }

// listed is from how many objects of a kind in a namespace on all that are there are listed, and not each is asked for.
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
