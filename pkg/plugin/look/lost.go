package look

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/inside"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/objects"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plugin/cli"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plugin/stores"
)

// Lost prints what a restore of the cluster's own etcd would bring back and what it would lose, summed up by kind, and what of it has
// something outside of etcd. The snapshot is opened as "diff" opens it.
func Lost(ctx context.Context, cmd *cobra.Command, a App, from string, reading stores.Reading, raw bool) error {
	o := &diffOptions{app: a, cmd: cmd, summary: true}
	o.in, o.podTime, o.Reading, o.opts.Raw = "auto", podTimeout, reading, raw
	defer o.close()
	after, err := cluster(ctx, a)
	if err != nil {
		return err
	}
	err = o.with(ctx, cmd, a, from, func(ctx context.Context, s *inside.Server) error {
		before, err := o.objects(ctx, s)
		if err != nil {
			return err
		}
		if err := o.compare(ctx, from, before, after); err != nil && err != exitDiffers {
			return err
		}
		return o.question(ctx, before, after)
	})
	var refused *inside.Error
	if errors.As(err, &refused) { // a restore has not the flags that it names
		refused.Way = "compare by itself: kubectl etcd diff " + stores.Shown(from) + "; see its --help"
	}
	return err
}

// question lists what is on one side only and has something outside of etcd.
func (o *diffOptions) question(ctx context.Context, before, after *objects.Server) error {
	q, err := objects.InQuestion(ctx, before, after)
	if err != nil {
		return err
	}
	var rows [][]string
	for _, d := range q.Differences {
		rows = append(rows, []string{d.State, d.Kind + "/" + d.Name, d.Namespace})
	}
	if len(q.Unread) > 0 {
		return fmt.Errorf("compare what has something outside of etcd: %s", strings.Join(q.Unread, "; "))
	}
	if len(rows) == 0 {
		o.app.Say("no node, pod, bound volume or load balancer is on one side only")
		return nil
	}
	_, err = fmt.Fprintln(o.app.Out(), "\nOn one side only, with something outside of etcd (machines, processes, disks, addresses):")
	return errors.Join(err, cli.Table(o.app.Out(), []string{"STATE", "OBJECT", "NAMESPACE"}, rows))
}
