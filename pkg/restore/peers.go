package restore

import (
	"slices"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/survey"
)

// knowPeers takes the peer URLs that no setting tells from the members' own list, and refuses where that has none either:
// the restored members could not find each other.
func knowPeers(p controlplane.ControlPlane, s *survey.Survey) (controlplane.ControlPlane, error) {
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
			return p, refuse("name them where etcd is started: --initial-advertise-peer-urls, or an entry "+m.Name+"=URL in --initial-cluster",
				"restore %s: the peer URLs of member %s are not known: neither --initial-advertise-peer-urls nor --initial-cluster tells them, and no member that answers lists it", p.ID(), m.Name)
		}
	}
	return p, nil
}
