package objects

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var definitions = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

// storedVersions reads the definitions of custom resources.
func (s *Server) storedVersions(ctx context.Context) (map[schema.GroupResource]string, error) {
	out := map[schema.GroupResource]string{}
	err := s.each(ctx, s.dynamic.Resource(definitions), metav1.ListOptions{}, func(d *unstructured.Unstructured) error {
		group, _, _ := unstructured.NestedString(d.Object, "spec", "group")
		plural, _, _ := unstructured.NestedString(d.Object, "spec", "names", "plural")
		out[schema.GroupResource{Group: group, Resource: plural}] = storedVersion(d)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the definitions of custom resources in %s: %w", s.Called, err)
	}
	return out, nil
}

// storedVersion is the version in which a definition has its objects stored; empty where that is not served.
func storedVersion(definition *unstructured.Unstructured) string {
	versions, _, _ := unstructured.NestedSlice(definition.Object, "spec", "versions")
	for _, v := range versions {
		if v, ok := v.(map[string]any); ok && v["storage"] == true && v["served"] == true {
			name, _ := v["name"].(string)
			return name
		}
	}
	return ""
}

// asStored is the kind in the version that it is stored in.
func (s *Server) asStored(k Kind) Kind {
	if v := s.stored[k.GroupResource()]; v != "" {
		k.Version = v
	}
	return k
}
