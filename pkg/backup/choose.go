package backup

import (
	"fmt"
	"strings"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/survey"
)

func join(s []string) string {
	if len(s) == 0 {
		return "(none)"
	}
	return strings.Join(s, ", ")
}

// choose picks the source: never a learner, never one whose data differs from
// the majority's; one on a ready node rather than another, since no utility pod
// starts where the kubelet is silent; a follower rather than the leader; the most
// advanced of those.
// A member that was asked for is taken if it can be. why says it in words.
func choose(s *survey.Survey, want string) (m *survey.Member, why string, err error) {
	if want != "" {
		return chosen(s, want)
	}
	for i := range s.Members {
		c := &s.Members[i]
		if !c.Healthy || c.Learner || c.Differs || c.Source == nil || c.Corrupt() {
			continue
		}
		if m == nil || better(c, m) {
			m = c
		}
	}
	switch {
	case m == nil:
		return nil, "", &ErrNoSource{Survey: s, Reason: noSource(s)}
	case len(s.Members) == 1:
		return m, "the only member", nil
	case m.Leader:
		return m, "the leader; no follower can be used", nil
	}
	return m, "a healthy follower", nil
}

func better(a, b *survey.Member) bool {
	if a.Source.NodeSilent() != b.Source.NodeSilent() {
		return b.Source.NodeSilent()
	}
	if a.Leader != b.Leader {
		return b.Leader
	}
	return a.Status.RaftAppliedIndex > b.Status.RaftAppliedIndex
}

func chosen(s *survey.Survey, want string) (*survey.Member, string, error) {
	m := s.Find(want)
	if m == nil {
		var have []string
		for _, c := range s.Members {
			have = append(have, c.Name)
		}
		return nil, "", &ErrNoMember{Name: want, Have: have}
	}
	switch {
	case m.Status == nil || m.Source == nil:
		return nil, "", &ErrNoSource{Survey: s, Reason: fmt.Sprintf("member %s does not answer: %s", m.Name, m.Error)}
	case m.Learner:
		return nil, "", &ErrNoSource{Reason: fmt.Sprintf("member %s is a learner, which may lack data", m.Name)}
	case m.Differs && s.Majority:
		return nil, "", &ErrNoSource{Survey: s, Reason: s.Note}
	}
	// Without a majority nobody but the user can tell which data is right, and
	// on such a day a backup of each is worth more than a rule.
	return m, "as asked for", nil
}

func noSource(s *survey.Survey) string {
	if s.Consistency == survey.Differs {
		return s.Note
	}
	var why []string
	for _, m := range s.Members {
		switch {
		case m.Error != "":
			why = append(why, m.Name+": "+m.Error)
		case m.Learner:
			why = append(why, m.Name+": a learner")
		case m.Corrupt():
			why = append(why, m.Name+": it has a CORRUPT alarm")
		}
	}
	if len(why) == 0 {
		return "the control plane has no members"
	}
	return "no member can give a snapshot (" + strings.Join(why, "; ") + ")"
}

// findings are the survey's words that a person has to hear.
func findings(s *survey.Survey) []string {
	var out []string
	if s.Consistency == survey.Differs || s.Consistency == survey.NotComparable {
		out = append(out, s.Note)
	}
	for _, a := range s.Alarms {
		out = append(out, fmt.Sprintf("the cluster has a %s alarm", a))
	}
	for _, m := range s.Members {
		if m.Error != "" {
			out = append(out, fmt.Sprintf("member %s: %s", m.Name, m.Error))
		}
		for _, a := range m.Alarms {
			out = append(out, fmt.Sprintf("member %s has a %s alarm", m.Name, a))
		}
		// A snapshot pins a read transaction, so the database can grow while it runs.
		if m.Status != nil && m.Quota > 0 && m.Status.DBSize*10 > m.Quota*8 {
			out = append(out, fmt.Sprintf("member %s uses %d %% of its quota; writes during a slow backup make its database grow", m.Name, m.Status.DBSize*100/m.Quota))
		}
	}
	return out
}
