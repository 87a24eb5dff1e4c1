package controlplane

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"slices"
	"sort"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/program"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/shell"
)

// apiServers are the processes of a pod that were given --etcd-servers: every
// API server, whatever product it belongs to.
func apiServers(r *program.Reader, pod *corev1.Pod) []APIServer {
	var out []APIServer
	for _, c := range program.Containers(&pod.Spec) {
		if !mentions(c, "etcd-servers") {
			continue
		}
		var n program.Notes
		env := program.NewEnvironment(r, pod, c, &n)
		for _, inv := range program.ContainerPrograms(c, program.PodHost(pod, env)) {
			flags := program.ParseFlags(inv.Argv[1:])
			for name, v := range flags {
				if strings.Contains(v, shell.Unknown) {
					delete(flags, name)
				}
			}
			if flags["etcd-servers"] == "" {
				continue
			}
			out = append(out, APIServer{
				Namespace: pod.Namespace, Pod: pod.Name, Node: pod.Spec.NodeName, Container: c.Name, Image: c.Image, Ready: containerReady(pod, c.Name),
				EtcdServers: urls(flags["etcd-servers"]), Overrides: overrides(flags["etcd-servers-overrides"]),
				EtcdPrefix: cmp.Or(flags["etcd-prefix"], "/registry"),
				TLS:        TLSFiles{flags["etcd-cafile"], flags["etcd-certfile"], flags["etcd-keyfile"]},
				Encryption: flags[EncryptionFlag],
				object:     pod,
			})
		}
	}
	return out
}

func mentions(c *corev1.Container, word string) bool {
	for _, s := range append(append([]string{}, c.Command...), c.Args...) {
		if strings.Contains(s, word) {
			return true
		}
	}
	return false
}

func containerReady(pod *corev1.Pod, name string) bool {
	s := program.StatusOf(pod, name)
	return s != nil && s.Ready
}

// overrides reads "group/resource#server;server,…".
func overrides(s string) []Override {
	var out []Override
	for _, o := range strings.Split(s, ",") {
		resource, servers, ok := strings.Cut(strings.TrimSpace(o), "#")
		if ok {
			out = append(out, Override{resource, urls(strings.ReplaceAll(servers, ";", ","))})
		}
	}
	return out
}

// connect adds each API server to the control plane whose members it was told
// to use, and makes an External one of servers that are nobody's.
func (f *finder) connect(planes []ControlPlane, servers []APIServer, q Query) []ControlPlane {
	external := map[string]*ControlPlane{}
	link := func(a APIServer, urls []string, resource string) {
		if resource != "" {
			a.For = []string{resource}
		}
		if i := f.planeOf(planes, a, urls); i >= 0 {
			addServer(&planes[i], a)
			return
		}
		endpoints := append([]string{}, urls...)
		sort.Strings(endpoints)
		key := a.Namespace + " " + a.scope(urls) + " " + strings.Join(endpoints, ",")
		p, ok := external[key]
		if !ok {
			tls := a.TLS
			p = &ControlPlane{Namespace: a.Namespace, Name: "external-etcd", Layout: External, Owner: Owner{Kind: "External", Name: "external-etcd"},
				Endpoints: endpoints, ClientTLS: &tls}
			if q.Namespace != "" && a.scope(urls) == "" {
				p.Notes = append(p.Notes, fmt.Sprintf("no pod in namespace %q serves these endpoints; one elsewhere might: look in all namespaces", q.Namespace))
			}
			external[key] = p
		}
		f.locate(p, a, urls)
		addServer(p, a)
	}
	for _, a := range servers {
		link(a, a.EtcdServers, "")
		for _, o := range a.Overrides {
			link(a, o.Servers, o.Resource)
		}
	}
	taken := map[string]int{}
	for _, p := range planes {
		taken[p.ID()]++
	}
	for _, key := range slices.Sorted(maps.Keys(external)) {
		p := external[key]
		for base, n := p.Name, 2; taken[p.ID()] > 0; n++ {
			p.Name = fmt.Sprintf("%s-%d", base, n)
		}
		taken[p.ID()]++
		p.Owner.Name = p.Name
		planes = append(planes, *p)
	}
	for i := range planes {
		planes[i].noteOverrides()
		planes[i].knowServersTLS()
	}
	return planes
}

