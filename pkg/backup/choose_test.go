package backup

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/snapshot"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/survey"
)

// member is a healthy one that was found in a pod.
func member(name string, applied uint64, change ...func(*survey.Member)) survey.Member {
	m := survey.Member{Name: name, Pod: "pod-" + name, Healthy: true, Status: &etcd.Status{RaftAppliedIndex: applied, DBSize: 1000},
		Source: &controlplane.Member{Name: name, Pod: "pod-" + name}}
	for _, c := range change {
		c(&m)
	}
	return m
}

func leader(m *survey.Member)    { m.Leader = true }
func learner(m *survey.Member)   { m.Learner = true }
func differs(m *survey.Member)   { m.Differs = true }
func unlisted(m *survey.Member)  { m.Source = nil }
func down(m *survey.Member)      { m.Healthy, m.Status, m.Error = false, nil, "connection refused" }
func noKubelet(m *survey.Member) { m.Source.NodeReady = new(bool) }
func noLeader(m *survey.Member)  { m.Healthy, m.Error = false, "no leader" }

func TestChoose(t *testing.T) {
	t.Parallel()
	corrupt := func(m *survey.Member) { m.Alarms = []string{"CORRUPT"} }
	for _, c := range []struct {
		name      string
		members   []survey.Member
		want      string // asked for
		got, text string // member and reason, or nothing and the error's words
	}{
		{"one", []survey.Member{member("a", 1, leader)}, "", "a", "the only member"},
		{"a follower", []survey.Member{member("a", 9, leader), member("b", 1)}, "", "b", "a healthy follower"},
		{"the most advanced follower", []survey.Member{member("a", 9, leader), member("b", 5), member("c", 7)}, "", "c", "a healthy follower"},
		{"the leader, where a pod can start", []survey.Member{member("a", 9, leader), member("b", 9, noKubelet)}, "", "a", "the leader; no follower can be used"},
		{"no node is ready", []survey.Member{member("a", 9, leader, noKubelet), member("b", 1, noKubelet)}, "", "b", "a healthy follower"},
		{"only the leader", []survey.Member{member("a", 9, leader), member("b", 0, down)}, "", "a", "the leader; no follower can be used"},
		{"no learner", []survey.Member{member("a", 9, leader), member("b", 9, learner)}, "", "a", "the leader"},
		{"none that differs", []survey.Member{member("a", 9, leader), member("b", 8, differs), member("c", 1)}, "", "c", "a healthy follower"},
		{"none without a leader", []survey.Member{member("a", 9, noLeader), member("b", 0, down)}, "", "", "a: no leader; b: connection refused"},
		{"none that was not found", []survey.Member{member("a", 9, unlisted), member("b", 1, leader)}, "", "b", "the leader"},
		{"all differ", []survey.Member{member("a", 9, differs), member("b", 1, differs)}, "", "", "the note"},
		{"a learner alone", []survey.Member{member("a", 9, learner)}, "", "", "a: a learner"},
		{"nobody", nil, "", "", "the control plane has no members"},
		{"as asked for", []survey.Member{member("a", 9, leader), member("b", 1)}, "a", "a", "as asked for"},
		{"by pod", []survey.Member{member("a", 9, leader), member("b", 1)}, "pod-a", "a", "as asked for"},
		{"asked for, without a leader", []survey.Member{member("a", 9, noLeader), member("b", 0, down)}, "a", "a", "as asked for"},
		{"asked for, down", []survey.Member{member("a", 9, leader), member("b", 0, down)}, "b", "", "member b does not answer: connection refused"},
		{"asked for, differs", []survey.Member{member("a", 9, leader), member("b", 1, differs)}, "b", "", "the note"},
		{"asked for, differs, and nobody is right", []survey.Member{member("a", 9, leader, differs), member("b", 1, differs)}, "b", "b", "as asked for"},
		{"none that is corrupt", []survey.Member{member("a", 9, leader), member("b", 1, corrupt)}, "", "a", "the leader"},
		{"asked for, unknown", []survey.Member{member("a", 9, leader), member("b", 1)}, "c", "", `no member "c"; there are: a, b`},
		{"asked for, nobody", nil, "c", "", `no member "c"; there are: (none)`},
	} {
		s := &survey.Survey{Members: c.members, Note: "the note"}
		for _, m := range c.members {
			if m.Differs {
				s.Consistency = survey.Differs
			} else {
				s.Majority = true
			}
		}
		m, why, err := choose(s, c.want)
		switch {
		case c.got == "" && (err == nil || !strings.Contains(err.Error(), c.text)):
			t.Errorf("%s: %v, %v; want error %q", c.name, m, err, c.text)
		case c.got != "" && (err != nil || m.Name != c.got || !strings.Contains(why, c.text)):
			t.Errorf("%s: %v, %q, %v; want %s, %q", c.name, m, why, err, c.got, c.text)
		}
	}
}

func TestFindings(t *testing.T) {
	t.Parallel()
	full := member("full", 1, func(m *survey.Member) { m.Quota, m.Status.DBSize = 1000, 850 })
	alarmed := member("alarmed", 1, func(m *survey.Member) { m.Alarms = []string{"NOSPACE"} })
	s := &survey.Survey{Consistency: survey.Differs, Note: "the note", Members: []survey.Member{member("good", 1), full, alarmed, member("gone", 0, down)}}
	want := []string{"the note", "member full uses 85 % of its quota", "member alarmed has a NOSPACE alarm", "member gone: connection refused"}
	got := findings(s)
	if len(got) != len(want) {
		t.Fatalf("%q", got)
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("%q, want %q", got[i], want[i])
		}
	}
	if got := findings(&survey.Survey{Members: []survey.Member{member("good", 1)}}); len(got) > 0 {
		t.Errorf("%q", got)
	}
}

func TestRawSource(t *testing.T) {
	t.Parallel()
	one := []controlplane.Member{{Name: "a", Pod: "pod-a"}}
	two := []controlplane.Member{{Name: "a", Pod: "pod-a"}, {Name: "b", PodName: "pod-b"}}
	for _, c := range []struct {
		members []controlplane.Member
		want    string
		got     string
		is      error
	}{
		{one, "", "a", nil},
		{two, "b", "b", nil},
		{two, "pod-a", "a", nil},
		{two, "", "", &ErrNoSource{}},
		{two, "c", "", &ErrNoMember{}},
	} {
		r := &run{cfg: Config{Raw: true, Member: c.want, Plane: controlplane.ControlPlane{Members: c.members}}}
		err := r.rawSource()
		if c.got != "" && (err != nil || r.member.Name != c.got) {
			t.Errorf("%q of %d: %s, %v", c.want, len(c.members), r.member.Name, err)
		}
		var noSource *ErrNoSource
		var noMember *ErrNoMember
		switch c.is.(type) {
		case *ErrNoSource:
			if !errors.As(err, &noSource) || !strings.Contains(err.Error(), "--member: a, b") {
				t.Errorf("%v", err)
			}
		case *ErrNoMember:
			if !errors.As(err, &noMember) || !slices.Equal(noMember.Have, []string{"a", "b"}) {
				t.Errorf("%v", err)
			}
		}
	}
}

// A sidecar of a raw copy claims nothing that nobody proved.
func TestDescribeRaw(t *testing.T) {
	t.Parallel()
	r := &run{cfg: Config{Raw: true}, started: time.Now(), result: &Result{}}
	r.describe("agent", rawReply(), &output{}, &sink{})
	if s := r.result.Snapshot; s.Proof != snapshot.ProofUnproven || !s.Raw || s.RevisionBefore != 0 || s.Content != nil {
		t.Errorf("%+v", s)
	}
}
