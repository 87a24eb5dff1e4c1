package verify

import (
	"testing"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify/etcdtest"
)

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
