// Package objects reads what an API server serves, of every kind that it knows, and writes it so that it can be applied again: what
// a cluster makes by itself is left out. It compares two API servers, and brings objects of one to the other.
package objects

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
)

// pageSize is how many objects are asked for at once.
const pageSize = 500

// Server is an API server.
type Server struct {
	dynamic dynamic.Interface
	mapper  meta.RESTMapper
	// Called says what the server is, in messages: the snapshot, the cluster.
	Called string
	// Force overwrites also fields that others manage.
	Force bool
	// at is the revision that is read, of a server on a snapshot: what its API server has written since for itself is not in the
	// snapshot. Zero: what is there now.
	at int64
	// late are kinds that were not served in time, whose definitions had come back.
	late map[schema.GroupResource]error
	// custom are the versions of custom resources, and names what is stored of them, for a server whose conversion webhooks are away.
	custom map[schema.GroupResource]versions
	names  Names
	lists  []*metav1.APIResourceList
	// unknown are the groups of which it could not say what they have, such as aggregated APIs that are down.
	unknown map[string]error
}

// Kind is a kind of object, as a server serves it.
type Kind struct {
	schema.GroupVersionResource
	Kind       string
	Namespaced bool
}

// Name is what kubectl calls it: configmaps, deployments.apps.
func (k Kind) Name() string { return k.GroupResource().String() }

// Options say how a server is read.
type Options struct {
	// Called says what it is, in messages.
	Called string
	// Stored asks for custom resources in the version that they are stored in, which takes no conversion webhook, and finds with it
	// those that are stored in several; nil: as the server prefers to show them.
	Stored Names
	// Revision is the one that is read; zero: what is there now.
	Revision int64
}

// callTimeout bounds one call, where cfg does not.
const callTimeout = time.Minute

// Connect asks a server what it has.
func Connect(ctx context.Context, cfg *rest.Config, o Options) (*Server, error) {
	cfg = rest.CopyConfig(cfg)
	cfg.QPS, cfg.WarningHandler = -1, rest.NoWarnings{} // a server limits by itself, and deprecations help nobody here
	if cfg.Timeout == 0 {
		cfg.Timeout = callTimeout
	}
	s := &Server{Called: o.Called, at: o.Revision, unknown: map[string]error{}, late: map[schema.GroupResource]error{}}
	var err error
	if s.dynamic, err = dynamic.NewForConfig(cfg); err != nil {
		return nil, fmt.Errorf("make client of %s: %w", o.Called, err)
	}
	client, err := discovery.NewDiscoveryClientForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("make client of %s: %w", o.Called, err)
	}
	cached := memory.NewMemCacheClient(client)
	groups, lists, err := cached.ServerGroupsAndResources()
	var partly *discovery.ErrGroupDiscoveryFailed
	switch {
	case errors.As(err, &partly):
		for gv, err := range partly.Groups {
			s.unknown[gv.Group] = err
		}
	case err != nil:
		return nil, fmt.Errorf("ask %s for its kinds: %w", o.Called, err)
	}
	s.lists = lists
	s.mapper = restmapper.NewShortcutExpander(restmapper.NewDiscoveryRESTMapper(resourcesOf(groups, lists)), cached, nil)
	if o.Stored != nil {
		s.names = o.Stored
		s.custom, err = s.versionsOf(ctx)
	}
	return s, err
}

// resourcesOf puts what discovery says in the form that a mapper takes.
func resourcesOf(groups []*metav1.APIGroup, lists []*metav1.APIResourceList) []*restmapper.APIGroupResources {
	var out []*restmapper.APIGroupResources
	for _, g := range groups {
		r := &restmapper.APIGroupResources{Group: *g, VersionedResources: map[string][]metav1.APIResource{}}
		for _, v := range g.Versions {
			for _, l := range lists {
				if l.GroupVersion == v.GroupVersion {
					r.VersionedResources[v.Version] = l.APIResources
				}
			}
		}
		out = append(out, r)
	}
	return out
}

