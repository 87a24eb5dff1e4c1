// Package reach opens a way to one etcd member and asks things of it: by an
// agent in a utility pod (agent), by port-forward into the member's pod
// (forward), by the tools in the member's own container (exec), or over the
// network with files the user has (direct). What runs over a way proves itself;
// which way it was changes only speed, rights and what is left to clean up.
package reach

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	authv1client "k8s.io/client-go/kubernetes/typed/authorization/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/agentapi"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/podexec"
)

// Way names how a member is reached.
type Way string

// The ways. Auto chooses: see Open.
const (
	Auto    Way = "auto"
	Agent   Way = "agent"
	Forward Way = "forward"
	Exec    Way = "exec"
	Direct  Way = "direct"
)

// Ways are what --via accepts.
var Ways = []Way{Auto, Agent, Forward, Exec, Direct}

// Clients are the connections to the cluster that ways are built from.
type Clients struct {
	Config *rest.Config
	Core   corev1client.CoreV1Interface
	Auth   authv1client.AuthorizationV1Interface
	Exec   *podexec.Client
}

// NewClients makes the clients for a cluster, one API group at a time.
func NewClients(cfg *rest.Config) (*Clients, error) {
	core, err := corev1client.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("make core client: %w", err)
	}
	auth, err := authv1client.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("make authorization client: %w", err)
	}
	exec, err := podexec.New(cfg)
	if err != nil {
		return nil, err
	}
	return &Clients{Config: cfg, Core: core, Auth: auth, Exec: exec}, nil
}

// Options bound and shape a way. The zero value is usable.
type Options struct {
	Username, Password string // etcd's own authentication
	ServerName         string // verified instead of what the member's URLs say
	// TLS is used instead of the member's own files, as far as it says something. Nil says nothing.
	TLS *etcd.TLS
	// Operation labels the utility pod: backup, verify, restore.
	Operation string
	// OperationID, if set, is another label: which of several it is for.
	OperationID string
	// Lifetime ends a utility pod whose client was killed. Default 1 h.
	Lifetime time.Duration
	// StartTimeout bounds the wait for a utility pod. Default 90 s.
	StartTimeout time.Duration
	// Data mounts the member's data directory, read-only, into the utility pod.
	Data bool
	// HostPID lets a utility pod in which a restore is staged see the node's processes, so that it can signal the
	// member's etcd, whose user it has.
	HostPID bool
	// PreferAgent is for who makes utility pods anyway: Auto takes the agent also where a port-forward could serve. What it
	// sends is compressed, an eighth of the bytes that a forward carries through the API server.
	PreferAgent bool
	// Ask are the ways by which OpenQuery may ask, best first.
	Ask []Way
	// Warn is told what the user should know even without -v. Nil is silent.
	Warn func(format string, args ...any)
	// Log is told what is being done, one line at a time. Nil is silent.
	Log func(format string, args ...any)

	scratch int64 // bytes of a scratch folder in the utility pod; 0: none
	// apiServer is whose image a second container has; nil: there is none.
	apiServer *controlplane.APIServer
	stage     bool // the member's data can be written in the utility pod
	// hostPaths are what a utility pod for Files reads of its node, and then nothing else.
	hostPaths []HostPath
}

func (o Options) log(format string, args ...any) {
	if o.Log != nil {
		o.Log(format, args...)
	}
}

// Link is an open way to one member. Close removes whatever the way made.
type Link interface {
	Way() Way
	Query(ctx context.Context, q Question) (*agentapi.QueryReply, error)
	// Snapshot writes a snapshot to w: a zstd stream if compress is set, the
	// plain stream otherwise. It is complete and proven only when the error is nil.
	Snapshot(ctx context.Context, compress bool, w io.Writer, progress func(agentapi.SnapshotProgress)) (*agentapi.SnapshotReply, error)
	Close(ctx context.Context) error
}

// RawLink is a Link that can also read the database file of a member that does
// not run. What it sends has no trailer: SnapshotReply.Plain says its length and hash.
type RawLink interface {
	Raw(ctx context.Context, compress bool, w io.Writer, progress func(agentapi.SnapshotProgress)) (*agentapi.SnapshotReply, error)
}

// Question is what a Query asks for.
type Question struct {
	Status, Members, Alarms bool
	HashAt                  *int64
}

func (q Question) request(e agentapi.Endpoint) agentapi.QueryRequest {
	return agentapi.QueryRequest{Endpoint: e, Status: q.Status, Members: q.Members, Alarms: q.Alarms, HashAt: q.HashAt}
}

// OpenQuery opens a way that answers questions, the first of Options.Ask that
// can: by default etcdctl in the member's own container, and where the image has
// none, or the user may not exec, a port-forward.
func OpenQuery(_ context.Context, c *Clients, m controlplane.Member, o Options) (Link, error) {
	if m.Missing() {
		return nil, fmt.Errorf("reach member %s: its pod does not exist", m.Name)
	}
	ways := o.Ask
	if len(ways) == 0 {
		ways = []Way{Exec, Forward}
	}
	l := &queryLink{clients: c, member: m, opts: o, ways: ways}
	if err := execCan(o); err != nil && slices.Contains(ways, Exec) {
		l.ways = slices.DeleteFunc(slices.Clone(ways), func(w Way) bool { return w == Exec })
		l.why = []string{"exec: " + err.Error()}
	}
	return l, nil
}

// queryLink finds out at its questions which way can answer: asking for an
// etcdctl alone would cost another process in the member's container.
type queryLink struct {
	clients *Clients
	member  controlplane.Member
	opts    Options
	ways    []Way // not tried yet
	link    Link  // the one in use
	why     []string
}

