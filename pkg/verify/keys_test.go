package verify

import (
	"fmt"
	"maps"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify/etcdtest"
)

func TestParseKeyValueIsAsStrictAsProtobuf(t *testing.T) {
	varint := protowire.AppendVarint(protowire.AppendTag(nil, 2, protowire.VarintType), 7)
	for name, c := range map[string]struct {
		data []byte
		ok   bool
	}{
		"empty":                   {nil, true},
		"varint":                  {varint, true},
		"unknown varint":          {protowire.AppendVarint(protowire.AppendTag(nil, 77, protowire.VarintType), 7), true},
		"unknown fixed":           {protowire.AppendFixed64(protowire.AppendTag(nil, 77, protowire.Fixed64Type), 7), true},
		"key as varint":           {protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 7), false},
		"revision as bytes":       {protowire.AppendBytes(protowire.AppendTag(nil, 3, protowire.BytesType), nil), false},
		"revision as fixed":       {protowire.AppendFixed64(protowire.AppendTag(nil, 3, protowire.Fixed64Type), 7), false},
		"cut":                     {varint[:1], false},
		"field 0":                 {[]byte{0, 0}, false},
		"length beyond the end":   {[]byte{0x0a, 5, 'a'}, false},
		"length beyond reason":    {[]byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}, false},
		"varint of eleven digits": {append([]byte{0x10}, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1), false},
	} {
		if _, err := parseKeyValue(c.data); (err == nil) != c.ok {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestParseRevision(t *testing.T) {
	good := append(entryKey(5), 't')
	if r, err := parseRevision(good); err != nil || r.main != 7 || r.sub != 0 || !r.tombstone {
		t.Errorf("got %+v, %v", r, err)
	}
	for name, k := range map[string][]byte{
		"short": good[:16], "long": append(good, 't'), "mark": append(entryKey(5), 'x'), "negative": append([]byte{0x80}, entryKey(5)[1:]...),
	} {
		if _, err := parseRevision(k); err == nil {
			t.Errorf("%s: %x is accepted", name, k)
		}
	}
}

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
		x := &content{report: r, live: newLiveSet(keyClass{}, 16), objects: map[string]int64{}}
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
	c := &content{report: &Report{Kubernetes: []Kubernetes{{Prefix: "/registry"}}}, live: newLiveSet(keyClass{}, 16), objects: map[string]int64{}}
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

func TestNamespaceUID(t *testing.T) {
	stored := etcdtest.Namespace("kube-system", etcdtest.KubeSystemUID)
	for name, c := range map[string]struct {
		value     string
		uid       string
		encrypted bool
		ok        bool
	}{
		"protobuf":           {string(stored), etcdtest.KubeSystemUID, false, true},
		"json":               {`{"kind":"Namespace","apiVersion":"v1","metadata":{"name":"kube-system","uid":"u"}}`, "u", false, true},
		"encrypted":          {"k8s:enc:aescbc:v1:key1:xxxx", "", true, true},
		"another kind":       {`{"kind":"ConfigMap","apiVersion":"v1","metadata":{"uid":"u"}}`, "", false, false},
		"another message":    {"k8s\x00\x0a\x0f\x0a\x02v1\x12\x09ConfigMap", "", false, false},
		"damaged":            {string(stored[:20]), "", false, false},
		"nothing":            {"", "", false, false},
		"namespace, no uid":  {`{"kind":"Namespace","apiVersion":"v1","metadata":{}}`, "", false, false},
		"something in bytes": {"\x01\x02", "", false, false},
	} {
		uid, encrypted, ok := namespaceUID([]byte(c.value))
		if uid != c.uid || encrypted != c.encrypted || ok != c.ok {
			t.Errorf("%s: got %q, %v, %v", name, uid, encrypted, ok)
		}
	}
}
