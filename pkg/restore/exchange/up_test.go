package exchange

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
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

// reading is a cluster of which some members never answer.
type reading struct {
	site.Cluster
	silent []string
}

func (c reading) Survey(ctx context.Context, p controlplane.ControlPlane, _ bool) (*survey.Survey, error) {
	if slices.Contains(c.silent, p.Members[0].Name) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return &survey.Survey{Members: []survey.Member{{Name: p.Members[0].Name, Healthy: true, Status: &etcd.Status{ClusterID: 2}}}}, nil
}

// TestWatchQuorum: a member that does not answer holds up nobody, only those that were named are asked, and none where the API can be.
func TestWatchQuorum(t *testing.T) {
	plane := controlplane.ControlPlane{Members: []controlplane.Member{{Name: "m0"}, {Name: "m1"}, {Name: "m2"}}}
	now, later := time.Unix(7, 0), time.Unix(9, 0)
	answers := func(err error) func(context.Context) error { return func(context.Context) error { return err } }
	for name, c := range map[string]struct {
		silent, members []string
		api             func(context.Context) error
		seen            bool
	}{
		"one is silent":           {silent: []string{"m0"}, members: []string{"m0", "m1"}, seen: true},
		"the third is silent":     {silent: []string{"m2"}, members: []string{"m0", "m1", "m2"}, seen: true},
		"those asked are":         {silent: []string{"m0", "m1"}, members: []string{"m0", "m1"}},
		"the API answers":         {silent: []string{"m0", "m1"}, members: []string{"m0", "m1"}, api: answers(nil), seen: true},
		"the API has no etcd yet": {members: []string{"m0", "m1"}, api: answers(errors.New("etcdserver: no leader"))},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			deps := site.Deps{Now: func() time.Time { return now }}
			r := &Exchange{APIServes: c.api, Run: &restore.Run{Site: &site.Site{Deps: deps, Cluster: reading{silent: c.silent}, Timeout: time.Minute, Plane: plane, Shared: &site.Shared{ClusterID: etcd.ID(2).String()}}}}
			q := r.watchQuorum(t.Context(), c.members)
			if c.seen {
				q.asking.Wait() // the first that is seen ends the others
			} else {
				q.end()
			}
			if got := q.seen(later); got.Equal(now) != c.seen {
				t.Errorf("seen: %v", got)
			}
		})
	}
}