// each calls f for every object of a list, page by page.
func (s *Server) each(ctx context.Context, r dynamic.ResourceInterface, o metav1.ListOptions, f func(*unstructured.Unstructured) error) error {
	o.Limit = pageSize
	if s.at > 0 {
		o.ResourceVersion, o.ResourceVersionMatch = strconv.FormatInt(s.at, 10), metav1.ResourceVersionMatchExact
	}
	for {
		page, err := r.List(ctx, o)
		if err != nil {
			return err
		}
		for i := range page.Items {
			if err := f(&page.Items[i]); err != nil {
				return err
			}
		}
		if o.Continue = page.GetContinue(); o.Continue == "" {
			return nil
		}
		o.ResourceVersion, o.ResourceVersionMatch = "", "" // the token has it
	}
}

// kindOf is the kind that a GroupVersionKind is served as.
func (s *Server) kindOf(gvk schema.GroupVersionKind) (Kind, error) {
	m, err := s.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if err != nil {
		return Kind{}, fmt.Errorf("%s does not serve %s in version %s", s.Called, gvk.GroupKind(), gvk.GroupVersion())
	}
	return Kind{m.Resource, m.GroupVersionKind.Kind, m.Scope.Name() == meta.RESTScopeNameNamespace}, nil
}

// Named finds a kind by what a user calls it: cm, deployments, crontabs.stable.example.com.
func (s *Server) Named(name string) (Kind, error) {
	versioned, group := schema.ParseResourceArg(strings.ToLower(name))
	var gvk schema.GroupVersionKind
	err := errors.New("unknown")
	if versioned != nil {
		gvk, err = s.mapper.KindFor(*versioned)
	}
	if err != nil {
		gvk, err = s.mapper.KindFor(group.WithVersion(""))
	}
	if err != nil {
		if why := s.unknown[group.Group]; why != nil {
			return Kind{}, fmt.Errorf("%s cannot say whether it has %s: %w", s.Called, name, why)
		}
		return Kind{}, &UnknownKind{name, s.Called}
	}
	k, err := s.kindOf(gvk)
	return s.asStored(k), err
}

// UnknownKind is a kind that a server does not know.
type UnknownKind struct{ Name, Server string }

func (e *UnknownKind) Error() string {
	return fmt.Sprintf("no kind %q is known to %s", e.Name, e.Server)
}

// Hint is the way out.
func (e *UnknownKind) Hint() string {
	return "see what kinds a snapshot has with: kubectl etcd open SNAPSHOT -- kubectl api-resources"
}

// Kinds are all that can be listed and made again, each once.
func (s *Server) Kinds() ([]Kind, error) {
	seen := map[schema.GroupResource]bool{}
	var out []Kind
	for _, l := range s.lists {
		gv, err := schema.ParseGroupVersion(l.GroupVersion)
		if err != nil {
			continue
		}
		for _, r := range l.APIResources {
			gr := schema.GroupResource{Group: gv.Group, Resource: r.Name}
			if seen[gr] || strings.Contains(r.Name, "/") || !slices.Contains(r.Verbs, "list") || !slices.Contains(r.Verbs, "create") {
				continue
			}
			seen[gr] = true
			k, err := s.kindOf(schema.GroupVersionKind{Group: gv.Group, Kind: r.Kind})
			if err != nil {
				return nil, err
			}
			out = append(out, s.asStored(k))
		}
	}
	slices.SortFunc(out, func(a, b Kind) int { return strings.Compare(a.Name(), b.Name()) })
	return out, nil
}

// of is where the objects of a kind are; an empty namespace is all of them.
func (s *Server) of(k Kind, namespace string) dynamic.ResourceInterface {
	if k.Namespaced && namespace != "" {
		return s.dynamic.Resource(k.GroupVersionResource).Namespace(namespace)
	}
	return s.dynamic.Resource(k.GroupVersionResource)
}

// get is an object as it is now; nil where there is none.
func (s *Server) get(ctx context.Context, k Kind, namespace, name string) (*unstructured.Unstructured, error) {
	found, err := s.of(k, namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return found, err
}

// UID identifies the cluster: that of its kube-system namespace.
func (s *Server) UID(ctx context.Context) (string, error) {
	ns, err := s.dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}).Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	return string(ns.GetUID()), nil
}
