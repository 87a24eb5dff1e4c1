package survey_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/agentapi"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/survey"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify/etcdtest"
)

func cluster(t *testing.T, minors ...string) *etcdtest.Cluster {
	t.Helper()
	var bs []etcdtest.Binaries
	for _, m := range minors {
		bs = append(bs, etcdtest.Find(t, m))
	}
	c := etcdtest.StartCluster(t, etcdtest.Config{Binaries: bs})
	for _, k := range []string{"a", "b", "c"} {
		c.Put(t, k, strings.Repeat(k, 100))
	}
	return c
}

// source asks a member directly, under a name that is not etcd's.
func source(m *etcdtest.Member) survey.Source {
	return survey.Source{
		Member: controlplane.Member{Name: "endpoint-of-" + m.Name, Endpoint: m.Endpoint},
		Open: func(ctx context.Context) (reach.Link, error) {
			return reach.OpenDirect(ctx, reach.DirectConfig{Endpoint: m.Endpoint})
		},
	}
}

func sources(ms ...*etcdtest.Member) []survey.Source {
	var out []survey.Source
	for _, m := range ms {
		out = append(out, source(m))
	}
	return out
}

func take(t *testing.T, ss []survey.Source) *survey.Survey {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s, err := survey.Take(ctx, ss, true)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func names(s *survey.Survey, which func(survey.Member) bool) []string {
	var out []string
	for _, m := range s.Members {
		if which(m) {
			out = append(out, m.Name)
		}
	}
	return out
}

func expect(t *testing.T, s *survey.Survey, c survey.Consistency, healthy, differing []string) {
	t.Helper()
	if s.Consistency != c {
		t.Errorf("consistency %q (%s), want %q", s.Consistency, s.Note, c)
	}
	if got := names(s, func(m survey.Member) bool { return m.Healthy }); !slices.Equal(got, healthy) {
		t.Errorf("healthy: %v, want %v", got, healthy)
	}
	if got := names(s, func(m survey.Member) bool { return m.Differs }); !slices.Equal(got, differing) {
		t.Errorf("differing: %v, want %v", got, differing)
	}
	for _, m := range s.Members {
		if !m.Healthy && m.Error == "" && m.Status == nil {
			t.Errorf("member %s is not healthy and nothing says why", m.Name)
		}
	}
}

func TestEqual(t *testing.T) {
	t.Parallel()
	for _, minor := range etcdtest.Minors {
		t.Run(minor, func(t *testing.T) {
			t.Parallel()
			c := cluster(t, minor, minor, minor)
			l := c.AddLearner(t, c.Members[0].Binaries)
			s := take(t, sources(c.Members...))
			expect(t, s, survey.Equal, []string{"m1", "m2", "m3", "m4"}, nil)
			if got := names(s, func(m survey.Member) bool { return m.Leader }); len(got) != 1 {
				t.Errorf("leaders: %v", got)
			}
			if got := names(s, func(m survey.Member) bool { return m.Learner }); !slices.Equal(got, []string{l.Name}) {
				t.Errorf("learners: %v", got)
			}
			if !s.Healthy() || s.ClusterID == 0 || s.Find("m2") == nil || s.Find("endpoint-of-m2") != s.Find("m2") || s.Find("m9") != nil || s.Find("") != nil {
				t.Errorf("%+v", s)
			}
			for _, m := range c.Members {
				if got := s.Find(m.Name).PeerURLs; !slices.Equal(got, []string{m.PeerURL}) {
					t.Errorf("peer URLs of %s: %v, want %s", m.Name, got, m.PeerURL)
				}
			}
			if h := s.Find("m1").Hash; h == nil || h.Hash != s.Find("m3").Hash.Hash {
				t.Errorf("hashes: %v", h)
			}
		})
	}
}

func TestOneMember(t *testing.T) {
	t.Parallel()
	c := cluster(t, "3.6")
	expect(t, take(t, sources(c.Members...)), survey.NotAsked, []string{"m1"}, nil)
	// The same member by two endpoints is not two members that agree, but one.
	expect(t, take(t, sources(c.Members[0], c.Members[0])), survey.NotAsked, []string{"m1"}, nil)
}

// tampered stops a member, changes its data and starts it again.
func tampered(t *testing.T, m *etcdtest.Member) {
	t.Helper()
	m.Shutdown(t)
	m.Tamper(t)
	m.Start(t)
	m.Wait(t)
}

func TestDiffers(t *testing.T) {
	t.Parallel()
	for _, minor := range etcdtest.Minors {
		t.Run(minor, func(t *testing.T) {
			t.Parallel()
			c := cluster(t, minor, minor, minor)
			tampered(t, c.Members[1])
			s := take(t, sources(c.Members...))
			expect(t, s, survey.Differs, []string{"m1", "m2", "m3"}, []string{"m2"})
			if s.Healthy() || !strings.Contains(s.Note, "the data of m2 differs") {
				t.Errorf("healthy %t, note %q", s.Healthy(), s.Note)
			}
		})
	}
}

// Where no majority agrees, nobody can say who is right.
func TestDiffersWithoutMajority(t *testing.T) {
	t.Parallel()
	c := cluster(t, "3.6", "3.6")
	tampered(t, c.Members[0])
	s := take(t, sources(c.Members...))
	expect(t, s, survey.Differs, []string{"m1", "m2"}, []string{"m1", "m2"})
	if !strings.Contains(s.Note, "no majority agrees: m1, m2") {
		t.Errorf("note %q", s.Note)
	}
}

func TestMixedVersions(t *testing.T) {
	t.Parallel()
	c := cluster(t, "3.5", "3.6", "3.6")
	s := take(t, sources(c.Members...))
	expect(t, s, survey.NotComparable, []string{"m1", "m2", "m3"}, nil)
	if !s.Healthy() || !strings.Contains(s.Note, "different versions: 3.5, 3.6") {
		t.Errorf("note %q", s.Note)
	}
}

func TestMemberDown(t *testing.T) {
	t.Parallel()
	c := cluster(t, "3.6", "3.6", "3.6")
	down, up := stopFollower(t, c)
	s := take(t, sources(c.Members...))
	expect(t, s, survey.Equal, up, nil)
	// It is known to etcd by another name and URL than it was found by, so both are shown.
	if m := s.Find(down.Name); m == nil || m.ID == 0 || s.Healthy() {
		t.Errorf("%+v", s)
	}
	if m := s.Find("endpoint-of-" + down.Name); m == nil || !strings.Contains(m.Error, down.Endpoint) {
		t.Errorf("%+v", m)
	}
}

// stopFollower stops one that does not lead, so that the others go on at once.
func stopFollower(t *testing.T, c *etcdtest.Cluster) (down *etcdtest.Member, up []string) {
	t.Helper()
	down = c.Followers(t)[0]
	down.Stop()
	for _, m := range c.Members {
		if m != down {
			up = append(up, m.Name)
		}
	}
	return down, up
}

func TestMemberDownKnownByURL(t *testing.T) {
	t.Parallel()
	b := etcdtest.Find(t, "3.6")
	c := etcdtest.StartCluster(t, etcdtest.Config{Binaries: []etcdtest.Binaries{b, b, b}, Host: "127.0.0.1"})
	down, up := stopFollower(t, c)
	s := take(t, sources(c.Members...))
	expect(t, s, survey.Equal, up, nil)
	if m := s.Find(down.Name); len(s.Members) != 3 || m == nil || m.ID == 0 || !strings.Contains(m.Error, "connection refused") {
		t.Errorf("%+v", s.Members)
	}
}

func TestNoQuorum(t *testing.T) {
	t.Parallel()
	c := cluster(t, "3.6", "3.6", "3.6")
	c.Members[0].Stop()
	c.Members[1].Stop()
	var s *survey.Survey
	for s == nil || s.Members[0].Leader || s.Members[0].Healthy { // until it notices that it is alone
		s = take(t, sources(c.Members[2]))
	}
	if m := s.Members[0]; m.Status == nil || m.Error == "" || s.Consistency != survey.NotAsked || s.Healthy() {
		t.Errorf("%+v", s)
	}
}

// Some members found only: those that were not asked are shown as such.
func TestLeaderOnly(t *testing.T) {
	t.Parallel()
	c := cluster(t, "3.6", "3.6", "3.6")
	s := take(t, sources(c.Leader(t)))
	expect(t, s, survey.NotAsked, []string{c.Leader(t).Name}, nil)
	if len(s.Members) != 3 || s.Healthy() {
		t.Errorf("%+v", s)
	}
	for _, f := range c.Followers(t) {
		if m := s.Find(f.Name); m == nil || !strings.Contains(m.Error, "it was not asked") || m.Source != nil {
			t.Errorf("%+v", m)
		}
	}
}

func TestTwoClusters(t *testing.T) {
	t.Parallel()
	a, b := cluster(t, "3.6", "3.6"), cluster(t, "3.6")
	s := take(t, sources(a.Members[0], a.Members[1], b.Members[0]))
	if s.Consistency != survey.Differs || !strings.Contains(s.Note, "not of one cluster") || s.Healthy() {
		t.Errorf("%q: %s", s.Consistency, s.Note)
	}
	n := 0
	for _, m := range s.Members {
		if m.Differs {
			n++
			if m.Endpoint != b.Members[0].Endpoint {
				t.Errorf("%+v", m)
			}
		}
	}
	if n != 1 {
		t.Errorf("%d members differ", n)
	}
}

func TestAlarm(t *testing.T) {
	t.Parallel()
	b := etcdtest.Find(t, "3.6")
	c := etcdtest.StartCluster(t, etcdtest.Config{Binaries: []etcdtest.Binaries{b}, Args: []string{"--quota-backend-bytes", "65536"}})
	client := c.Members[0].Client(t)
	for range 5000 {
		if _, err := client.Put(t.Context(), "key", strings.Repeat("x", 20000)); err != nil {
			break
		}
	}
	s := take(t, sources(c.Members...))
	if m := s.Find("m1"); !slices.Equal(m.Alarms, []string{"NOSPACE"}) || m.Quota != 65536 || s.Healthy() {
		t.Errorf("%+v", m)
	}
}

// hooked lets a test act between a question and its answer.
type hooked struct {
	reach.Link
	before func(reach.Question)
	after  func(*agentapi.QueryReply)
}

func (h hooked) Query(ctx context.Context, q reach.Question) (*agentapi.QueryReply, error) {
	if h.before != nil {
		h.before(q)
	}
	r, err := h.Link.Query(ctx, q)
	if h.after != nil && err == nil {
		h.after(r)
	}
	return r, err
}

func hook(s survey.Source, h hooked) survey.Source {
	open := s.Open
	s.Open = func(ctx context.Context) (reach.Link, error) {
		l, err := open(ctx)
		h.Link = l
		return h, err
	}
	return s
}

// A compaction between the status and the hash makes the revision unavailable; the next round asks at a newer one.
func TestCompactionMeanwhile(t *testing.T) {
	t.Parallel()
	c := cluster(t, "3.6", "3.6", "3.6")
	client := c.Members[0].Client(t)
	compacted := false
	ss := sources(c.Members...)
	ss[1] = hook(ss[1], hooked{before: func(q reach.Question) {
		if q.HashAt == nil || compacted {
			return
		}
		compacted = true
		for range 3 {
			c.Put(t, "more", "x")
		}
		r, err := client.Get(t.Context(), "a")
		if err == nil {
			_, err = client.Compact(t.Context(), r.Header.Revision)
		}
		if err != nil {
			t.Error(err)
		}
	}})
	expect(t, take(t, ss), survey.Equal, []string{"m1", "m2", "m3"}, nil)
	if !compacted {
		t.Error("nobody was asked for a hash")
	}
}

// A member that stays behind is no member whose data differs.
func TestLaggard(t *testing.T) {
	t.Parallel()
	c := cluster(t, "3.6", "3.6", "3.6")
	ss := sources(c.Members...)
	asked := 0
	ss[2] = hook(ss[2], hooked{after: func(r *agentapi.QueryReply) {
		if r.Hash != nil {
			asked++
			r.Hash, r.NotNow = nil, true
		}
	}})
	s := take(t, ss)
	expect(t, s, survey.NotComparable, []string{"m1", "m2", "m3"}, nil)
	if asked != 3 || !strings.Contains(s.Note, "member m3 cannot give a hash at revision") || !s.Healthy() {
		t.Errorf("asked %d times, note %q", asked, s.Note)
	}
}

// Members that compacted to different revisions hash different things.
func TestUnequalCompactions(t *testing.T) {
	t.Parallel()
	c := cluster(t, "3.6", "3.6")
	ss := sources(c.Members...)
	ss[0] = hook(ss[0], hooked{after: func(r *agentapi.QueryReply) {
		if r.Hash != nil {
			r.Hash.CompactRevision += 7
			r.Hash.Hash++
		}
	}})
	s := take(t, ss)
	expect(t, s, survey.NotComparable, []string{"m1", "m2"}, nil)
	if !strings.Contains(s.Note, "compacted to different revisions") {
		t.Errorf("note %q", s.Note)
	}
}

func TestWhyNot(t *testing.T) {
	t.Parallel()
	no := false
	broken := errors.New("the exec broke")
	open := func(err error) func(context.Context) (reach.Link, error) {
		return func(context.Context) (reach.Link, error) { return nil, err }
	}
	for _, c := range []struct {
		m    controlplane.Member
		err  error
		want string
	}{
		{controlplane.Member{PodName: "etcd-2"}, nil, "its pod does not exist"},
		{controlplane.Member{Pod: "etcd-0", PodName: "etcd-0", Reason: "CrashLoopBackOff"}, broken, "pod etcd-0 is CrashLoopBackOff"},
		{controlplane.Member{Pod: "etcd-0", PodName: "etcd-0", Node: "n1", NodeReady: &no}, broken, "node n1 is not ready"},
		{controlplane.Member{Pod: "etcd-0", PodName: "etcd-0"}, &reach.NotPossible{Err: broken}, "the exec broke"},
		{controlplane.Member{Pod: "etcd-0", PodName: "etcd-0"}, broken, "the exec broke"},
	} {
		c.m.Name = "m"
		s := take(t, []survey.Source{{Member: c.m, Open: open(c.err)}})
		if m := s.Find("m"); m.Error != c.want || m.Healthy || s.Healthy() {
			t.Errorf("%+v, want %q", m, c.want)
		}
	}
}

func TestTakeEndsWithItsContext(t *testing.T) {
	t.Parallel()
	c := cluster(t, "3.6")
	ctx, cancel := context.WithCancel(t.Context())
	ss := sources(c.Members...)
	ss[0] = hook(ss[0], hooked{before: func(reach.Question) { cancel() }})
	if s, err := survey.Take(ctx, ss, true); !errors.Is(err, context.Canceled) {
		t.Errorf("%+v, %v", s, err)
	}
}
