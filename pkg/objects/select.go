package objects

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
)

// Selection says which objects are meant.
type Selection struct {
	// Namespace is the only one that is looked into; empty: all, and what has none.
	Namespace string
	// Names are KIND, KIND,KIND or KIND/NAME; none: every kind.
	Names []string
	// Labels is a selector.
	Labels string
	// Owned adds what a controller made for another object, and would make again.
	Owned bool
}

// wanted is a kind of which all, or one by name, are meant.
type wanted struct {
	Kind
	name string
	// explicit says that the kind was named, so that what controllers own of it is meant, too.
	explicit bool
}

// wants are the kinds that a selection means, as a server calls them.
func (s *Server) wants(sel Selection) ([]wanted, error) {
	var out []wanted
	if len(sel.Names) == 0 {
		all, err := s.Kinds()
		if err != nil {
			return nil, err
		}
		for _, k := range all {
			if (k.Namespaced || sel.Namespace == "") && !byItself[k.Name()] {
				out = append(out, wanted{Kind: k})
			}
		}
		if sel.Namespace != "" { // which comes back with what is in it
			k, err := s.Named("namespaces")
			if err != nil {
				return nil, err
			}
			out = append(out, wanted{Kind: k, name: sel.Namespace})
		}
		return out, nil
	}
	for _, n := range sel.Names {
		kinds, name, one := strings.Cut(n, "/")
		for _, kind := range strings.Split(kinds, ",") {
			k, err := s.Named(kind)
			switch {
			case err != nil:
				return nil, err
			case one && name == "":
				return nil, fmt.Errorf("%s/ names no object", kind)
			case one && k.Namespaced && sel.Namespace == "":
				return nil, &NoNamespace{n}
			}
			out = append(out, wanted{k, name, true})
		}
	}
	return out, nil
}

// NoNamespace is an object named without its namespace.
type NoNamespace struct{ Name string }

func (e *NoNamespace) Error() string { return e.Name + " is in a namespace, and none was named" }

// Hint is the way out.
func (e *NoNamespace) Hint() string { return "name it with -n" }

// byItself are kinds that a cluster makes anew by itself, and that say nothing of what was wanted.
var byItself = map[string]bool{
	"events": true, "events.events.k8s.io": true, "leases.coordination.k8s.io": true, "controllerrevisions.apps": true, "componentstatuses": true,
	"volumeattachments.storage.k8s.io": true, "csinodes.storage.k8s.io": true, "csistoragecapacities.storage.k8s.io": true, "nodes": true,
	"ipaddresses.networking.k8s.io": true, "certificatesigningrequests.certificates.k8s.io": true, "storageversions.internal.apiserver.k8s.io": true,
}

// Object is one that was selected.
type Object struct {
	Kind Kind
	*unstructured.Unstructured
}

// Called is what kubectl calls it: configmaps/a.
func (o Object) Called() string { return o.Kind.Name() + "/" + o.GetName() }

// Key tells objects of a kind apart.
func (o Object) Key() string { return o.GetNamespace() + "/" + o.GetName() }

// Each calls f for every object that a selection means, kind by kind. What cannot be read is told to failed, and the rest goes on.
func (s *Server) Each(ctx context.Context, sel Selection, f func(Object) error, failed func(what string, err error)) error {
	all, err := s.wants(sel)
	if err != nil {
		return err
	}
	for _, w := range all {
		if err := s.eachOf(ctx, w, sel, f, failed); err != nil {
			return err
		}
	}
	return nil
}

// own is an error of the caller, which ends it all.
type own struct{ error }

func (s *Server) eachOf(ctx context.Context, w wanted, sel Selection, f func(Object) error, failed func(string, error)) error {
	found := false
	pick := func(k Kind, u *unstructured.Unstructured) error {
		found = true
		if reason := madeByCluster(k, u); reason == "" || w.name != "" || w.explicit && reason == ownedReason || sel.Owned && reason == ownedReason {
			u.SetGroupVersionKind(k.GroupVersion().WithKind(k.Kind))
			if err := f(Object{k, u}); err != nil {
				return own{err}
			}
		}
		return nil
	}
	var err error
	switch {
	case w.name == "":
		err = s.list(ctx, w.Kind, sel.Namespace, metav1.ListOptions{LabelSelector: sel.Labels}, pick)
	case s.at > 0:
		err = s.inAny(ctx, w.Kind, sel.Namespace, metav1.ListOptions{FieldSelector: "metadata.name=" + w.name}, pick)
	default:
		var u *unstructured.Unstructured
		if u, err = s.get(ctx, w.Kind, sel.Namespace, w.name); u != nil && err == nil {
			err = pick(w.Kind, u)
		}
	}
	if err == nil && w.explicit && w.name != "" && !found {
		return &Missing{w.Name() + "/" + w.name, sel.Namespace, s.Called}
	}
	if o, ok := err.(own); ok {
		return o.error
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil && w.explicit:
		return fmt.Errorf("read %s of %s: %w", w.Name(), s.Called, err)
	case err != nil:
		failed(w.Name(), err)
	}
	return nil
}

