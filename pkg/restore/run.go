// Package restore brings an etcd back from a snapshot. What it will do is a plan
// before it is done (see package plan): every step is journalled in the cluster,
// can be resumed by any client, and can be undone until the first API server has
// started on the new data.
//
// Here is what every restore does: prove, look, build, disarm alarms, compare, count. How members are stopped, switched and started is
// a Way, in a package of its own below this folder.
package restore

import (
	"context"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/stored"
)

// Config is what to restore, and where from.
type Config struct {
	site.Target
	// Ways are those that there are.
	Ways Ways
	// Members are those to replace, or to restore where quorum is lost: each an ordinal, the name of a pod or of a member.
	Members []string
	// Skip are members that are gone, and that a restore goes on without.
	Skip []string
	// From is the snapshot's file: plain, compressed, or raw. Or it is member/NAME: what that member has.
	From string
	// Fetch brings here what From names, where that is no file, or is encrypted; nil: it is a file.
	Fetch func(ctx context.Context) (*stored.Snapshot, error)
	// Raw accepts a database file without etcd's trailer.
	Raw bool
	// Hot freezes, exchanges and kills etcd under running API servers, instead of stopping them and the StatefulSet.
	Hot bool
	// DryRun makes no pods that read the files of nodes.
	DryRun bool
	// FromOtherCluster accepts a snapshot of another cluster.
	FromOtherCluster bool
	// Bump is added to the snapshot's revision; negative computes it.
	Bump int64
	// Writers are more workloads to stop, as KIND/NAME in the control plane's namespace, or as NAMESPACE/KIND/NAME.
	Writers []string
	// NotWriters are workloads that look like writers and are none, named alike.
	NotWriters []string
	// FormerWriters were stopped by an earlier restore; one that is gone is no error. Again says that there was one: what it
	// let run may run.
	FormerWriters []string
	Again         bool
	// Recreate accepts that an OrderedReady StatefulSet is deleted without its pods, and created anew.
	Recreate bool
	// OperatorStopped says that what owns the StatefulSet has been stopped, and puts nothing back.
	OperatorStopped bool
	// TakeInto is the folder for what is taken of a member that From names; Safety where it is empty.
	TakeInto string
	// LimitRate bounds each upload, in bytes on the wire per second; 0 does not.
	LimitRate int64
	// DiscardOld deletes the old data before the new is built, on volumes that have no room for both.
	DiscardOld bool
	// KeepBudgets leaves disruption budgets alone.
	KeepBudgets bool
	// Safety is the folder for the backup that is taken of what still answers; empty takes none.
	Safety string
}

// margin is how far the restored revision is put above the highest that is
// known: writes go on between that question and the switch.
const margin = 1_000_000_000

// Way is how members are stopped, switched and started: that in which restores differ. Its steps are a part of the plan, and it has
// their actions.
type Way interface {
	// Possible refuses a control plane that cannot be restored like this, as far as that is known without asking anybody.
	Possible() error
	// Look finds what the plan depends on, changes nothing, and refuses what the steps could not carry out. Where this is no dry run it may make pods
	// that read what only nodes know.
	Look(ctx context.Context) (*Scene, error)
	// Share puts into the journal what the steps need to know of that.
	Share(sh *site.Shared)
	// Check adds the steps before anything is uploaded. stop adds those until the new data is in the place of the old, start those until
	// all members serve it, serve those until whatever was stopped does, and after what may wait until then.
	Check(b *plan.Builder)
	Stop(b *plan.Builder)
	Start(b *plan.Builder)
	Serve(b *plan.Builder)
	After(b *plan.Builder)
	// Actions are those of the way's own kinds of steps.
	Actions() map[string]plan.Action
	// Serving says that API servers go on meanwhile.
	Serving() bool
	// The others are as in kind.
	Gives(s plan.Step) bool
	Down(s plan.Step, ended func(kind, object string) bool) string
	Abandonable(ctx context.Context) error
	Undone(ctx context.Context)
}

// Ways are all ways that there are, by their names in Shared.Way.
type Ways map[string]func(*Run) Way

// The names of ways.
const (
	Cold = "cold" // API servers and etcd are stopped
	Hot  = "hot"  // the data is exchanged under running API servers
	// Static is of an etcd that kubelets run from files: hot, too, under the API servers that everybody here asks.
	Static = "static"
)

// Run is one operation under way; its actions are the methods' closures in actions.
type Run struct {
	*site.Site
	Config Config
	Way    Way
	API    API
	Source *source // nil when the operation is past the need of it

	// Restart has a pod of an API server start anew.
	Restart func(ctx context.Context, w site.Workload, p site.Pod) error

	CachesFor time.Duration // how long an API server has to notice that its caches are void: they do within seconds
	CountFor  time.Duration // how long one may be too busy to count

	Calm     bool // no member had an alarm, or a database that is nearly full, when all were seen to be healthy
	relieved bool // relieve has tried
}

// NewRun is an operation under way, o and sh are nil while it is being planned.
func NewRun(d site.Deps, c site.Cluster, cfg Config, o *plan.Operation, sh *site.Shared) *Run {
	r := &Run{Site: site.New(d, c, cfg.Target, o, sh), Config: cfg, API: kubeAPI{d}, CachesFor: 30 * time.Second, CountFor: 15 * time.Second}
	name := Cold
	switch {
	case cfg.Plane.Static():
		name = Static
	case cfg.Hot || sh != nil && sh.Hot:
		name = Hot
	}
	r.Restart = func(ctx context.Context, w site.Workload, p site.Pod) error {
		return r.Cluster.DeletePod(ctx, w, p, nil)
	}
	if a, ok := c.(API); ok { // a cluster that is none
		r.API = a
	}
	if open := cfg.Ways[name]; open != nil {
		r.Way = open(r)
	}
	return r
}

// Prove reads the snapshot whole, and keeps it open.
func (r *Run) Prove(ctx context.Context) (err error) {
	r.Deps.Report.Step("proving %s", r.Config.From)
	r.Source, err = prove(ctx, r.Config, r.Config.Raw)
	return err
}

// kubeFor is the cluster, with utility pods that see their node's processes where the way requires that.
func kubeFor(d site.Deps, cfg Config, hostPID bool) site.Kube {
	cfg.Reach.HostPID = hostPID
	return site.NewKube(d, cfg.Reach)
}

// Encrypted tells whether anything in the snapshot is encrypted at rest.
func (r *Run) Encrypted() bool { return len(r.Source.report.Encrypted) > 0 }

func (r *Run) Close() { r.Source.close() }

func (r *Run) Gives(s plan.Step) bool { return r.Way.Gives(s) }

func (r *Run) Down(s plan.Step, ended func(kind, object string) bool) string {
	return r.Way.Down(s, ended)
}

func (r *Run) Abandonable(ctx context.Context) error {
	if site.Empty(r.Operation) {
		return site.Refuse(site.GoOn(r.Operation, r.Shared.Namespace), "abandon operation %s: it has deleted the old data, and etcd has not come up on the new", r.Operation.ID)
	}
	return r.Way.Abandonable(ctx)
}

func (r *Run) Undone(ctx context.Context) {
	if r.Shared.Live > 0 { // otherwise they did not serve before either
		r.Way.Undone(ctx)
	}
}
