package catalog

import (
	"slices"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/snapshot"
)

var now = time.Date(2026, 3, 31, 12, 0, 0, 0, time.UTC)

// taken is one of control plane p, so long ago.
func taken(p string, ago time.Duration, change ...func(*Entry)) Entry {
	s := &snapshot.Sidecar{Created: now.Add(-ago), Proof: snapshot.ProofFull, Source: snapshot.Source{Node: "same", Namespace: "same", Name: "same"}}
	s.Cluster.KubeSystemUID = p
	e := Entry{Name: p + ago.String(), Snapshot: s}
	for _, c := range change {
		c(&e)
	}
	return e
}

func scheduled(e *Entry) { e.Snapshot.Scheduled = true }
func unproven(e *Entry)  { e.Snapshot.Proof = snapshot.ProofUnproven }
func wrong(e *Entry)     { e.Wrong = "not what was written" }
func incomplete(e *Entry) {
	e.Wrong, e.Snapshot, e.Changed = "incomplete", nil, now.Add(-1000*time.Hour)
}

func TestPolicy(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for name, c := range map[string]struct {
		p    Policy
		all  []Entry
		gone []string
	}{
		"the last two":                  {Policy{Last: 2}, []Entry{taken("a", 2*time.Hour), taken("a", 3*time.Hour), taken("a", 4*time.Hour)}, []string{"a4h0m0s"}},
		"each control plane has its":    {Policy{Last: 1}, []Entry{taken("a", 2*time.Hour), taken("b", 3*time.Hour), taken("a", 4*time.Hour), taken("b", 5*time.Hour)}, []string{"a4h0m0s", "b5h0m0s"}},
		"a schedule is counted apart":   {Policy{Last: 1}, []Entry{taken("a", 2*time.Hour, scheduled), taken("a", 3*time.Hour), taken("a", 4*time.Hour, scheduled), taken("a", 5*time.Hour)}, []string{"a4h0m0s", "a5h0m0s"}},
		"the newest of each day":        {Policy{Daily: 2}, []Entry{taken("a", 2*time.Hour), taken("a", 3*time.Hour), taken("a", day), taken("a", day+time.Hour), taken("a", 2*day)}, []string{"a3h0m0s", "a25h0m0s", "a48h0m0s"}},
		"days without any do not count": {Policy{Daily: 2}, []Entry{taken("a", 2*time.Hour), taken("a", 9*day)}, nil},
		"weeks and months":              {Policy{Weekly: 2, Monthly: 2}, []Entry{taken("a", 2*time.Hour), taken("a", 8*day), taken("a", 32*day), taken("a", 64*day)}, []string{"a1536h0m0s"}},
		"what is young":                 {Policy{Within: 48 * time.Hour}, []Entry{taken("a", 2*time.Hour), taken("a", 47*time.Hour), taken("a", 49*time.Hour)}, []string{"a49h0m0s"}},
		"what is fresh, always":         {Policy{Last: 1}, []Entry{taken("a", time.Minute), taken("a", 59*time.Minute), taken("a", 61*time.Minute)}, []string{"a1h1m0s"}},
		"the newest proven, always":     {Policy{Within: time.Hour}, []Entry{taken("a", 10*day, unproven), taken("a", 20*day), taken("a", 30*day)}, []string{"a720h0m0s"}},
		"never what is not whole":       {Policy{Last: 1}, []Entry{taken("a", 2*time.Hour), taken("a", 3*day, wrong), taken("a", 4*day, incomplete), taken("a", 5*day, unproven), taken("a", 6*day)}, []string{"a144h0m0s"}},
		"bad ones take nobody's place":  {Policy{Last: 2}, []Entry{taken("a", 2*time.Hour, wrong), taken("a", 3*time.Hour, unproven), taken("a", 4*time.Hour), taken("a", 5*time.Hour)}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var gone []string
			for _, d := range c.p.Apply(c.all, now) {
				if len(d.Keep) == 0 {
					gone = append(gone, d.Name)
				}
			}
			if !slices.Equal(gone, c.gone) {
				t.Errorf("removed: %v, want %v", gone, c.gone)
			}
		})
	}
}
