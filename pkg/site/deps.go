package site

import (
	"context"
	"fmt"
	"time"

	appsv1client "k8s.io/client-go/kubernetes/typed/apps/v1"
	policyv1client "k8s.io/client-go/kubernetes/typed/policy/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/operation"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
)

// Deps are what a restore needs of the world.
type Deps struct {
	Clients *reach.Clients
	Apps    appsv1client.AppsV1Interface
	Policy  policyv1client.PolicyV1Interface
	Place   operation.Place // where journals and locks are kept
	Report  Reporter
	Now     func() time.Time
	Tool    string // name and version
	Holder  string // who holds the lock, for people: user@machine
}

// Planes is what control planes are found with.
func (d Deps) Planes() controlplane.Client {
	return controlplane.Client{Core: d.Clients.Core, Apps: d.Apps}
}

// Locker takes the locks of control planes.
func (d Deps) Locker() operation.Locker {
	return operation.Locker{Place: d.Place, Holder: d.Holder, Now: d.Now, Step: d.Report.Step}
}

// Reporter is told how a restore goes.
type Reporter interface {
	plan.Reporter
	Step(format string, args ...any)
	Warn(format string, args ...any)
	// Progress of an upload or a download: bytes done of total.
	Progress(what string, done, total int64)
}

// deleteJournal removes the journal of an operation; one that is gone is no error.
func (d Deps) deleteJournal(ctx context.Context, namespace, id string) error {
	if err := d.Place.DeleteJournal(ctx, namespace, id); err != nil {
		name, _, _ := d.Place.Where(namespace, id)
		return fmt.Errorf("delete journal %s: %w", name, err)
	}
	return nil
}
