package restore

import (
	"context"

	"github.com/dustin/go-humanize"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
)

// content is what is uploaded.
func (r *Run) content(ctx context.Context) (reach.Content, error) {
	return r.Source.content(ctx, r.Shared.Bump > 0, r.Shared.Quota, r.Deps.Report)
}

// fits finds out before anything is begun whether etcd will be able to write.
func (r *Run) fits(ctx context.Context) error {
	if r.Config.Bump == 0 || !r.Source.exceeds(r.Shared.Quota) {
		return nil
	}
	r.Deps.Report.Step("%s is larger than etcd's quota, %s: is it without its history?", r.Source.File, humanize.IBytes(uint64(r.Shared.Quota)))
	_, err := r.Source.content(ctx, true, r.Shared.Quota, r.Deps.Report)
	return err
}

// shrink makes ready what is uploaded, now that the bump is known: some plans have their uploads within the outage.
func (r *Run) shrink(ctx context.Context) error {
	if r.Source == nil {
		return nil
	}
	_, err := r.content(ctx)
	return err
}
