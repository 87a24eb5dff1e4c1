package site

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/backup"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/survey"
)

// Chosen are the members that the user means: each by its ordinal, by the name of its pod, its own, or, of static pods, its node's.
func Chosen(p controlplane.ControlPlane, names []string) ([]controlplane.Member, error) {
	var out []controlplane.Member
	for _, want := range names {
		m, ok := p.Member(want)
		if n, err := strconv.Atoi(want); !ok && err == nil && n >= 0 {
			m, ok = p.Member(fmt.Sprintf("%s-%d", p.Owner.Name, n))
		}
		var known []string
		for _, o := range p.Members {
			known = append(known, o.Name)
			if !ok && (o.PodName == want || p.Static() && o.Node == want || o.PodName == p.Owner.Name+"-"+want) {
				m, ok = o, true
			}
		}
		if !ok {
			return nil, &backup.ErrNoMember{Name: want, Have: known}
		}
		if !slices.ContainsFunc(out, func(o controlplane.Member) bool { return o.Name == m.Name }) {
			out = append(out, m)
		}
	}
	return out, nil
}

// KnowPeers takes the peer URLs that no setting tells from the members' own list, and refuses where that has none either:
// the restored members could not find each other.
func KnowPeers(p controlplane.ControlPlane, s *survey.Survey) (controlplane.ControlPlane, error) {
	p.Members = slices.Clone(p.Members)
	for i := range p.Members {
		m := &p.Members[i]
		if len(m.AdvertisePeerURLs) > 0 {
			continue
		}
		if listed := s.Find(m.Name); listed != nil {
			m.AdvertisePeerURLs = listed.PeerURLs
		}
		if len(m.AdvertisePeerURLs) == 0 {
			return p, Refuse("name them where etcd is started: --initial-advertise-peer-urls, or an entry "+m.Name+"=URL in --initial-cluster",
				"restore %s: the peer URLs of member %s are not known: neither --initial-advertise-peer-urls nor --initial-cluster tells them, and no member that answers lists it", p.ID(), m.Name)
		}
	}
	return p, nil
}
