package exchange

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/survey"
)

// TestBehind: whoever has gone back is exchanged again where a majority has not, and it is waited for as long as that cannot be told.
func TestBehind(t *testing.T) {
	const there, old, silent = "there", "old", "silent"
	for name, c := range map[string]struct {
		members   []string
		old       string
		committed bool
		want      decision
	}{
		"all are there":                                   {members: []string{there, there, there}, want: together},
		"one is not":                                      {members: []string{old, there, there}, old: "m0", want: left},
		"one is not, and another is silent":               {members: []string{old, silent, there}, old: "m0", want: undecided},
		"one is not, and both are silent":                 {members: []string{silent, old, silent}, old: "m1", want: undecided},
		"one is not, both silent, and there was a leader": {members: []string{silent, old, silent}, old: "m1", committed: true, want: left},
		"a majority is not":                               {members: []string{old, old, there}, old: "m0 m1", want: wentBack},
		"a majority is not, one is silent":                {members: []string{old, silent, old}, old: "m0 m2", want: wentBack},
		"nobody answers":                                  {members: []string{silent, silent, silent}, want: together},
		"the only one is not":                             {members: []string{old}, old: "m0", want: wentBack},
		"two of five, and one is silent":                  {members: []string{old, old, silent, there, there}, old: "m0 m1", want: undecided},
		"two of five":                                     {members: []string{old, old, there, there, there}, old: "m0 m1", want: left},
	} {
		sh, s := &site.Shared{ClusterID: etcd.ID(2).String()}, &survey.Survey{}
		for i, m := range c.members {
			name := "m" + string(rune('0'+i))
			sh.Members = append(sh.Members, site.MemberRecord{Name: name})
			st := map[string]*etcd.Status{there: {ClusterID: 2}, old: {ClusterID: 1}}[m]
			s.Members = append(s.Members, survey.Member{Name: name, Status: st})
		}
		r := &Exchange{Run: &restore.Run{Site: &site.Site{Shared: sh, Operation: &plan.Operation{Steps: []plan.Step{{Commit: c.committed, State: plan.Doing}}}}}, Alone: time.Minute}
		if names, got := r.behind(s); !slices.Equal(names, strings.Fields(c.old)) || got != c.want {
			t.Errorf("%s: %v went back: %d", name, names, got)
		}
		r.Alone = 0 // without agents that go on alone nobody goes back
		if names, got := r.behind(s); len(names) > 0 || got != together {
			t.Errorf("%s, hosted: %v went back: %d", name, names, got)
		}
	}
}
