package restore

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/survey"
)

func threeMembers() controlplane.ControlPlane {
	p := controlplane.ControlPlane{Namespace: "team-a", Name: "kube-etcd", Owner: controlplane.Owner{Kind: "StatefulSet", Name: "kube-etcd"}}
	for _, name := range []string{"a", "b", "c"} {
		n := string(name[0] - 'a' + '0')
		p.Members = append(p.Members, controlplane.Member{Name: name, Namespace: "team-a", PodName: "kube-etcd-" + n, Pod: "kube-etcd-" + n})
	}
	return p
}

// answering is what the members say of themselves: a revision, or 0 for no answer.
func answering(p controlplane.ControlPlane, revisions ...int64) *survey.Survey {
	s := &survey.Survey{}
	for i, rev := range revisions {
		m := survey.Member{Name: p.Members[i].Name, Source: &p.Members[i]}
		if rev > 0 {
			m.Status = &etcd.Status{Revision: rev}
		}
		s.Members = append(s.Members, m)
	}
	return s
}

// TestQuota: whose quota decides whether a snapshot is too large.
func TestQuota(t *testing.T) {
	member := func(name string, quota int64) survey.Member {
		return survey.Member{Name: name, Quota: quota, Source: &controlplane.Member{Name: name}}
	}
	for name, c := range map[string]struct {
		hot     bool
		rollout bool
		skip    string
		members []survey.Member
		want    int64
	}{
		"the smallest":             {members: []survey.Member{member("a", 8), member("b", 2), member("c", 4)}, want: 2},
		"one does not tell":        {members: []survey.Member{member("a", 8), member("b", 0)}, want: 8},
		"one has no limit":         {members: []survey.Member{member("a", 8), member("b", -1)}, want: 8},
		"nobody tells":             {members: []survey.Member{member("a", 0)}},
		"the smallest is left out": {skip: "b", members: []survey.Member{member("a", 8), member("b", 2)}, want: 8},
		"listed, but has no pod":   {members: []survey.Member{member("a", 8), {Name: "b", Quota: 2}}, want: 8},
		"pods will be others":      {rollout: true, members: []survey.Member{member("a", 8)}},
		"pods stay when it is hot": {rollout: true, hot: true, members: []survey.Member{member("a", 8)}, want: 8},
	} {
		set := &appsv1.StatefulSet{Status: appsv1.StatefulSetStatus{CurrentRevision: "x", UpdateRevision: "x"}}
		sc := &Scene{Survey: &survey.Survey{Members: c.members}}
		if c.rollout {
			set.Status.UpdateRevision = "y"
		}
		sc.Pods = PodsOf(set)
		if c.skip != "" {
			sc.Skipped = []controlplane.Member{{Name: c.skip}}
		}
		if got := sc.quota(c.hot); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

// TestWhole: which members may be named and left out while quorum is lost.
func TestWhole(t *testing.T) {
	for name, c := range map[string]struct {
		members, skip []string
		revisions     []int64
		want, hint    string // of the refusal; none
	}{
		"all":                        {nil, nil, []int64{0, 0, 0}, "", ""},
		"all by name":                {[]string{"0", "1", "2"}, nil, []int64{0, 0, 7}, "", ""},
		"two of three":               {[]string{"0", "1"}, nil, []int64{0, 0, 7}, "before these members are restored too: c; member c still has revision 7, which can be restored on all: --from member/c", "add --member c,"},
		"one of three, nobody left":  {[]string{"b"}, nil, []int64{0, 0, 0}, "before these members are restored too: a, c", "add --member a --member c,"},
		"one is gone":                {nil, []string{"2"}, []int64{9, 0, 0}, "", ""},
		"one is gone, all others":    {[]string{"0", "1"}, []string{"c"}, []int64{0, 0, 0}, "", ""},
		"one is gone, one forgotten": {[]string{"0"}, []string{"c"}, []int64{0, 0, 0}, "restored too: b", "add --member b,"},
		"two are gone":               {nil, []string{"1", "2"}, []int64{9, 0, 0}, "1 of 3 members are no quorum", "restore more of them: leave out some --skip-member"},
		"what answers is left out":   {nil, []string{"0"}, []int64{9, 0, 0}, "it answers, and would go on with its old data", "leave out --skip-member a"},
	} {
		t.Run(name, func(t *testing.T) {
			p := threeMembers()
			skipped, err := site.Chosen(p, c.skip)
			if err != nil {
				t.Fatal(err)
			}
			sc := &Scene{Survey: answering(p, c.revisions...), Skipped: skipped}
			err = sc.Whole(Config{Target: site.Target{Plane: p}, Members: c.members, Skip: c.skip})
			switch refusal, _ := err.(*site.Refusal); {
			case c.want == "" && err == nil:
			case refusal == nil || c.want == "":
				t.Errorf("%v", err)
			case !strings.Contains(refusal.Reason, c.want) || !strings.HasPrefix(refusal.Hint(), c.hint):
				t.Errorf("%q, %q", refusal.Reason, refusal.Hint())
			}
		})
	}
}
