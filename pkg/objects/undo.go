package objects

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// ErrChanged says that an object is not deleted, since somebody changed it.
var ErrChanged = errors.New("it was changed since it was brought back")

// hashOf is of an object without what a cluster puts there by itself.
func hashOf(o Object) (string, error) {
	text, err := textOf(Object{o.Kind, o.DeepCopy()}, false)
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:]), err
}

// TakeBack deletes what was made, unless somebody changed it since. gone says that it was not there any more.
func (s *Server) TakeBack(ctx context.Context, d Done) (gone bool, err error) {
	for range 5 { // what a controller writes between the look and the deletion is nobody's change
		gone, err = s.takeBack(ctx, d)
		if !apierrors.IsConflict(err) {
			break
		}
	}
	return gone, err
}

func (s *Server) takeBack(ctx context.Context, d Done) (gone bool, err error) {
	k := d.kind()
	now, err := s.get(ctx, k, d.Namespace, d.Name)
	switch {
	case err != nil:
		return false, err
	case now == nil || now.GetUID() != d.UID:
		return true, nil
	}
	hash, err := hashOf(Object{k, now})
	switch {
	case err != nil:
		return false, err
	case hash != d.Hash:
		return false, ErrChanged
	}
	if err := s.unused(ctx, k, now); err != nil {
		return false, err
	}
	rv, background := now.GetResourceVersion(), metav1.DeletePropagationBackground
	err = s.of(k, d.Namespace).Delete(ctx, d.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &d.UID, ResourceVersion: &rv}, PropagationPolicy: &background})
	if apierrors.IsNotFound(err) {
		return true, nil
	}
	return false, err
}

// unused says what would go with an object that others have come to use.
func (s *Server) unused(ctx context.Context, k Kind, u *unstructured.Unstructured) error {
	switch k.Name() {
	case "namespaces":
		return s.empty(ctx, u.GetName())
	case "persistentvolumes":
		if phase, _, _ := unstructured.NestedString(u.Object, "status", "phase"); phase == "Bound" {
			return errors.New("it is bound to a claim")
		}
	case definitions.GroupResource().String():
		return s.noneOf(ctx, u)
	}
	return nil
}

// noneOf refuses a definition of which there are objects.
func (s *Server) noneOf(ctx context.Context, definition *unstructured.Unstructured) error {
	r := definitions
	r.Group, _, _ = unstructured.NestedString(definition.Object, "spec", "group")
	r.Resource, _, _ = unstructured.NestedString(definition.Object, "spec", "names", "plural")
	r.Version = versionsIn(definition).stored
	some, err := s.dynamic.Resource(r).List(ctx, metav1.ListOptions{Limit: 1})
	switch {
	case apierrors.IsNotFound(err): // it is not served
		return nil
	case err != nil:
		return fmt.Errorf("read objects of it: %w", err)
	case len(some.Items) > 0:
		return fmt.Errorf("there are objects of it: %s in namespace %q", some.Items[0].GetName(), some.Items[0].GetNamespace())
	}
	return nil
}

// empty says what is still in a namespace, besides what every namespace has.
func (s *Server) empty(ctx context.Context, namespace string) error {
	var unread error
	err := s.Each(ctx, Selection{Namespace: namespace}, func(o Object) error {
		if o.Kind.Name() == "namespaces" || o.Kind.Name() == "serviceaccounts" && o.GetName() == "default" || o.GetDeletionTimestamp() != nil {
			return nil
		}
		return fmt.Errorf("it still has %s", o.Called())
	}, func(what string, err error) { unread = fmt.Errorf("read %s in it: %w", what, err) })
	return errors.Join(err, unread)
}
