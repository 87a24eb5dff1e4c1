//go:build unix

package objects

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/apiserver"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/apiserver/apiservertest"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/await"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify/etcdtest"
)

const (
	away = `{"strategy":"Webhook","webhook":{"conversionReviewVersions":["v1"],"clientConfig":{"url":"https://127.0.0.1:1/convert"}}}`
	none = `{"strategy":"None"}`
)

// TestStoredVersions reads custom resources that nobody converts: each is there once, in the version that it is stored in.
func TestStoredVersions(t *testing.T) {
	t.Parallel()
	in := map[string]string{ // v2 is the stored version, and v1alpha1 is not served
		"crates/a/q-old": "v1", "crates/a/z-old": "v1", "crates/b/old": "v1", "crates/b/new": "v2", "crates/b/another": "v1alpha1", "worlds/old": "v1", "worlds/new": "v2",
	}
	for i := range pageSize + 10 { // the second page cannot be shown
		in[fmt.Sprintf("crates/a/p%04d", i)] = "v2"
	}
	s := connect(t, serve(t, away, in), Options{Called: "the snapshot", Stored: namesOf(in)})

	all := map[string]string{}
	for key, version := range in {
		if name, ok := strings.CutPrefix(key, "crates/a/"); ok {
			all["a/"+name] = version
		}
	}
	for _, c := range []struct {
		what   string
		sel    Selection
		want   map[string]string // versions by Key
		failed string
	}{
		{"a second page", Selection{Namespace: "a", Names: []string{"crates"}}, all, ""},
		{"by label", Selection{Namespace: "a", Names: []string{"crates"}, Labels: "version=v1"}, map[string]string{"a/q-old": "v1", "a/z-old": "v1"}, ""},
		{"without namespaces", Selection{Namespace: "a", Names: []string{"worlds"}}, map[string]string{"/old": "v1", "/new": "v2"}, ""},
		{"one that is not served", Selection{Namespace: "b", Names: []string{"crates"}}, map[string]string{"b/old": "v1", "b/new": "v2"}, "1 of them cannot be shown in a version that is served, the first is b/another: "},
		{"by name", Selection{Namespace: "a", Names: []string{"crates/z-old"}}, map[string]string{"a/z-old": "v1"}, ""},
		{"not there", Selection{Namespace: "a", Names: []string{"crates/old"}}, map[string]string{}, "the snapshot has no crates.example.com/old in namespace a"},
	} {
		got, twice := map[string]string{}, 0
		err := s.Each(t.Context(), c.sel, func(o Object) error {
			if _, seen := got[o.Key()]; seen {
				twice++
			}
			got[o.Key()] = o.Kind.Version
			if o.GetAPIVersion() != "example.com/"+o.Kind.Version {
				t.Errorf("%s is called %s", o.Called(), o.GetAPIVersion())
			}
			return nil
		}, func(what string, err error) { t.Errorf("%s: %s: %v", c.what, what, err) })
		if !maps.Equal(got, c.want) || twice > 0 {
			t.Errorf("%s: %d objects, %d twice; want %d", c.what, len(got), twice, len(c.want))
		}
		if (err == nil) != (c.failed == "") || err != nil && !strings.Contains(err.Error(), c.failed) {
			t.Errorf("%s: %v", c.what, err)
		}
	}
}

// TestCompareVersions compares with a server that shows what it has in any version.
func TestCompareVersions(t *testing.T) {
	t.Parallel()
	in := map[string]string{"crates/a/new": "v2", "crates/a/old": "v1", "crates/a/older": "v1"}
	s := connect(t, serve(t, away, in), Options{Called: "the snapshot", Stored: namesOf(in)})
	delete(in, "crates/a/older")
	live := connect(t, serve(t, none, in), Options{Called: "the cluster"})
	sel := Selection{Namespace: "a", Names: []string{"crates"}}
	c, err := Compare(t.Context(), s, live, sel, false)
	if err != nil || len(c.Unread) > 0 || len(c.Differences) != 1 || c.Differences[0].Name != "older" || c.Sums[0].Same != 2 {
		t.Errorf("%+v, %v", c, err)
	}
	// The other way round nobody can show them alike: that is said, and no difference.
	c, err = Compare(t.Context(), live, s, sel, false)
	want := "crates.example.com: 1 are stored in version v2, in which the snapshot does not show them"
	if err != nil || len(c.Unread) != 1 || c.Unread[0] != want || len(c.Differences) != 1 || c.Sums[0].Same != 1 {
		t.Errorf("%+v, %v", c, err)
	}
	sel.Names = []string{"crates/old"}
	if c, err = Compare(t.Context(), live, s, sel, false); err != nil || len(c.Unread) != 1 || len(c.Differences) > 0 {
		t.Errorf("by name: %+v, %v", c, err)
	}
	sel.Names = []string{"crates/none"}
	if _, err = Compare(t.Context(), live, s, sel, false); err == nil || err.Error() != "neither the cluster nor the snapshot has crates.example.com/none in namespace a" {
		t.Errorf("in neither: %v", err)
	}
}

