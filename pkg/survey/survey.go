// Package survey asks all members of a control plane how they are, and whether
// they hold the same data.
package survey

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
)

// Consistency is what the members' hashes say.
type Consistency string

const (
	Equal         Consistency = "equal"
	Differs       Consistency = "differs"
	NotComparable Consistency = "not comparable" // versions or compactions differ, or a member would not tell
	NotAsked      Consistency = "not asked"
)

// Member is one member as far as it could be asked.
type Member struct {
	Name     string       `json:"name"`
	ID       etcd.ID      `json:"id"` // 0: not known
	Pod      string       `json:"pod,omitempty"`
	Node     string       `json:"node,omitempty"`
	Endpoint string       `json:"endpoint,omitempty"`
	PeerURLs []string     `json:"peerURLs,omitempty"` // as etcd's own list has them
	Status   *etcd.Status `json:"status,omitempty"`
	Leader   bool         `json:"leader"`
	Learner  bool         `json:"learner"`
	Healthy  bool         `json:"healthy"` // answers, knows a leader and serves a linearizable read (a learner: answers)
	Alarms   []string     `json:"alarms,omitempty"`
	Hash     *etcd.HashKV `json:"hash,omitempty"`
	// Differs: this member's data is not what the majority has.
	Differs bool   `json:"differs"`
	Quota   int64  `json:"quota,omitempty"` // bytes
	Error   string `json:"error,omitempty"`
	// Source is where it was found; nil for a member that only etcd's own list names.
	Source *controlplane.Member `json:"-"`

	also []string // other names of it that were given
}

// Survey is the answer of all members.
type Survey struct {
	ClusterID   etcd.ID     `json:"clusterID"`
	Members     []Member    `json:"members"`
	Consistency Consistency `json:"consistency"`
	// Majority: more than half of the voters that were compared hold the same data.
	Majority bool `json:"majority"`
	// Alarms are those that etcd raised for no member that is known: it cannot always tell whose data is corrupt.
	Alarms []string `json:"alarms,omitempty"`
	// Note explains a Consistency that is not Equal.
	Note string `json:"note,omitempty"`
}

// Healthy says that every member answers, none has an alarm and none differs.
func (s *Survey) Healthy() bool {
	for _, m := range s.Members {
		if !m.Healthy || m.Differs || len(m.Alarms) > 0 {
			return false
		}
	}
	return s.Consistency != Differs && len(s.Members) > 0 && len(s.Alarms) == 0
}

// Corrupt says that etcd itself has marked this member's data as corrupt.
func (m *Member) Corrupt() bool { return slices.Contains(m.Alarms, "CORRUPT") }

// Find returns the member of that name: etcd's, its pod's, or the one it was found by.
func (s *Survey) Find(name string) *Member {
	for i := range s.Members {
		m := &s.Members[i]
		if m.Name == name || slices.Contains(m.also, name) || m.Source != nil && (m.Source.Name == name || m.Pod != "" && m.Pod == name) {
			return m
		}
	}
	return nil
}

// Source is a member and how to open a way to it.
type Source struct {
	Member controlplane.Member
	Open   func(context.Context) (reach.Link, error)
}

// Sources are the members of a control plane, each by the cheapest way to ask it.
func Sources(c *reach.Clients, p controlplane.ControlPlane, o reach.Options) []Source {
	var out []Source
	for _, m := range p.Members {
		out = append(out, Source{Member: m, Open: func(ctx context.Context) (reach.Link, error) { return reach.OpenQuery(ctx, c, m, o) }})
	}
	return out
}

// DirectSources are endpoints that are reached without a cluster, one for each member of p.
func DirectSources(p controlplane.ControlPlane, configs []reach.DirectConfig) []Source {
	var out []Source
	for i, d := range configs {
		out = append(out, Source{Member: p.Members[i], Open: func(ctx context.Context) (reach.Link, error) { return reach.OpenDirect(ctx, d) }})
	}
	return out
}

// askTimeout bounds all that is asked of one member but its hash.
const askTimeout = 45 * time.Second

// Take asks every source. A member that does not answer is in the result with
// its error; Take itself fails only when ctx is over. With hashes it also
// compares the voters' data at one revision.
func Take(ctx context.Context, sources []Source, hashes bool) (*Survey, error) {
	t := &taker{links: make([]reach.Link, len(sources)), s: &Survey{Members: make([]Member, len(sources)), Consistency: NotAsked}}
	defer t.close(ctx)
	var wg sync.WaitGroup
	for i, src := range sources {
		wg.Go(func() { t.ask(ctx, i, src) })
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	direct := len(sources) > 0 && sources[0].Member.PodName == ""
	if direct {
		t.once(ctx)
	}
	t.askCluster(ctx, direct)
	if t.oneCluster() && hashes {
		t.compare(ctx)
	}
	slices.SortStableFunc(t.s.Members, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	return t.s, ctx.Err()
}

type taker struct {
	links []reach.Link
	s     *Survey
}

func (t *taker) close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	for _, l := range t.links {
		if l != nil {
			_ = l.Close(ctx)
		}
	}
}

// ask fills in one member.
func (t *taker) ask(ctx context.Context, i int, src Source) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	m := &t.s.Members[i]
	*m = Member{Name: src.Member.Name, Pod: src.Member.Pod, Node: src.Member.Node, Endpoint: src.Member.Endpoint, Quota: src.Member.QuotaBytes, Source: &src.Member}
	if src.Member.Missing() && src.Member.PodName != "" {
		m.Error = "its pod does not exist"
		return
	}
	l, err := src.Open(ctx)
	if err != nil {
		m.Error = because(err, src.Member)
		return
	}
	t.links[i] = l
	r, err := l.Query(ctx, reach.Question{Status: true})
	if err != nil {
		m.Error = because(err, src.Member)
		return
	}
	s := r.Status
	m.Status, m.ID, m.Learner, m.Leader = s, s.MemberID, s.IsLearner, s.Leader == s.MemberID
	m.Healthy = s.Leader != 0 && (s.IsLearner || s.Latency > 0)
	if s.DBSizeQuota > 0 {
		m.Quota = s.DBSizeQuota
	}
	if !m.Healthy {
		m.Error = "no leader"
		if len(s.Errors) > 0 {
			m.Error = strings.Join(s.Errors, "; ")
		}
	}
}

