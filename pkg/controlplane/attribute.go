package controlplane

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"sort"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/program"
)

// Uses is what was found of the workloads that use an etcd.
type Uses struct {
	Writers []Writer
	// Unsure may use it, or another: Why says what points to it. Only a user knows.
	Unsure []Writer
	// Note says where was not looked; "" where everything was.
	Note string
}

// Writers are the StatefulSets and Deployments of all namespaces whose pod
// templates name this etcd, also those at 0 replicas. All control planes of its
// namespace are known by then: what names another one's is none of it, and no member
// of another one is. Where the user may not list all namespaces, only the control
// plane's own is looked at, and the note says so. Static pods and bare pods are not
// found: nothing scales them.
func Writers(ctx context.Context, c Client, p ControlPlane) (Uses, error) {
	var out Uses
	found, err := workloads(ctx, c, "")
	if err != nil {
		out.Note = fmt.Sprintf("writers were looked for in namespace %s only: %v", p.Namespace, err)
		if found, err = workloads(ctx, c, p.Namespace); err != nil {
			return out, err
		}
	}
	planes, err := Find(ctx, c, Query{Namespace: p.Namespace})
	if err != nil {
		return out, err
	}
	a := &attribution{
		finder: &finder{ctx: ctx, client: c, reader: program.NewReader(ctx, c.Core), serviceCache: map[string][]corev1.Service{}},
		planes: planes, mine: slices.IndexFunc(planes, func(o ControlPlane) bool { return o.ID() == p.ID() }), plane: p,
	}
	if a.mine < 0 {
		a.planes, a.mine = append(a.planes, p), len(a.planes)
	}
	for _, w := range found {
		if member, of := a.member(w); !member {
			a.add(w)
		} else if of != a.mine {
			a.addMember(w)
		}
	}
	a.addHidden()
	out.Writers, out.Unsure = a.sure, a.unsure
	for _, list := range [][]Writer{out.Writers, out.Unsure} {
		sort.Slice(list, func(i, j int) bool { return list[i].Path() < list[j].Path() })
	}
	return out, ctx.Err()
}

// attribution says of workloads whether they use one of several etcds, which is mine.
type attribution struct {
	*finder
	planes []ControlPlane
	mine   int
	plane  ControlPlane

	sure, unsure []Writer
	// rest are those of the namespace whose templates name no etcd.
	rest []Writer
}

// member says whether a workload's pods are members, and of which control plane.
// Of two etcds in one pod it is mine.
func (a *attribution) member(w Writer) (member bool, of int) {
	for i, p := range a.planes {
		for _, o := range append([]Owner{p.Owner}, p.owners...) {
			if p.Namespace == w.Namespace && o.Kind == w.Kind && o.Name == w.Name && (!member || i == a.mine) {
				member, of = true, i
			}
		}
	}
	return member, of
}

// add takes a workload as what its template says that it is.
func (a *attribution) add(w Writer) {
	pod := w.Pod()
	var names []string
	for _, s := range apiServers(a.reader, pod) {
		w.Prefix = s.EtcdPrefix
		names = append(names, s.allServers()...)
	}
	for _, c := range program.Containers(&pod.Spec) {
		names = append(names, a.texts(pod, c)...)
	}
	if a.judge(w, pod, names) {
		return
	}
	if files := a.files(w, pod); w.hidden() && a.judge(w, pod, files) {
		return
	}
	if w.Namespace != a.plane.Namespace {
		return
	}
	if !slices.Contains(knownWriters[a.plane.Layout], w.ID()) {
		a.rest = append(a.rest, w)
		return
	}
	if w.Why = "it is one of " + string(a.plane.Layout) + "'s API servers"; a.lone() {
		a.sure = append(a.sure, w)
	} else {
		w.Why += ", and does not say which etcd it uses"
		a.unsure = append(a.unsure, w)
	}
}

// lone says that no other etcd runs in the namespace.
func (a *attribution) lone() bool {
	return !slices.ContainsFunc(a.planes, func(p ControlPlane) bool { return !p.External() && p.ID() != a.plane.ID() })
}

