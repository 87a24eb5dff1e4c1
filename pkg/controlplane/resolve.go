package controlplane

import (
	"fmt"
	"strings"
)

// SystemNamespaces are where a cluster keeps its own etcd: kube-system, and
// OpenShift's own.
var SystemNamespaces = []string{"kube-system", "openshift-etcd"}

// NotFoundError says that no control plane fits. Candidates are those there
// are, if any.
type NotFoundError struct {
	Target     string
	Namespace  string
	Candidates []ControlPlane
}

func (e *NotFoundError) Error() string {
	switch {
	case e.Target != "" && e.Namespace != "" && !strings.Contains(e.Target, "/"):
		return fmt.Sprintf("no etcd %q found in namespace %q", e.Target, e.Namespace)
	case e.Target != "":
		return fmt.Sprintf("no etcd %q found", e.Target)
	case e.Namespace != "":
		return fmt.Sprintf("no etcd found in namespace %q", e.Namespace)
	}
	return "no etcd of this cluster found in " + strings.Join(SystemNamespaces, " or ")
}

// AmbiguousError says that more than one control plane fits.
type AmbiguousError struct {
	Target     string
	Namespace  string
	Candidates []ControlPlane
}

func (e *AmbiguousError) Error() string {
	ids := make([]string, len(e.Candidates))
	for i, c := range e.Candidates {
		ids[i] = c.ID()
		if only := c.Holds(); len(only) > 0 {
			ids[i] += " (" + strings.Join(only, ", ") + " only)"
		}
	}
	what := "the target"
	if e.Target != "" {
		what = fmt.Sprintf("%q", e.Target)
	} else if e.Namespace != "" {
		what = fmt.Sprintf("namespace %q", e.Namespace)
	}
	return fmt.Sprintf("%s could be any of %d control planes: %s", what, len(ids), strings.Join(ids, ", "))
}

// Resolve picks the one control plane that a user means. target is "NS/NAME",
// "NAME" (in namespace, or the only one of that name where namespace is ""),
// or "": the only one in namespace, or with no namespace either the cluster's
// own etcd. It fails with *NotFoundError or *AmbiguousError.
func Resolve(planes []ControlPlane, target, namespace string) (ControlPlane, error) {
	if ns, name, ok := strings.Cut(target, "/"); ok {
		return only(planes, target, namespace, func(c ControlPlane) bool { return c.Namespace == ns && c.Name == name })
	}
	if target != "" {
		return only(planes, target, namespace, func(c ControlPlane) bool {
			return c.Name == target && (namespace == "" || c.Namespace == namespace)
		})
	}
	if namespace != "" {
		return only(planes, target, namespace, func(c ControlPlane) bool { return c.Namespace == namespace })
	}
	// A cluster's own etcd runs as static pods, or outside; another etcd in
	// kube-system (a network add-on's, say) must not make the default
	// ambiguous, and is the default only where there is nothing else. Nor must
	// a second etcd for Events.
	for _, own := range []func(ControlPlane) bool{
		func(c ControlPlane) bool { return c.Owner.Kind == ownerStatic && !c.partial() },
		func(c ControlPlane) bool { return c.External() && !c.partial() },
		func(ControlPlane) bool { return true },
	} {
		found, err := only(planes, "", "", func(c ControlPlane) bool { return systemNamespace(c.Namespace) && own(c) })
		if _, none := err.(*NotFoundError); !none {
			return found, err
		}
	}
	return ControlPlane{}, &NotFoundError{Candidates: planes}
}

// Holds are the resources that an etcd was made for, where every API server
// that uses it keeps only some there; otherwise none.
func (c ControlPlane) Holds() []string {
	var out []string
	for _, a := range c.APIServers {
		if len(a.For) == 0 {
			return nil
		}
		for _, resource := range a.For {
			out = including(out, resource)
		}
	}
	return out
}

func (c ControlPlane) partial() bool { return len(c.Holds()) > 0 }

func systemNamespace(ns string) bool {
	for _, s := range SystemNamespaces {
		if ns == s {
			return true
		}
	}
	return false
}

func only(planes []ControlPlane, target, namespace string, fits func(ControlPlane) bool) (ControlPlane, error) {
	var found []ControlPlane
	for _, c := range planes {
		if fits(c) {
			found = append(found, c)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return ControlPlane{}, &NotFoundError{Target: target, Namespace: namespace, Candidates: planes}
	}
	return ControlPlane{}, &AmbiguousError{Target: target, Namespace: namespace, Candidates: found}
}
