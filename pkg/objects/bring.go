package objects

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/await"
)

// manager is who the cluster says has made what was brought back.
const manager = "kubectl-etcd"

// What is done with an object.
const (
	Create    = "create"
	Overwrite = "overwrite"
	Leave     = "leave"  // it is there, and differs
	Unchanged = "there"  // it is there, as it was
	Refused   = "refuse" // the cluster cannot take it
)

// Action is what is done with one object, or why nothing is.
type Action struct {
	Object
	Do string
	// Why is said of what is not brought back, and of what comes back otherwise than it was.
	Why string
	// live is the kind as the cluster serves it; late says that it will, once its definition is back.
	live Kind
	late bool
}

// Late says that the cluster is to serve the kind only once its definition is back.
func (a Action) Late() bool { return a.late }

// Plan says what is done with each object, and changes nothing. overwrite brings back also what exists and differs.
func (s *Server) Plan(ctx context.Context, all []Object, overwrite bool) ([]Action, error) {
	var out []Action
	defined := map[string]bool{} // kinds whose definitions come back, too
	have := s.present(all)
	for _, o := range all {
		a, err := s.plan(ctx, have, o, overwrite)
		if err != nil {
			return nil, err
		}
		if o.Kind.GroupResource() == definitions.GroupResource() && a.Do == Create {
			defined[o.GetName()] = true
		}
		if a.late && !defined[o.Kind.Name()] {
			a.Do, a.Why = Refused, s.notServed(o)
		}
		out = append(out, a)
	}
	return out, nil
}

// notServed is why the cluster cannot take an object's kind.
func (s *Server) notServed(o Object) string {
	gvk := o.GroupVersionKind()
	if why := s.unknown[gvk.Group]; why != nil {
		return "the cluster cannot say whether it serves this kind: " + why.Error()
	}
	if m, err := s.mapper.RESTMapping(gvk.GroupKind()); err == nil {
		return "the cluster serves this kind in version " + m.GroupVersionKind.Version + ", and not in " + gvk.Version
	}
	return "the cluster does not serve this kind: bring its definition back, too: customresourcedefinition/" + o.Kind.Name()
}

func (s *Server) plan(ctx context.Context, have *present, o Object, overwrite bool) (Action, error) {
	a := Action{Object: o, Do: Create, Why: loses(o)}
	var err error
	if a.live, err = s.kindOf(o.GroupVersionKind()); err != nil {
		a.live, a.late = o.Kind, true
		return a, nil
	}
	now, err := have.get(ctx, shelf{a.live, o.GetNamespace()}, o.GetName())
	switch {
	case err != nil:
		return a, fmt.Errorf("ask the cluster for %s: %w", o.Called(), err)
	case now == nil:
		return a, nil
	case now.GetDeletionTimestamp() != nil:
		a.Do, a.Why = Refused, "the cluster is deleting one of that name"
		return a, nil
	}
	is, err := textOf(Object{a.live, now}, false)
	if err != nil {
		return a, err
	}
	was, err := json.Marshal(o.Object)
	switch {
	case err != nil:
		return a, err
	case is == string(was):
		a.Do, a.Why = Unchanged, ""
	case overwrite:
		a.Do, a.Why = Overwrite, ""
	default:
		a.Do, a.Why = Leave, "it exists and differs; --overwrite brings it back as it was"
	}
	return a, nil
}

// loses is what an object does not come back with.
func loses(o Object) string {
	switch o.Kind.Name() {
	case "persistentvolumeclaims":
		return "with a new volume, or an empty one: data of volumes is in no etcd"
	case "persistentvolumes":
		return "it leads to the storage that it named, if that is still there"
	case "services":
		ip, _, _ := unstructured.NestedString(o.Object, "spec", "clusterIP")
		kind, _, _ := unstructured.NestedString(o.Object, "spec", "type")
		return when(ip != "None" && kind != "ExternalName", "with another cluster IP")
	case "jobs.batch", "pods":
		return "it runs again from its beginning"
	}
	return ""
}

