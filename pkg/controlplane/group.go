package controlplane

import (
	"cmp"
	"sort"
	"strings"
)

// merge joins control planes of one namespace whose members name each other
// as peers: three single pods, or three StatefulSets of one, can be one etcd.
// Names alone are not enough, since "etcd-0" is everywhere: a peer URL that
// both give must agree too.
func (f *finder) merge() {
	for changed := true; changed; {
		changed = false
		for i := 0; i < len(f.order) && !changed; i++ {
			for j := i + 1; j < len(f.order) && !changed; j++ {
				a, b := f.planes[f.order[i]], f.planes[f.order[j]]
				if a.Namespace != b.Namespace || !peers(a, b) && !peers(b, a) {
					continue
				}
				a.Members, a.owners = append(a.Members, b.Members...), append(a.owners, b.owners...)
				delete(f.planes, f.order[j])
				f.order = append(f.order[:j], f.order[j+1:]...)
				changed = true
			}
		}
	}
}

func peers(a, b *ControlPlane) bool {
	for i := range a.Members {
		known := clusterPeers(a.Members[i].InitialCluster)
		for j := range b.Members {
			other := &b.Members[j]
			if other.Name == a.Members[i].Name {
				continue // of one etcd, no two have a name; of two, both can be "default", with peers at their loopback
			}
			for _, u := range known[other.Name] {
				if contains(other.AdvertisePeerURLs, u) {
					return true
				}
			}
		}
	}
	return false
}

func (f *finder) finish(note string) []ControlPlane {
	for _, key := range f.order {
		p := f.planes[key]
		f.nameOwned(p)
		p.Name = p.called(bareName(p))
	}
	f.rename(func(p *ControlPlane) string { return p.called(p.Owner.Name) })
	f.rename(func(p *ControlPlane) string { return p.called(p.Owner.Name) + "." + strings.ToLower(p.Owner.Kind) })
	var out []ControlPlane
	for _, key := range f.order {
		p := f.planes[key]
		sort.SliceStable(p.Members, func(i, j int) bool { return naturalLess(p.Members[i].Name, p.Members[j].Name) })
		p.Notes = append(p.Notes, f.notes[p.Namespace+"/"+p.Owner.Name]...)
		if note != "" && p.Owner.Kind == "StatefulSet" {
			p.Notes = append(p.Notes, note)
		}
		for _, other := range f.order {
			if q := f.planes[other]; q != p && q.container != "" && p.container != "" && q.Namespace == p.Namespace && q.Owner == p.Owner {
				p.Beside = append(p.Beside, q.Name)
			}
		}
		if len(p.Beside) > 0 {
			p.Notes = append(p.Notes, "its pods run another etcd too: "+strings.Join(p.Beside, ", "))
		}
		out = append(out, *p)
	}
	return out
}

// called is the control plane's name after what owns it; of several in the
// same pods, each has its container's too.
func (c *ControlPlane) called(owner string) string {
	switch {
	case c.container == "" || c.container == owner:
		return owner
	case strings.HasPrefix(c.container, owner+"-"):
		return c.container
	}
	return owner + "-" + c.container
}

// rename gives another name to the control planes that share one.
func (f *finder) rename(name func(*ControlPlane) string) {
	taken := map[string]int{}
	for _, key := range f.order {
		taken[f.planes[key].ID()]++
	}
	for _, key := range f.order {
		if p := f.planes[key]; taken[p.ID()] > 1 {
			p.Name = name(p)
		}
	}
}

// bareName: pods that nothing owns are called by the label that says what
// they are, since their own names may be random.
func bareName(p *ControlPlane) string {
	if p.Owner.Kind != ownerBare {
		return cmp.Or(p.base, p.Owner.Name)
	}
	l := p.Members[0].Object.Labels
	return cmp.Or(l["app.kubernetes.io/instance"], l["app.kubernetes.io/name"], l["app"], l["component"], p.Owner.Name)
}

// naturalLess sorts etcd-2 before etcd-10.
func naturalLess(a, b string) bool {
	x, y := strings.TrimRight(a, "0123456789"), strings.TrimRight(b, "0123456789")
	if x != y {
		return a < b
	}
	if p, q := a[len(x):], b[len(y):]; len(p) != len(q) {
		return len(p) < len(q)
	}
	return a < b
}