// serve has a real API server serve what its etcd has stored: versions by RESOURCE/[NAMESPACE/]NAME.
func serve(t *testing.T, conversion string, stored map[string]string) *rest.Config {
	t.Helper()
	b := etcdtest.Find(t, "3.6")
	etcd := etcdtest.Start(t, b)
	api := apiservertest.Start(t, apiserver.Config{Program: filepath.Join(filepath.Dir(b.Etcd), "..", "kube-apiserver"), Endpoint: etcd.Endpoint, Prefix: "/registry"})
	t.Cleanup(api.Stop)
	cfg := &rest.Config{Host: api.URL(), BearerToken: api.Token, TLSClientConfig: rest.TLSClientConfig{CAData: api.CA}}
	client, err := dynamic.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for plural, scope := range map[string]string{"crates": "Namespaced", "worlds": "Cluster"} {
		var all []string
		for _, v := range []string{"v1alpha1", "v1", "v2"} {
			all = append(all, fmt.Sprintf(`{"name":%q,"served":%t,"storage":%t,"schema":{"openAPIV3Schema":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}}`, v, v != "v1alpha1", v == "v2"))
		}
		text := fmt.Sprintf(`{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"%s.example.com"},"spec":{"group":"example.com","scope":%q,"names":{"plural":%q,"kind":%q},"conversion":%s,"versions":[%s]}}`,
			plural, scope, plural, strings.ToUpper(plural[:1])+plural[1:], conversion, strings.Join(all, ","))
		u := &unstructured.Unstructured{}
		if err := json.Unmarshal([]byte(text), u); err != nil {
			t.Fatal(err)
		}
		if _, err := client.Resource(definitions).Create(t.Context(), u, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		served := definitions
		served.Group, served.Version, served.Resource = "example.com", "v2", plural
		err := await.Until(t.Context(), time.Minute, plural+" are served", func(ctx context.Context) (string, bool, error) {
			_, err := client.Resource(served).List(ctx, metav1.ListOptions{})
			return "", err == nil, err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for key, version := range stored {
		if _, err := etcd.Client.Put(t.Context(), "/registry/example.com/"+key, objectOf(key, version)); err != nil {
			t.Fatal(err)
		}
	}
	return cfg
}

// objectOf is what is stored of a custom resource, whose label is its version.
func objectOf(key, version string) string {
	parts := strings.Split(key, "/")
	meta := map[string]any{"name": parts[len(parts)-1], "uid": key, "creationTimestamp": "2026-01-01T00:00:00Z", "labels": map[string]any{"version": version}}
	if len(parts) == 3 {
		meta["namespace"] = parts[1]
	}
	text, _ := json.Marshal(map[string]any{"apiVersion": "example.com/" + version, "kind": strings.ToUpper(parts[0][:1]) + parts[0][1:], "metadata": meta, "spec": map[string]any{"weight": 3}})
	return string(text)
}

// namesOf finds what is stored as a snapshot has it.
func namesOf(stored map[string]string) Names {
	stored = maps.Clone(stored)
	return func(_ context.Context, kind schema.GroupResource) (out []types.NamespacedName, _ error) {
		for key := range stored {
			parts := strings.Split(key, "/")
			switch {
			case parts[0] != kind.Resource:
			case len(parts) == 3:
				out = append(out, types.NamespacedName{Namespace: parts[1], Name: parts[2]})
			default:
				out = append(out, types.NamespacedName{Name: parts[1]})
			}
		}
		return out, nil
	}
}

// connect reads a server at the revision that it has now, where it is as a snapshot.
func connect(t *testing.T, cfg *rest.Config, o Options) *Server {
	t.Helper()
	client, err := dynamic.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if o.Stored != nil {
		list, err := client.Resource(definitions).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		o.Revision = revision(t, list.GetResourceVersion())
	}
	s, err := Connect(t.Context(), cfg, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func revision(t *testing.T, text string) (n int64) {
	if _, err := fmt.Sscan(text, &n); err != nil {
		t.Fatal(err)
	}
	return n
}