func (l *queryLink) Way() Way {
	if l.link == nil {
		return Auto
	}
	return l.link.Way()
}

func (l *queryLink) Query(ctx context.Context, q Question) (*agentapi.QueryReply, error) {
	for {
		if err := l.next(ctx); err != nil {
			return nil, err
		}
		r, err := l.link.Query(ctx, q)
		if err == nil || !errors.Is(err, errNoTool) && !apierrors.IsForbidden(err) && !(l.link.Way() == Exec && l.forwardNext() && othersMay(l.member, l.opts, err)) {
			return r, err
		}
		l.giveUp(l.link.Way(), err)
		_ = l.Close(ctx)
		l.link = nil
	}
}

// forwardNext tells that a port-forward can still be tried, which can show what etcdctl in the member's container has not.
func (l *queryLink) forwardNext() bool { return slices.Contains(l.ways, Forward) }

// next opens the next way, if none is open.
func (l *queryLink) next(ctx context.Context) error {
	for l.link == nil {
		if len(l.ways) == 0 {
			return notPossible("ask member %s: %s", l.member.Name, strings.Join(l.why, "; "))
		}
		way := l.ways[0]
		l.ways = l.ways[1:]
		var err error
		switch way {
		case Forward:
			l.link, err = openForward(ctx, l.clients, l.member, l.opts)
		case Agent:
			l.link, err = openAgent(ctx, l.clients, l.member, l.opts)
		default:
			l.link = &execLink{clients: l.clients, member: l.member, opts: l.opts}
		}
		if err != nil {
			if !fallsBack(err) {
				return err
			}
			l.link = nil
			l.giveUp(way, err)
		}
	}
	return nil
}

func (l *queryLink) giveUp(way Way, err error) {
	l.opts.log("member %s: cannot be asked by %s: %v", l.member.Name, way, err)
	l.why = append(l.why, fmt.Sprintf("%s: %v", way, err))
}

// Snapshot is not what this link is for: Open gives one that can.
func (l *queryLink) Snapshot(context.Context, bool, io.Writer, func(agentapi.SnapshotProgress)) (*agentapi.SnapshotReply, error) {
	return nil, errors.New("a link for questions takes no snapshots")
}

func (l *queryLink) Close(ctx context.Context) error {
	if l.link == nil {
		return nil
	}
	return l.link.Close(ctx)
}

// Open opens a way that can take a snapshot. Auto prefers a port-forward where
// the member's client certificate is in a Secret the user may read (no pod has
// to be made), the agent where it is on the node, and the member's own shell
// where neither is allowed. What was tried and why it was not taken goes to
// Options.Log, and into the error when nothing is left.
func Open(ctx context.Context, c *Clients, m controlplane.Member, way Way, o Options) (Link, error) {
	if m.Missing() && !o.Data {
		return nil, fmt.Errorf("reach member %s: its pod does not exist", m.Name)
	}
	switch way {
	case Agent:
		return openAgent(ctx, c, m, o)
	case Forward:
		return openForward(ctx, c, m, o)
	case Exec:
		return openExec(ctx, c, m, o)
	case Direct:
		return nil, errors.New("the direct way needs --endpoint")
	}
	try := []Way{Agent, Forward, Exec}
	if forwardable(m, o) && !o.PreferAgent {
		try = []Way{Forward, Agent, Exec}
	}
	var why []string
	for _, w := range try {
		l, err := Open(ctx, c, m, w, o)
		if err == nil {
			o.log("member %s: reached by %s", m.Name, w)
			if w == Exec && o.Warn != nil {
				o.Warn("member %s: only its own shell can be used (%s); the snapshot is written to its container's disk first, and removed again", m.Name, strings.Join(why, "; "))
			}
			return l, nil
		}
		if ctx.Err() != nil || !fallsBack(err) {
			return nil, err
		}
		o.log("member %s: not by %s: %v", m.Name, w, err)
		why = append(why, fmt.Sprintf("%s: %v", w, err))
	}
	return nil, fmt.Errorf("reach member %s: %s", m.Name, strings.Join(why, "; "))
}

// Plan says which way Open would try first, and what it would create, without
// creating anything. Rights and admission may still send Open another way.
func Plan(m controlplane.Member, way Way, o Options) (Way, []string) {
	if way == Auto {
		way = Agent
		if forwardable(m, o) && !o.PreferAgent && !o.Data {
			way = Forward
		}
	}
	if way != Agent {
		return way, nil
	}
	name := objectName(m)
	return way, []string{"ConfigMap " + m.Namespace + "/" + name, "Pod " + m.Namespace + "/" + name}
}

// CleanupError says that something was left behind.
type CleanupError struct{ Err error }

func (e *CleanupError) Error() string { return "clean up: " + e.Err.Error() }
func (e *CleanupError) Unwrap() error { return e.Err }

// NotPossible is an error of a way that this cluster or this user's rights do
// not allow, as opposed to one that failed: another way may work.
type NotPossible struct{ Err error }

func (e *NotPossible) Error() string { return e.Err.Error() }
func (e *NotPossible) Unwrap() error { return e.Err }

// What keeps a utility pod from being made, or from starting in time.
var (
	ErrNotReady = errors.New("is not ready")      // its node
	ErrLate     = errors.New("not running after") // as long as a pod is given
)

func notPossible(format string, args ...any) error {
	return &NotPossible{Err: fmt.Errorf(format, args...)}
}

func fallsBack(err error) bool {
	var np *NotPossible
	return errors.As(err, &np)
}
