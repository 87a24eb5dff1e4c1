package verify

import (
	"fmt"
	"maps"
	"testing"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/mvcc"
)

func TestKindOf(t *testing.T) {
	for key, want := range map[string]string{
		"/registry/pods/default/a":                   "/registry/pods",
		"/registry/minions/a":                        "/registry/minions",
		"/registry/services/specs/default/a":         "/registry/services/specs",
		"/registry/services/endpoints/default/a":     "/registry/services/endpoints",
		"/registry/stable.example.com/crontabs/ns/a": "/registry/stable.example.com/crontabs",
		"/kubernetes.io/leases/default/a":            "/kubernetes.io/leases",
		"/registry/health":                           "",
		"/registry/services/a":                       "",
		"compact_rev_key":                            "",
		"":                                           "",
		"//":                                         "",
		"no/prefix/at/all":                           "",
	} {
		if got := string(kindOf([]byte(key))); got != want {
			t.Errorf("%s: %q, want %q", key, got, want)
		}
	}
}

// TestObjectsOf: what is counted is of one control plane only.
func TestObjectsOf(t *testing.T) {
	for name, c := range map[string]struct {
		prefixes []string
		want     map[string]int64
	}{
		"the usual":   {[]string{"/registry"}, map[string]int64{"pods": 2}},
		"another":     {[]string{"/kubernetes.io"}, map[string]int64{"pods": 1}},
		"two":         {[]string{"/kubernetes.io", "/registry"}, nil},
		"none":        {nil, nil},
		"two parts":   {[]string{"/a/b"}, nil},
		"nothing":     {[]string{"/"}, nil},
		"of no kinds": {[]string{"/empty"}, nil},
	} {
		r := &Report{}
		for _, p := range c.prefixes {
			r.Kubernetes = append(r.Kubernetes, Kubernetes{Prefix: p})
		}
		x := &content{report: r, live: mvcc.NewLiveSet(mvcc.KeyClass{}, 16), objects: map[string]int64{}}
		for _, key := range []string{"/registry/pods/a/b", "/registry/pods/a/c", "/kubernetes.io/pods/a/b", "/a/b/pods/a/b", "/registry/jobs/a/b"} {
			x.count([]byte(key), 1)
		}
		x.count([]byte("/registry/jobs/a/b"), -1)
		if got := x.objectsOf(); !maps.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// TestTooManyKinds: a database that no Kubernetes uses has no kinds, but may have very many keys that look like some.
func TestTooManyKinds(t *testing.T) {
	c := &content{report: &Report{Kubernetes: []Kubernetes{{Prefix: "/registry"}}}, live: mvcc.NewLiveSet(mvcc.KeyClass{}, 16), objects: map[string]int64{}}
	for i := range maxKinds {
		c.count(fmt.Appendf(nil, "/registry/%d/a", i), 1)
	}
	c.count([]byte("/registry/0/b"), 1)
	if got := c.objectsOf(); len(got) != maxKinds || got["0"] != 2 {
		t.Errorf("%d kinds, %d of the first", len(got), got["0"])
	}
	c.count([]byte("/registry/more/a"), 1)
	if got := c.objectsOf(); got != nil {
		t.Errorf("%d kinds", len(got))
	}
}
