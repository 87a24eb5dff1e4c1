package backup

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/agentapi"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/frame"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/podexec"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/snapshot"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/survey"
)

// attempts is how often a snapshot that was cut is begun anew. It cannot be
// resumed: each stream of etcd's is another file.
const attempts = 3

// agentPays is the database, in bytes, from which starting an agent takes less time than it saves.
const agentPays = 128 << 20

// retryPause is the wait before the second attempt; before the third it is twice as long.
var retryPause = 2 * time.Second

// run is one backup under way.
type run struct {
	Deps
	cfg     Config
	started time.Time
	member  controlplane.Member
	// memberID is etcd's own of the member; 0 for a raw copy.
	memberID etcd.ID
	survey   *survey.Survey
	why      string
	// expected is how large the database is now, in bytes; 0 when nobody said.
	expected int64
	result   *Result
	name     string // of the object in a store
	keys     *keyring
}

// Run takes a backup. With ErrDiffers the Result is there too: the backup is
// good. After any other error nothing is left: no file, no pod.
func Run(ctx context.Context, d Deps, cfg Config) (*Result, error) {
	r := &run{Deps: d, cfg: cfg, started: d.Now().UTC(), result: &Result{APIVersion: snapshot.APIVersion, Kind: "BackupResult"}}
	if err := r.source(ctx); err != nil {
		return nil, err
	}
	out, err := r.destination(ctx)
	if err != nil {
		return nil, err
	}
	if cfg.DryRun {
		out.abort()
		return r.dryRun(ctx, out)
	}
	if err = r.collectKeys(ctx); err == nil {
		err = r.take(ctx, out)
	}
	if err != nil {
		out.abort()
		return nil, err
	}
	if cfg.Raw {
		r.warn("a raw copy has no trailer that proves it, and what etcd wrote last may be only in its write-ahead log")
	}
	r.result.TotalSeconds = r.Now().Sub(r.started).Seconds()
	if r.survey != nil && r.survey.Consistency == survey.Differs {
		return r.result, &DifferError{r.survey.Note, r.survey.Majority}
	}
	return r.result, nil
}

// source asks the members and chooses one.
func (r *run) source(ctx context.Context) error {
	if r.cfg.Raw {
		return r.rawSource()
	}
	r.Report.Step("asking the members of %s", r.target())
	s, err := survey.Take(ctx, r.sources(), true)
	if err != nil {
		return fmt.Errorf("ask members: %w", err)
	}
	r.survey, r.result.Survey = s, s
	for _, f := range findings(s) {
		r.warn("%s", f)
	}
	r.warnOverrides()
	m, why, err := choose(s, r.cfg.Member)
	if err != nil {
		return err
	}
	r.why = why
	r.member, r.memberID, r.expected = *m.Source, m.ID, m.Status.DBSize
	r.member.Name = m.Name // etcd's own name for it
	r.Report.Step("source: member %s (%s), etcd %s, revision %d, %s", m.Name, why, m.Status.Version, m.Status.Revision, size(m.Status.DBSize))
	return nil
}

// warnOverrides names what is not in this etcd: API servers can keep some
// resources, mostly events, in another.
func (r *run) warnOverrides() {
	seen := map[string]bool{}
	for _, a := range r.cfg.Plane.APIServers {
		for _, o := range a.Overrides {
			if len(a.For) == 0 && !seen[o.Resource] {
				seen[o.Resource] = true
				r.warn("API servers keep %q in another etcd (%s); back that one up too", o.Resource, join(o.Servers))
			}
		}
	}
}

// target is the control plane as a user knows it; endpoints have no namespace.
func (r *run) target() string { return strings.TrimPrefix(r.cfg.Plane.ID(), "/") }

// ask is how members are asked: cheaply, but never by a way that the user has
// ruled out, and by a utility pod where nothing else can.
func (r *run) ask() reach.Options {
	o := r.cfg.Reach
	o.Operation = "backup"
	switch r.cfg.Via {
	case reach.Forward:
		o.Ask = []reach.Way{reach.Forward, reach.Exec}
	case reach.Exec:
		o.Ask = []reach.Way{reach.Exec}
	default:
		o.Ask = []reach.Way{reach.Exec, reach.Forward, reach.Agent}
	}
	return o
}

func (r *run) sources() []survey.Source {
	if len(r.cfg.Direct) == 0 {
		return survey.Sources(r.Clients, r.cfg.Plane, r.ask())
	}
	return survey.DirectSources(r.cfg.Plane, r.cfg.Direct)
}

// rawSource needs no answer of etcd's, and must not choose for the user:
// members that are down may each have stopped at another revision.
func (r *run) rawSource() error {
	ms := r.cfg.Plane.Members
	if r.cfg.Member == "" && len(ms) == 1 {
		r.member, r.why = ms[0], "the only member"
		return nil
	}
	var have []string
	for _, m := range ms {
		have = append(have, m.Name)
		if r.cfg.Member != "" && (m.Name == r.cfg.Member || m.Pod == r.cfg.Member) {
			r.member, r.why = m, "as asked for"
			return nil
		}
	}
	if r.cfg.Member == "" {
		return &ErrNoSource{Reason: "--raw copies one member's file; name it with --member: " + join(have)}
	}
	return &ErrNoMember{Name: r.cfg.Member, Have: have}
}

