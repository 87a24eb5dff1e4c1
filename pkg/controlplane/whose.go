package controlplane

import (
	"net"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// whose are the control planes of which a URL can be, for clients, asked from that
// pod. sure is false where the names alone say so, and several are there to be
// meant. A URL of peers, of metrics, or of nobody is none's.
func (f *finder) whose(planes []ControlPlane, from *corev1.Pod, t address) (of []int, sure bool) {
	if t.loopback() {
		return nil, true // of the pod itself
	}
	for i := range planes {
		for j := range planes[i].Members {
			if m := &planes[i].Members[j]; m.knows(t, from) || m.named(t, from.Namespace) {
				return []int{i}, true
			}
		}
	}
	of, resolved := f.byService(planes, t, from.Namespace)
	if resolved || net.ParseIP(t.host) != nil {
		return of, len(of) < 2
	}
	return guess(planes, t, from.Namespace)
}

// clientPorts are those at which etcd serves clients, as far as it is known.
func (m *Member) clientPorts() []string {
	var out []string
	for _, a := range addresses(append(append([]string{}, m.ListenClientURLs...), m.AdvertiseClientURLs...)) {
		out = append(out, a.port)
	}
	if len(out) == 0 {
		return []string{"2379"}
	}
	return out
}

// named says whether a URL is the member's by the name of its pod behind a
// headless Service, whatever it advertises.
func (m *Member) named(t address, namespace string) bool {
	parts := strings.Split(strings.TrimSuffix(t.host, "."), ".")
	if len(parts) < 2 || m.Subdomain == "" || parts[0] != m.Hostname || parts[1] != m.Subdomain || !contains(m.clientPorts(), t.port) {
		return false
	}
	if len(parts) > 2 {
		namespace = parts[2]
	}
	return namespace == m.Namespace
}

// byService asks which pods the Service of that name or address selects, and
// whether they serve clients at the port that it leads to. resolved is false where
// there is no such Service, or it does not say where it leads.
func (f *finder) byService(planes []ControlPlane, t address, namespace string) (of []int, resolved bool) {
	for hops := 0; hops < 4; hops++ {
		next := ""
		for _, s := range f.servicesOf(planes, t, namespace) {
			if s.Spec.Type == corev1.ServiceTypeExternalName {
				next = s.Spec.ExternalName
				continue
			}
			if len(s.Spec.Selector) == 0 {
				continue // its endpoints are somebody's own
			}
			resolved = true
			selector := labels.SelectorFromSet(s.Spec.Selector)
			for i := range planes {
				for j := range planes[i].Members {
					m := &planes[i].Members[j]
					if m.Namespace == s.Namespace && selector.Matches(labels.Set(m.Object.Labels)) && contains(m.clientPorts(), targetPort(s, m, t.port)) && !contains(of, i) {
						of = append(of, i)
					}
				}
			}
		}
		if next == "" {
			break
		}
		t.host = next
	}
	return of, resolved
}

// servicesOf are those of that name or address.
func (f *finder) servicesOf(planes []ControlPlane, t address, namespace string) []corev1.Service {
	var out []corev1.Service
	if net.ParseIP(t.host) == nil {
		name, ns := serviceName(t.host, namespace)
		for _, s := range f.services(ns) {
			if s.Name == name {
				out = append(out, s)
			}
		}
		return out
	}
	for _, ns := range append(namespacesOf(planes), namespace) {
		for _, s := range f.services(ns) {
			if contains(s.Spec.ClusterIPs, t.host) || s.Spec.ClusterIP == t.host {
				out = append(out, s)
			}
		}
	}
	return out
}

// targetPort is the member's port behind a Service's; "" where the Service has no
// such port. A headless Service, or one of which no ports are known, changes none.
func targetPort(s corev1.Service, m *Member, port string) string {
	if s.Spec.ClusterIP == corev1.ClusterIPNone || len(s.Spec.Ports) == 0 {
		return port
	}
	for _, p := range s.Spec.Ports {
		switch {
		case strconv.Itoa(int(p.Port)) != port:
		case p.TargetPort.StrVal != "":
			return m.containerPort(p.TargetPort.StrVal)
		case p.TargetPort.IntVal != 0:
			return strconv.Itoa(int(p.TargetPort.IntVal))
		default:
			return port
		}
	}
	return ""
}

func (m *Member) containerPort(name string) string {
	for i := range m.Object.Spec.Containers {
		for _, p := range m.Object.Spec.Containers[i].Ports {
			if p.Name == name {
				return strconv.Itoa(int(p.ContainerPort))
			}
		}
	}
	return ""
}

// guess takes a name that no Service explains by its words. "etcd-main-client" is
// of "etcd-main", for sure where that is the only one there, or has just that name.
func guess(planes []ControlPlane, t address, namespace string) (of []int, sure bool) {
	name, ns := serviceName(t.host, namespace)
	var in []ControlPlane
	var at []int
	for i, p := range planes {
		serves := len(p.Members) == 0
		for j := range p.Members {
			serves = serves || contains(p.Members[j].clientPorts(), t.port)
		}
		if p.Namespace == ns && !p.External() && serves {
			in, at = append(in, p), append(at, i)
		}
	}
	i := byName(in, t, namespace)
	if i >= 0 && strings.HasPrefix(name, in[i].Name) {
		return []int{at[i]}, len(in) == 1 || in[i].Name == name
	}
	if strings.Contains(name, "etcd") {
		return at, false
	}
	return nil, true
}
