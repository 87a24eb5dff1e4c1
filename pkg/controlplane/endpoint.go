package controlplane

import (
	"net"
	"net/url"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

func hostURL(scheme, host, port string) string {
	return scheme + "://" + net.JoinHostPort(host, port)
}

// address is one URL that etcd listens on or is known by.
type address struct {
	scheme, host, port string
}

func parseURL(raw string) (address, bool) {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return address{}, false // of a unix socket see socketURL
	}
	port := u.Port()
	if port == "" {
		port = "2379"
	}
	return address{u.Scheme, u.Hostname(), port}, true
}

func addresses(raw []string) []address {
	var out []address
	for _, r := range raw {
		if a, ok := parseURL(r); ok {
			out = append(out, a)
		}
	}
	return out
}

func (a address) String() string { return hostURL(a.scheme, a.host, a.port) }

func (a address) loopback() bool {
	ip := net.ParseIP(a.host)
	return a.host == "localhost" || ip != nil && ip.IsLoopback()
}

func (a address) wildcard() bool {
	ip := net.ParseIP(a.host)
	return ip != nil && ip.IsUnspecified()
}

// setEndpoints works out how a client reaches the member, and which name it
// must find in the certificate.
func (m *Member) setEndpoints() {
	listen := addresses(m.ListenClientURLs)
	for _, a := range listen {
		inside, outside := a, a
		if a.wildcard() {
			inside.host, outside.host = loopbackOf(a.host), m.PodIP
		}
		if m.LoopbackPort == 0 && (a.loopback() || a.wildcard()) {
			m.LoopbackPort, _ = strconv.Atoi(a.port)
		}
		if m.PodEndpoint == "" && !a.loopback() && outside.host != "" {
			m.PodEndpoint = outside.String()
		}
		if m.Endpoint == "" && inside.loopback() {
			m.Endpoint = inside.String()
		}
	}
	if m.Endpoint == "" {
		m.Endpoint = m.PodEndpoint
	}
	if len(listen) == 0 {
		m.Endpoint = socketURL(m.ListenClientURLs)
	}
	m.ServerName = m.serverName()
}

// socketURL is the first URL of a unix socket. etcd takes all behind the scheme for the path, what looks like a port included.
func socketURL(urls []string) string {
	for _, raw := range urls {
		if u, err := url.Parse(raw); err == nil && (u.Scheme == "unix" || u.Scheme == "unixs") && u.Host+u.Path != "" {
			return raw
		}
	}
	return ""
}

// Socket is the path of the unix socket of a member that listens on nothing
// else, in its container; one that is not absolute is in etcd's working directory.
func (m Member) Socket() string {
	if socketURL([]string{m.Endpoint}) == "" {
		return ""
	}
	_, path, _ := strings.Cut(m.Endpoint, "://")
	return path
}

// SocketVolume is what that socket is in; nil: no volume, or no socket.
func (m Member) SocketVolume() *VolumeRef { return volumeFor(m.Mounts, m.Socket()) }

// loopbackOf is the loopback address that a wildcard covers. Certificates name
// it far more often than the address of a pod, which changes with each start.
func loopbackOf(wildcard string) string {
	if strings.Contains(wildcard, ":") {
		return "::1"
	}
	return "127.0.0.1"
}

// serverName: a certificate of a pod in a pod network names the DNS name that
// etcd advertises, seldom the loopback and never an address that changes with
// each start. On a host's network the addresses are in it, and API servers
// rely on just that.
func (m *Member) serverName() string {
	for _, a := range addresses(m.AdvertiseClientURLs) {
		if a.scheme != "https" || a.wildcard() || net.ParseIP(a.host) != nil {
			continue
		}
		if m.HostNetwork && a.loopback() {
			continue
		}
		return a.host
	}
	return ""
}

// knows says whether a URL is this member's, asked from that pod: a loopback
// address is the pod's own, or its node's, and either may have several etcds on
// several ports.
func (m *Member) knows(a address, from *corev1.Pod) bool {
	namespace := from.Namespace
	if a.loopback() {
		node := m.HostNetwork && from.Spec.HostNetwork && m.Node != "" && m.Node == from.Spec.NodeName
		pod := m.Pod != "" && m.Pod == from.Name && m.Namespace == namespace
		return (node || pod) && m.listensOn(a)
	}
	if a.host == m.PodIP && a.host != "" || m.HostNetwork && a.host != "" && a.host == m.HostIP {
		return m.listensOn(a)
	}
	for _, own := range addresses(append(append([]string{}, m.AdvertiseClientURLs...), m.ListenClientURLs...)) {
		if !own.wildcard() && !own.loopback() && own.port == a.port && sameHost(own.host, a.host) && (namespace == m.Namespace || !relative(a.host)) {
			return true
		}
	}
	return false
}

// relative says that a name means something else in each namespace: "kube-etcd-0.kube-etcd".
func relative(host string) bool {
	return net.ParseIP(host) == nil && strings.Count(strings.TrimSuffix(host, "."), ".") < 2
}

// listensOn is true for an address that is in the member's network. Where what
// it listens on is not known, what it advertises has at least the port.
func (m *Member) listensOn(a address) bool {
	listen := addresses(m.ListenClientURLs)
	for _, own := range listen {
		if own.port == a.port && (own.wildcard() || own.loopback() && a.loopback() || sameHost(own.host, a.host)) {
			return true
		}
	}
	if len(listen) > 0 {
		return false
	}
	advertised := addresses(m.AdvertiseClientURLs)
	for _, own := range advertised {
		if own.port == a.port {
			return true
		}
	}
	return len(advertised) == 0
}

func sameHost(a, b string) bool {
	if x, y := net.ParseIP(a), net.ParseIP(b); x != nil && y != nil {
		return x.Equal(y)
	}
	return strings.EqualFold(strings.TrimSuffix(a, "."), strings.TrimSuffix(b, "."))
}
