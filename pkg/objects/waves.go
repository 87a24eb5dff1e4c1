package objects

import (
	"context"

	"golang.org/x/sync/errgroup"
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
func Together(a, b Action) bool {
	return a.Kind.GroupResource() == b.Kind.GroupResource() && !a.late && !b.late
}

// TogetherGone is the same of what is deleted again.
func TogetherGone(a, b Done) bool { return a.Group == b.Group && a.Resource == b.Resource }
