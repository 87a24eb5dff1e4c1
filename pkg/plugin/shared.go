package plugin

import (
	"context"
	"io"

	"k8s.io/client-go/rest"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plugin/cli"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plugin/stores"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify"
)

// shared is what commands of other packages are given.
type shared struct{ *reporter }

func (s shared) In() io.Reader                  { return s.app.In }
func (s shared) Out() io.Writer                 { return s.app.Out }
func (s shared) ErrOut() io.Writer              { return s.app.ErrOut }
func (s shared) Stores() *stores.Flags          { return &s.app.stores }
func (s shared) Say(format string, args ...any) { s.app.say(format, args...) }
func (s shared) Cluster() (*rest.Config, error) { return s.app.restConfig() }
func (s shared) Asks() bool                     { return cli.IsTerminal(s.app.In) }
func (s shared) Confirm(ctx context.Context, question, unchanged string) error {
	return s.app.confirm(ctx, question, unchanged)
}
func (s shared) SameCluster(ctx context.Context, r *verify.Report) error {
	return s.app.sameCluster(ctx, r)
}

// Plane does not look at -n, which says what is looked at in the snapshot.
func (s shared) Plane(ctx context.Context, target string) (*reach.Clients, controlplane.ControlPlane, error) {
	return s.app.resolveIn(ctx, target, "")
}
