package survey

import (
	"slices"
	"strings"
)

// Votes tells whether a member takes part. A CORRUPT alarm of another one does not hinder it: writes are refused then.
func (m *Member) Votes() bool { return m.Healthy && !m.Learner && !m.Corrupt() }

// Why is what keeps a member from taking part, for people.
func (m *Member) Why() string {
	switch {
	case m.Error != "":
		return m.Error
	case m.Learner:
		return "it is a learner"
	}
	return strings.Join(m.Alarms, ", ")
}

// Of is the member that was found under that name; nil where none was.
func (s *Survey) Of(name string) *Member {
	for i, m := range s.Members {
		if m.Source != nil && m.Source.Name == name {
			return &s.Members[i]
		}
	}
	return nil
}

// AnyHealthy tells whether a voter takes part in a quorum.
func (s *Survey) AnyHealthy() bool {
	return slices.ContainsFunc(s.Members, func(m Member) bool { return m.Healthy && !m.Learner })
}

// MostUpToDate is the member with the highest revision of those that answer, nil where none does. One that is left usually
// has more than any backup.
func (s *Survey) MostUpToDate() *Member {
	var best *Member
	for i, m := range s.Members {
		if m.Source != nil && m.Status != nil && (best == nil || m.Status.Revision > best.Status.Revision) {
			best = &s.Members[i]
		}
	}
	return best
}
