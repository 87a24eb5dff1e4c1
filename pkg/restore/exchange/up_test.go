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
		behind    string
		open      bool
		committed bool
	}{
		"all are there":                                   {members: []string{there, there, there}},
		"one is not":                                      {members: []string{old, there, there}, behind: "m0"},
		"one is not, and another is silent":               {members: []string{old, silent, there}, behind: "m0", open: true},
		"one is not, and both are silent":                 {members: []string{silent, old, silent}, behind: "m1", open: true},
		"one is not, both silent, and there was a leader": {members: []string{silent, old, silent}, behind: "m1", committed: true},
		"a majority is not":                               {members: []string{old, old, there}},
		"a majority is not, one is silent":                {members: []string{old, old, silent}},
		"nobody answers":                                  {members: []string{silent, silent, silent}},
		"the only one is not":                             {members: []string{old}},
		"two of five, and one is silent":                  {members: []string{old, old, silent, there, there}, behind: "m0 m1", open: true},
		"two of five":                                     {members: []string{old, old, there, there, there}, behind: "m0 m1"},
	} {
		sh, s := &site.Shared{ClusterID: etcd.ID(2).String()}, &survey.Survey{}
		for i, m := range c.members {
			name := "m" + string(rune('0'+i))
			sh.Members = append(sh.Members, site.MemberRecord{Name: name})
			st := map[string]*etcd.Status{there: {ClusterID: 2}, old: {ClusterID: 1}}[m]
			s.Members = append(s.Members, survey.Member{Name: name, Status: st})
		}
		r := &Exchange{Run: &restore.Run{Site: &site.Site{Shared: sh, Operation: &plan.Operation{Steps: []plan.Step{{Commit: c.committed, State: plan.Doing}}}}}, Alone: time.Minute}
		if names, decided := r.behind(s); !slices.Equal(names, strings.Fields(c.behind)) || decided == c.open {
			t.Errorf("%s: %v are behind, decided: %t", name, names, decided)
		}
		r.Alone = 0 // without agents that go on alone nobody goes back
		if names, decided := r.behind(s); len(names) > 0 || !decided {
			t.Errorf("%s, hosted: %v are behind, decided: %t", name, names, decided)
		}
	}
}
