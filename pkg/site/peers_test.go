package site

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/survey"
)

// TestKnowPeers: what settings do not tell the members' own list does, and what neither tells is refused with the flags
// that are missing.
func TestKnowPeers(t *testing.T) {
	t.Parallel()
	const url, other = "https://a.etcd.team-a.svc:2380", "https://moved:2380"
	for name, c := range map[string]struct {
		flags, listed []string
		want          []string // nil: refused
	}{
		"by its flags":          {flags: []string{url}, want: []string{url}},
		"flags go first":        {flags: []string{url}, listed: []string{other}, want: []string{url}},
		"by the list":           {listed: []string{url, other}, want: []string{url, other}},
		"by nothing":            {},
		"the list has no URLs":  {listed: []string{}},
		"of a member not in it": {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := controlplane.ControlPlane{Namespace: "team-a", Name: "kube-etcd", Members: []controlplane.Member{{Name: "a", Settings: controlplane.Settings{AdvertisePeerURLs: c.flags}}}}
			s := &survey.Survey{Members: []survey.Member{{Name: "b", PeerURLs: []string{"https://b:2380"}}}}
			if c.listed != nil {
				s.Members = append(s.Members, survey.Member{Name: "a", PeerURLs: c.listed})
			}
			got, err := KnowPeers(p, s)
			if c.want != nil {
				if err != nil || !slices.Equal(got.Members[0].AdvertisePeerURLs, c.want) {
					t.Errorf("%v, %v", got.Members[0].AdvertisePeerURLs, err)
				}
				if !slices.Equal(p.Members[0].AdvertisePeerURLs, c.flags) {
					t.Error("what was found has been changed")
				}
				return
			}
			var refused *Refusal
			if !errors.As(err, &refused) || !strings.Contains(refused.Reason, "member a are not known") ||
				!strings.Contains(refused.Hint(), "--initial-advertise-peer-urls") || !strings.Contains(refused.Hint(), "a=URL in --initial-cluster") {
				t.Errorf("%v", err)
			}
		})
	}
}
