package controlplane

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/program"
)

// knownWriters have etcd's URLs in files, where they are not always seen.
var knownWriters = map[Layout][]string{
	HyperShift: {"Deployment/kube-apiserver", "Deployment/openshift-apiserver", "Deployment/openshift-oauth-apiserver"},
}

// launchers are images whose program starts an API server as its child, with flags that no template shows.
var launchers = []string{"k0s", "k3s", "vcluster", "vcluster-pro", "vcluster-oss"}

// ServesAPI says that a writer runs an API server.
func (w Writer) ServesAPI() bool { return w.Prefix != "" || w.hidden() }

// hidden says that a workload runs an API server, though its template may not show
// of which etcd.
func (w Writer) hidden() bool {
	if _, ok := w.APIServerPort(); ok {
		return true
	}
	return slices.ContainsFunc(program.Containers(&w.Template.Spec), func(c *corev1.Container) bool {
		return slices.Contains(launchers, program.ImageBase(c.Image)) || strings.HasSuffix(c.Name, "-apiserver")
	})
}

// controller says that a workload is known to use API servers only.
func (w Writer) controller() bool {
	return slices.ContainsFunc(program.Containers(&w.Template.Spec), func(c *corev1.Container) bool {
		return controllerProgram.MatchString(strings.Join(words(c), " "))
	})
}

// addHidden looks for the API server of a control plane in whose namespace none has
// told by its template that it uses this etcd: by the Secret with etcd's
// certificates, which it mounts as the members do, and by what the files that it
// mounts name. What no API server is known to run in may be one, and is asked about.
func (a *attribution) addHidden() {
	known := func(w Writer) bool { return w.Namespace == a.plane.Namespace && w.hidden() }
	if slices.ContainsFunc(a.sure, known) || slices.ContainsFunc(a.unsure, known) {
		return
	}
	var others []Writer
	for _, w := range a.rest {
		secret, shared := a.shares(w)
		switch {
		case secret == "" || !w.hidden() || w.Prefix != "": // what says which etcd it uses does not use this one for sure
			others = append(others, w)
		case shared:
			w.Why = "it mounts Secret " + secret + ", as members of several etcds do"
			a.unsure = append(a.unsure, w)
		default:
			w.Why = "it mounts Secret " + secret + ", as its members do"
			a.sure = append(a.sure, w)
		}
	}
	if slices.ContainsFunc(a.sure, known) {
		return
	}
	for _, w := range others {
		if w.controller() || a.perhaps(w) {
			continue
		}
		if secret, _ := a.shares(w); secret != "" {
			w.Why = "it mounts Secret " + secret + ", as its members do"
			a.unsure = append(a.unsure, w)
		}
	}
}

// perhaps takes a workload of which files name this etcd: a list of what is watched
// names it as well as a configuration does.
func (a *attribution) perhaps(w Writer) bool {
	pod := w.Pod()
	for _, u := range a.files(w, pod) {
		if of, _ := a.ofURL(pod, u); contains(of, a.mine) {
			w.Why = "a file that it mounts names " + u
			a.unsure = append(a.unsure, w)
			return true
		}
	}
	return false
}

// shares finds a Secret with TLS files of this etcd's members that a workload mounts,
// too, and whether another etcd's members have it as well.
func (a *attribution) shares(w Writer) (secret string, others bool) {
	for _, source := range program.Sources(w.Pod(), "Secret") {
		name := source.Name
		if !hasSecret(a.planes[a.mine], name) {
			continue
		}
		shared := slices.ContainsFunc(a.planes, func(p ControlPlane) bool { return p.ID() != a.plane.ID() && hasSecret(p, name) })
		if secret == "" || !shared {
			secret, others = name, shared
		}
	}
	return secret, others
}

func hasSecret(p ControlPlane, name string) bool {
	for _, m := range p.Members {
		for _, ref := range m.TLSSecretRefs() {
			if ref.Kind == "Secret" && ref.Name == name {
				return true
			}
		}
	}
	return false
}