// once keeps one of the endpoints that are the same member's: as one voter it
// must not be several of a majority.
func (t *taker) once(ctx context.Context) {
	var members []Member
	var links []reach.Link
	for i, m := range t.s.Members {
		same := slices.IndexFunc(members, func(o Member) bool {
			return m.Status != nil && o.Status != nil && m.ID == o.ID && m.Status.ClusterID == o.Status.ClusterID
		})
		if same < 0 {
			members, links = append(members, m), append(links, t.links[i])
			continue
		}
		members[same].also = append(members[same].also, m.Name)
		_ = t.links[i].Close(ctx) // it was only asked
	}
	t.s.Members, t.links = members, links
}

// askCluster reads what is the cluster's and not a member's: the member list
// and the alarms. Any member with a leader tells; without one there is neither.
func (t *taker) askCluster(ctx context.Context, direct bool) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	for i, l := range t.links {
		if l == nil || !t.s.Members[i].Healthy || t.s.Members[i].Learner {
			continue
		}
		if r, err := l.Query(ctx, reach.Question{Members: true, Alarms: true}); err == nil {
			t.fromList(r.Members, direct)
			t.alarms(r.Alarms)
			return
		}
	}
	t.fromList(nil, direct)
}

// because prefers what the pod says of itself to what the exec met.
func because(err error, m controlplane.Member) string {
	if m.Reason != "" {
		return fmt.Sprintf("pod %s is %s", m.Pod, m.Reason)
	}
	if m.NodeSilent() {
		return fmt.Sprintf("node %s is not ready", m.Node)
	}
	var np *reach.NotPossible
	if errors.As(err, &np) {
		return np.Error()
	}
	return err.Error()
}

// oneCluster finds members that answer for different clusters: a restore that
// reached only some of them, or endpoints that do not belong together. Those of
// the larger cluster are taken for the right ones.
func (t *taker) oneCluster() bool {
	names := map[etcd.ID][]string{}
	answers := 0
	for _, m := range t.s.Members {
		if m.Status != nil {
			names[m.Status.ClusterID] = append(names[m.Status.ClusterID], m.Name)
			answers++
		}
	}
	if len(names) < 2 {
		return true
	}
	var parts []string
	right := etcd.ID(0)
	for id, ms := range names {
		parts = append(parts, fmt.Sprintf("%s in cluster %s", strings.Join(ms, ", "), id))
		if 2*len(ms) > answers {
			right = id
		}
	}
	slices.Sort(parts)
	t.s.Majority = right != 0
	t.s.ClusterID, t.s.Consistency, t.s.Note = right, Differs, "the members are not of one cluster: "+strings.Join(parts, "; ")
	for i := range t.s.Members {
		if m := &t.s.Members[i]; m.Status != nil {
			m.Differs = m.Status.ClusterID != right
		}
	}
	return false
}

// fromList takes over etcd's names, and adds the members that no pod was found for.
func (t *taker) fromList(list []etcd.Member, direct bool) {
	known := map[etcd.ID]bool{}
	for i := range t.s.Members {
		m := &t.s.Members[i]
		if m.Status != nil {
			known[m.ID] = true
			if t.s.ClusterID == 0 {
				t.s.ClusterID = m.Status.ClusterID
			}
		}
	}
	for _, e := range list {
		if known[e.ID] {
			m := t.byID(e.ID)
			m.PeerURLs = e.PeerURLs
			if e.Name != "" {
				m.Name = e.Name
			}
			continue
		}
		if m := t.silent(e); m != nil {
			m.ID, m.Learner, m.PeerURLs = e.ID, e.IsLearner, e.PeerURLs
			if e.Name != "" {
				m.Name = e.Name
			}
			continue
		}
		name := e.Name
		if name == "" {
			name = "(not started)"
		}
		why := "etcd lists it, but no pod of it was found"
		if direct {
			why = "etcd lists it, but it was not asked: no endpoint of it was given, or it does not answer"
		}
		t.s.Members = append(t.s.Members, Member{Name: name, ID: e.ID, Learner: e.IsLearner, Endpoint: first(e.ClientURLs), PeerURLs: e.PeerURLs, Error: why})
	}
}

// silent finds a member that did not answer by the name or the URL that etcd's list has of it.
func (t *taker) silent(e etcd.Member) *Member {
	for i := range t.s.Members {
		m := &t.s.Members[i]
		if m.Status == nil && (e.Name != "" && m.Name == e.Name || slices.Contains(e.ClientURLs, m.Endpoint)) {
			return m
		}
	}
	return nil
}

func first(s []string) string {
	if len(s) == 0 {
		return ""
	}
	return s[0]
}

func (t *taker) byID(id etcd.ID) *Member {
	for i := range t.s.Members {
		if t.s.Members[i].ID == id {
			return &t.s.Members[i]
		}
	}
	return nil
}

func (t *taker) alarms(list []etcd.Alarm) {
	for _, a := range list {
		if m := t.byID(a.MemberID); m != nil && a.MemberID != 0 {
			m.Alarms = append(m.Alarms, a.Type)
		} else {
			t.s.Alarms = append(t.s.Alarms, a.Type)
		}
	}
}
