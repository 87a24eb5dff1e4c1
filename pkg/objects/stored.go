package objects

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// Names finds the objects of a kind by what is stored of it, whether or not they can be read.
type Names func(context.Context, schema.GroupResource) ([]types.NamespacedName, error)

var definitions = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

// versions are those of a custom resource.
type versions struct {
	stored string // in which what is written is stored; empty where it is not served
	served []string
	all    int // with those that are not served
}

// versionsOf reads the definitions of custom resources.
func (s *Server) versionsOf(ctx context.Context) (map[schema.GroupResource]versions, error) {
	out := map[schema.GroupResource]versions{}
	err := s.each(ctx, s.dynamic.Resource(definitions), metav1.ListOptions{}, func(d *unstructured.Unstructured) error {
		group, _, _ := unstructured.NestedString(d.Object, "spec", "group")
		plural, _, _ := unstructured.NestedString(d.Object, "spec", "names", "plural")
		out[schema.GroupResource{Group: group, Resource: plural}] = versionsIn(d)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the definitions of custom resources in %s: %w", s.Called, err)
	}
	return out, nil
}

func versionsIn(definition *unstructured.Unstructured) (out versions) {
	all, _, _ := unstructured.NestedSlice(definition.Object, "spec", "versions")
	out.all = len(all)
	for _, v := range all {
		v, ok := v.(map[string]any)
		name, _ := v["name"].(string)
		if !ok || v["served"] != true {
			continue
		}
		out.served = append(out.served, name)
		if v["storage"] == true {
			out.stored = name
		}
	}
	return out
}

// asStored is the kind in the version that it is stored in.
func (s *Server) asStored(k Kind) Kind {
	if v := s.custom[k.GroupResource()].stored; v != "" {
		k.Version = v
	}
	return k
}

// list calls f for the objects of a kind, in the version in which each is shown. After another version became the stored one, what is older stays as it
// was: such a kind cannot be listed where nobody converts, and each of its objects is asked for in the version in which it can be shown.
func (s *Server) list(ctx context.Context, k Kind, namespace string, o metav1.ListOptions, f func(Kind, *unstructured.Unstructured) error) error {
	mixed := s.names != nil && s.custom[k.GroupResource()].all > 1
	seen := map[types.NamespacedName]bool{} // what was shown before it failed
	err := s.each(ctx, s.of(k, namespace), o, func(u *unstructured.Unstructured) error {
		if mixed {
			seen[types.NamespacedName{Namespace: u.GetNamespace(), Name: u.GetName()}] = true
		}
		return f(k, u)
	})
	if !mixed || !unshown(err) {
		return err
	}
	all, nerr := s.names(ctx, k.GroupResource())
	if nerr != nil {
		return fmt.Errorf("%w; find them one by one: %w", err, nerr)
	}
	failed, first := 0, error(nil)
	for _, key := range all {
		if seen[key] || k.Namespaced && namespace != "" && key.Namespace != namespace {
			continue
		}
		o.FieldSelector = "metadata.name=" + key.Name
		switch err := s.inAny(ctx, k, key.Namespace, o, f); {
		case unshown(err):
			if failed++; first == nil {
				first = fmt.Errorf("%s: %w", strings.TrimPrefix(key.String(), "/"), err)
			}
		case err != nil:
			return err
		}
	}
	if failed == 0 {
		return nil
	}
	return fmt.Errorf("%d of them cannot be shown in a version that is served, the first is %w", failed, first)
}

// inAny asks for one object in every version, until it can be shown.
func (s *Server) inAny(ctx context.Context, k Kind, namespace string, o metav1.ListOptions, f func(Kind, *unstructured.Unstructured) error) error {
	others := slices.DeleteFunc(slices.Clone(s.custom[k.GroupResource()].served), func(v string) bool { return v == k.Version })
	var first error
	for _, k.Version = range append([]string{k.Version}, others...) {
		err := s.each(ctx, s.of(k, namespace), o, func(u *unstructured.Unstructured) error { return f(k, u) })
		if !unshown(err) {
			return err
		}
		if first == nil {
			first = err
		}
	}
	return first
}

// unshown says that a server has failed with an object, as it does where it should convert one and cannot.
func unshown(err error) bool {
	var status apierrors.APIStatus
	return errors.As(err, &status) && status.Status().Code == http.StatusInternalServerError
}