// Missing is an object that was named, and is not there.
type Missing struct{ Name, Namespace, Server string }

func (e *Missing) Error() string {
	return fmt.Sprintf("%s has no %s%s", e.Server, e.Name, in(e.Namespace))
}

func in(namespace string) string { return when(namespace != "", " in namespace "+namespace) }

// ownedReason is why what a controller has made is left out.
const ownedReason = "its controller makes it again"

// madeByCluster is why an object is left out, though its kind is not; empty: it is not.
func madeByCluster(k Kind, u *unstructured.Unstructured) string {
	if slices.ContainsFunc(u.GetOwnerReferences(), func(o metav1.OwnerReference) bool { return o.Controller != nil && *o.Controller }) {
		return ownedReason
	}
	if u.GetLabels()[controlplane.ManagedByLabel] == controlplane.ManagedByValue {
		return "it is our own, of the backup"
	}
	marked := func(marks map[string]string, name string) bool { _, ok := marks[name]; return ok }
	switch k.Name() {
	case "configmaps":
		return when(u.GetName() == "kube-root-ca.crt", "every namespace gets it")
	case "secrets":
		return when(secretType(u) == "kubernetes.io/service-account-token", "it is a token of an account that has another identity now")
	case "pods":
		return cmp.Or(when(u.GetAnnotations()["kubernetes.io/config.mirror"] != "", "its kubelet makes it again"), when(ended(u), "it has ended, and would run again"))
	case "jobs.batch":
		return when(ended(u), "it has ended, and would run again")
	case "endpointslices.discovery.k8s.io":
		return when(strings.HasSuffix(u.GetLabels()["endpointslice.kubernetes.io/managed-by"], ".k8s.io"), ownedReason)
	case "endpoints":
		return when(endpointsOfSelector(u), ownedReason)
	case "apiservices.apiregistration.k8s.io":
		return when(marked(u.GetLabels(), "kube-aggregator.kubernetes.io/automanaged"), ownedReason)
	case "flowschemas.flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io":
		return when(marked(u.GetAnnotations(), "apf.kubernetes.io/autoupdate-spec"), ownedReason)
	case "servicecidrs.networking.k8s.io":
		return when(u.GetName() == "kubernetes", ownedReason)
	}
	return ""
}

func when(is bool, reason string) string {
	if is {
		return reason
	}
	return ""
}

// ended says that a Pod or a Job has done what it was for.
func ended(u *unstructured.Unstructured) bool {
	phase, _, _ := unstructured.NestedString(u.Object, "status", "phase")
	conditions, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
	return phase == "Succeeded" || phase == "Failed" || slices.ContainsFunc(conditions, func(c any) bool {
		m, _ := c.(map[string]any)
		return (m["type"] == "Complete" || m["type"] == "Failed") && m["status"] == "True"
	})
}

// endpointsOfSelector says that Endpoints are those of a Service with a selector, which its controller writes, and not somebody's own.
func endpointsOfSelector(u *unstructured.Unstructured) bool {
	subsets, _, _ := unstructured.NestedSlice(u.Object, "subsets")
	return len(subsets) == 0 || u.GetName() == "kubernetes" || u.GetLabels()["endpoints.kubernetes.io/managed-by"] != "" ||
		u.GetAnnotations()["endpoints.kubernetes.io/last-change-trigger-time"] != "" || slices.ContainsFunc(subsets, func(v any) bool {
		m, _ := v.(map[string]any)
		addresses, _ := m["addresses"].([]any)
		notReady, _ := m["notReadyAddresses"].([]any)
		return slices.ContainsFunc(append(addresses, notReady...), func(a any) bool { t, _ := a.(map[string]any); return t["targetRef"] != nil })
	})
}

func secretType(u *unstructured.Unstructured) string {
	t, _, _ := unstructured.NestedString(u.Object, "type")
	return t
}