// take opens the way, transfers, proves and commits; a cut is begun anew.
func (r *run) take(ctx context.Context, out *output) error {
	for n := 1; ; n++ {
		r.result.Attempts = n
		err := r.attempt(ctx, out)
		if err == nil {
			break
		}
		if !passing(err, n) || n == attempts || ctx.Err() != nil || !out.rewind() {
			if out.parcel != nil && out.parcel.again != nil {
				err = fmt.Errorf("%w; and for another attempt: %w", err, out.parcel.again)
			}
			return err
		}
		r.warn("attempt %d of %d: %v; starting anew", n, attempts, err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Duration(n) * retryPause):
		}
	}
	if err := r.prove(ctx, out); err != nil {
		return err
	}
	return r.commit(ctx, out)
}

// passing tells the errors of a link or an etcd that went away, which may be
// back: on either leg, and whichever side saw it.
func passing(err error, n int) bool {
	var told *frame.Error
	if errors.As(err, &told) && told.Code == frame.CodeCut {
		return true
	}
	// What cut the first transfer may keep the next from beginning.
	var unreached *url.Error
	return errors.Is(err, podexec.ErrCut) || errors.Is(err, podexec.ErrStalled) || errors.Is(err, etcd.ErrCut) || n > 1 && errors.As(err, &unreached)
}

func (r *run) attempt(ctx context.Context, out *output) (err error) {
	link, err := r.open(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := reach.Release(ctx, link); cerr != nil {
			r.warn("%v; remove what is left with: kubectl etcd cleanup -n %s --running", cerr, r.member.Namespace)
		}
	}()
	if err := r.askAgain(ctx, link); err != nil {
		return fmt.Errorf("take snapshot of member %s: %w", r.member.Name, err)
	}
	start := r.Now()
	compress := out.compressed || link.Way() == reach.Agent && r.cfg.Compress != CompressNone
	sink := out.sink(compress, Pacer(ctx, r.cfg.LimitRate))
	reply, err := r.transfer(ctx, link, compress, sink)
	if cerr := sink.close(err); err == nil {
		err = cerr
	}
	r.Report.Done()
	if err != nil {
		return fmt.Errorf("take snapshot of member %s: %w", r.member.Name, err)
	}
	for _, told := range []*etcd.Status{reply.Before, reply.After} { // on the snapshot's own connection
		if err := r.sameMember(told); err != nil {
			return fmt.Errorf("take snapshot of member %s: %w", r.member.Name, err)
		}
	}
	if got := sink.plain(); got >= 0 && got != reply.Plain.Size {
		return fmt.Errorf("take snapshot of member %s: %d bytes were written, %d were sent", r.member.Name, got, reply.Plain.Size)
	}
	r.result.WireBytes, r.result.WireSeconds = sink.wire, r.Now().Sub(start).Seconds()
	r.result.AgentPeakRSS, r.result.AgentSeconds = reply.Usage.PeakRSS, reply.Usage.CPU.Seconds()
	r.describe(link.Way(), reply, out, sink)
	return nil
}

func (r *run) open(ctx context.Context) (reach.Link, error) {
	for _, d := range r.cfg.Direct {
		if d.Endpoint == r.member.Endpoint {
			return reach.OpenDirect(ctx, d)
		}
	}
	o := r.cfg.Reach
	o.Operation, o.Data, o.Warn = "backup", r.cfg.Raw, r.warn
	o.PreferAgent = o.PreferAgent && r.expected >= agentPays
	way := r.cfg.Via
	if r.cfg.Raw {
		way = reach.Agent
	}
	return reach.Open(ctx, r.Clients, r.member, way, o)
}

func (r *run) transfer(ctx context.Context, link reach.Link, compress bool, s *sink) (*agentapi.SnapshotReply, error) {
	m := newMeter(r.Report, s)
	defer m.stop()
	progress := func(p agentapi.SnapshotProgress) { m.show(&p) }
	if !r.cfg.Raw {
		return link.Snapshot(ctx, compress, s, progress)
	}
	raw, ok := link.(reach.RawLink)
	if !ok {
		return nil, fmt.Errorf("the %s way cannot read the database's file", link.Way())
	}
	return raw.Raw(ctx, compress, s, progress)
}

func (r *run) dryRun(ctx context.Context, out *output) (*Result, error) {
	p := &Plan{Target: r.target(), Member: r.member.Name, Node: r.member.Node, Why: r.why, Via: r.cfg.Via, File: out.name(), Size: r.expected}
	if len(r.cfg.Direct) == 0 {
		o := r.cfg.Reach
		o.Data = r.cfg.Raw
		p.Via, p.Creates = reach.Plan(r.member, r.cfg.Via, o)
	}
	if err := r.planKeys(ctx, p); err != nil {
		return nil, err
	}
	r.result.Plan = p
	return r.result, nil
}

func (r *run) warn(format string, args ...any) {
	r.result.Warnings = append(r.result.Warnings, fmt.Sprintf(format, args...))
	r.Report.Warn(format, args...)
}