// Done is what was made, by which an undo knows it again.
type Done struct {
	Group     string    `json:"group,omitempty"`
	Version   string    `json:"version"`
	Resource  string    `json:"resource"`
	Kind      string    `json:"kind"`
	Namespace string    `json:"namespace,omitempty"`
	Name      string    `json:"name"`
	UID       types.UID `json:"uid"`
	// Hash is of the object as it was made, clean: one of another hash was changed since.
	Hash string `json:"hash"`
}

func (d *Done) kind() Kind {
	k := Kind{Kind: d.Kind, Namespaced: d.Namespace != ""}
	k.Group, k.Version, k.Resource = d.Group, d.Version, d.Resource
	return k
}

// Bring does what an action says. dryRun has the cluster check it and keep nothing. made is what was created, or nil.
func (s *Server) Bring(ctx context.Context, a Action, dryRun bool) (made *Done, err error) {
	var dry []string
	if dryRun {
		dry = []string{metav1.DryRunAll}
	}
	r := s.of(a.live, a.GetNamespace())
	var got *unstructured.Unstructured
	switch a.Do {
	case Create:
		got, err = s.create(ctx, a, dry)
	case Overwrite:
		_, err = r.Apply(ctx, a.GetName(), a.Unstructured, metav1.ApplyOptions{FieldManager: manager, DryRun: dry, Force: s.Force})
	default:
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", a.Do, a.Called(), err)
	}
	if got == nil || dryRun {
		return nil, nil
	}
	d := &Done{Group: a.live.Group, Version: a.live.Version, Resource: a.live.Resource, Kind: a.live.Kind, Namespace: got.GetNamespace(), Name: got.GetName(), UID: got.GetUID()}
	d.Hash, err = hashOf(Object{a.live, got})
	return d, err
}

// servedWithin is how long a cluster may take to serve a kind whose definition is back.
const servedWithin = 30 * time.Second

// create makes an object. A custom resource waits until its definition is served; the account that every namespace gets may
// have been made meanwhile.
func (s *Server) create(ctx context.Context, a Action, dry []string) (got *unstructured.Unstructured, err error) {
	r := s.of(a.live, a.GetNamespace())
	attempt := func(ctx context.Context) error {
		got, err = r.Create(ctx, a.Unstructured, metav1.CreateOptions{FieldManager: manager, DryRun: dry})
		return err
	}
	if failed := s.late[a.live.GroupResource()]; a.late && failed != nil {
		return nil, failed // the first one has waited
	}
	if a.late {
		var last error
		err = await.Until(ctx, servedWithin, "the cluster serves "+a.live.Name(), func(ctx context.Context) (string, bool, error) {
			last = attempt(ctx)
			if last != nil && (!apierrors.IsNotFound(last) || noNamespace(last)) {
				return "", false, await.Stop(last)
			}
			return "", last == nil, last
		})
		if err != nil && apierrors.IsNotFound(last) && !noNamespace(last) {
			s.late[a.live.GroupResource()], err = last, last
		}
	} else {
		err = attempt(ctx)
	}
	if apierrors.IsAlreadyExists(err) && a.Kind.Name() == "serviceaccounts" && a.GetName() == "default" {
		_, err = r.Apply(ctx, a.GetName(), a.Unstructured, metav1.ApplyOptions{FieldManager: manager, DryRun: dry, Force: true})
		return nil, err
	}
	return got, err
}

// noNamespace says that what is not found is the namespace.
func noNamespace(err error) bool {
	var st apierrors.APIStatus
	return errors.As(err, &st) && st.Status().Details != nil && st.Status().Details.Kind == "namespaces"
}

// Definite says that the cluster has answered, and has not made an object: after a timeout or a cut nobody knows.
func Definite(err error) bool {
	var st apierrors.APIStatus
	return errors.As(err, &st) && !apierrors.IsTimeout(err) && !apierrors.IsServerTimeout(err) && st.Status().Code < 500
}