func addServer(p *ControlPlane, a APIServer) {
	for i := range p.APIServers {
		b := &p.APIServers[i]
		if b.Namespace != a.Namespace || b.Pod != a.Pod || b.Container != a.Container {
			continue
		}
		switch {
		case len(a.For) == 0:
			b.For = nil
		case len(b.For) > 0 && !contains(b.For, a.For[0]):
			b.For = append(b.For, a.For[0])
		}
		return
	}
	p.APIServers = append(p.APIServers, a)
}

// noteOverrides tells that this etcd does not hold everything, or holds a
// part only: a backup of one is then not a backup of the cluster.
func (c *ControlPlane) noteOverrides() {
	var n program.Notes
	for _, a := range c.APIServers {
		for _, o := range a.Overrides {
			if len(a.For) == 0 {
				n.Add("API server %s keeps %s in another etcd: %s", a.Pod, o.Resource, strings.Join(o.Servers, ", "))
			}
		}
		if len(a.For) > 0 {
			n.Add("API server %s keeps only %s here", a.Pod, strings.Join(a.For, ", "))
		}
	}
	c.Notes = append(c.Notes, n.List...)
}

// planeOf finds the control plane behind an API server's etcd URLs; -1 if
// there is none.
func (f *finder) planeOf(planes []ControlPlane, a APIServer, raw []string) int {
	targets := addresses(raw)
	for _, t := range targets {
		for i := range planes {
			for j := range planes[i].Members {
				if planes[i].Members[j].knows(t, a.object) {
					return i
				}
			}
		}
	}
	for _, t := range targets {
		if of, _ := f.byService(planes, t, a.Namespace); len(of) > 0 && !t.loopback() {
			return of[0]
		}
	}
	for _, t := range targets {
		if i := byName(planes, t, a.Namespace); i >= 0 {
			return i
		}
	}
	return -1
}

func namespacesOf(planes []ControlPlane) []string {
	var out []string
	for _, p := range planes {
		if !contains(out, p.Namespace) {
			out = append(out, p.Namespace)
		}
	}
	return out
}

// serviceName splits a cluster-internal DNS name: SERVICE[.NS[.svc…]], or
// POD.SERVICE.NS.svc… for one pod behind a headless Service.
func serviceName(host, namespace string) (name, ns string) {
	parts := strings.Split(strings.TrimSuffix(host, "."), ".")
	for i, p := range parts {
		if p == "svc" && i >= 2 {
			return parts[i-2], parts[i-1]
		}
	}
	if len(parts) >= 2 {
		return parts[0], parts[1]
	}
	return parts[0], namespace
}

// services lists a namespace's Services once; without the right to, byName
// has to do.
func (f *finder) services(ns string) []corev1.Service {
	if list, ok := f.serviceCache[ns]; ok {
		return list
	}
	var items []corev1.Service
	if list, err := f.client.Core.Services(ns).List(f.ctx, metav1.ListOptions{}); err == nil {
		items = list.Items
	}
	f.serviceCache[ns] = items
	return items
}

// byName guesses from the usual names ("etcd-main-client" is the Service of
// StatefulSet "etcd-main"): the longest name of a control plane in the
// namespace that the host's begins with, or the only control plane there is.
func byName(planes []ControlPlane, t address, namespace string) int {
	if net.ParseIP(t.host) != nil || t.loopback() {
		return -1
	}
	name, ns := serviceName(t.host, namespace)
	best, lone, count := -1, -1, 0
	for i, p := range planes {
		if p.Namespace != ns {
			continue
		}
		lone = i
		count++
		if strings.HasPrefix(name, p.Name) && (best < 0 || len(p.Name) > len(planes[best].Name)) {
			best = i
		}
	}
	if best < 0 && count == 1 && strings.Contains(name, "etcd") {
		return lone
	}
	return best
}