// judge attributes a workload by what it names; false where it names no etcd that
// is known. What names one for sure is no other's by a name that could be several's.
func (a *attribution) judge(w Writer, pod *corev1.Pod, names []string) bool {
	attributed := false
	maybe := ""
	for _, u := range names {
		of, sure := a.ofURL(pod, u)
		attributed = attributed || len(of) > 0
		switch {
		case !contains(of, a.mine):
		case sure:
			w.Why = u
			a.sure = append(a.sure, w)
			return true
		case maybe == "":
			maybe = a.either(u, of)
		}
	}
	if maybe != "" {
		w.Why = maybe
		a.unsure = append(a.unsure, w)
	}
	return attributed
}

// ofURL are the control planes of which a URL, or HOST:PORT, can be.
func (a *attribution) ofURL(pod *corev1.Pod, url string) (of []int, sure bool) {
	if !hasScheme(url) {
		url = "https://" + url
	}
	t, ok := parseURL(url)
	if !ok || t.wildcard() {
		return nil, true
	}
	return a.whose(a.planes, pod, t)
}

// either says whose a URL may be.
func (a *attribution) either(url string, of []int) string {
	for _, i := range of {
		if i != a.mine {
			return fmt.Sprintf("%s may be of %s or of %s", url, a.plane.ID(), a.planes[i].ID())
		}
	}
	return url + " may be of " + a.plane.ID() + " or of another etcd"
}

// addMember: to stop another etcd's member would stop that etcd, whatever else its
// pods run. An API server beside it is told.
func (a *attribution) addMember(w Writer) {
	pod := w.Pod()
	for _, s := range apiServers(a.reader, pod) {
		for _, u := range s.allServers() {
			if of, _ := a.ofURL(pod, u); contains(of, a.mine) {
				w.Why, w.Prefix = "beside a member of another etcd it runs an API server that uses "+u, s.EtcdPrefix
				a.unsure = append(a.unsure, w)
				return
			}
		}
	}
}

// allServers are those for everything, and those for some resources only.
func (a APIServer) allServers() []string {
	out := slices.Clone(a.EtcdServers)
	for _, o := range a.Overrides {
		out = append(out, o.Servers...)
	}
	return out
}

// etcdURL finds what could be a client URL in a command line, a variable or a file,
// scripts included: URLs, and host:port with etcd's usual client port.
var etcdURL = regexp.MustCompile(`https?://[A-Za-z0-9._:\[\]-]+|[A-Za-z0-9._-]+:2379`)

var scheme = regexp.MustCompile(`^[a-z]+://`)

func hasScheme(s string) bool { return scheme.MatchString(s) }

// texts are the URLs in a container's command line and variables.
func (a *attribution) texts(pod *corev1.Pod, c *corev1.Container) []string {
	var n program.Notes
	env := program.NewEnvironment(a.reader, pod, c, &n)
	read := env.Lookup
	if pod.Namespace != a.plane.Namespace { // a read for each variable of each namespace is too many
		read = func(name string) (string, bool) {
			i := slices.IndexFunc(c.Env, func(e corev1.EnvVar) bool { return e.Name == name && e.ValueFrom == nil })
			if i < 0 {
				return "", false
			}
			return c.Env[i].Value, true
		}
	}
	var out []string
	for _, text := range words(c) {
		out = append(out, etcdURL.FindAllString(program.ExpandReferences(text, read), -1)...)
	}
	if pod.Namespace != a.plane.Namespace {
		return out
	}
	for _, e := range c.Env {
		if e.ValueFrom != nil {
			v, _ := read(e.Name)
			out = append(out, etcdURL.FindAllString(v, -1)...)
		}
	}
	for _, from := range c.EnvFrom {
		if from.ConfigMapRef != nil {
			out = append(out, a.inConfigMap(pod.Namespace, from.ConfigMapRef.Name)...)
		}
	}
	return out
}

// files are the URLs in the ConfigMaps that a workload of the namespace mounts.
func (a *attribution) files(w Writer, pod *corev1.Pod) []string {
	if w.Namespace != a.plane.Namespace {
		return nil
	}
	var out []string
	for _, source := range program.Sources(pod, "ConfigMap") {
		out = append(out, a.inConfigMap(pod.Namespace, source.Name)...)
	}
	return out
}

// inConfigMap: one that may not be read names nothing.
func (a *attribution) inConfigMap(namespace, name string) []string {
	data, err := a.reader.Get("ConfigMap", namespace, name)
	if err != nil {
		return nil
	}
	var out []string
	for _, key := range slices.Sorted(maps.Keys(data)) {
		out = append(out, etcdURL.FindAllString(data[key], -1)...)
	}
	return out
}
