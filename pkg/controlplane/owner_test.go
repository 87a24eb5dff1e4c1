package controlplane

import "testing"

// TestOwnersUnread: without the right to read an operator's objects, the pods'
// labels, and without those their owners' names, still say what they are of.
func TestOwnersUnread(t *testing.T) {
	a, client := serve(t, "one-owner-each")
	a.forbid = func(resource, _, _ string) bool { return resource == "etcdmembers" || resource == "etcdclusters" }
	check := func(want ...string) {
		t.Helper()
		planes := find(t, client, "")
		for i, p := range planes {
			operator, ok := p.Operator()
			if len(planes) != len(want) || p.Name != want[i] || !ok || operator.Group() != "etcd.example.com" || operator.Kind != "EtcdMember" {
				t.Errorf("want %q, found:\n%s", want, summary(planes))
			}
		}
	}
	check("db", "events")
	for _, pod := range a.objects["pods"] {
		pod["metadata"].(map[string]any)["labels"] = map[string]any{}
	}
	check("db", "events-7mm2p")
}

func TestOperator(t *testing.T) {
	_, client := serve(t, "one-owner-each")
	p := find(t, client, "")[0]
	if o, ok := p.Operator(); !ok || o.Kind != "EtcdCluster" || o.Group() != "etcd.example.com" {
		t.Errorf("operator %+v", o)
	}
	_, client = serve(t, "gardener")
	if o, ok := find(t, client, "")[0].Operator(); !ok || o.Kind != "Etcd" || o.Group() != "druid.gardener.cloud" {
		t.Errorf("operator %+v", o)
	}
	_, client = serve(t, "kubeception")
	if o, ok := find(t, client, "")[0].Operator(); ok {
		t.Errorf("operator %+v of a StatefulSet that nothing owns", o)
	}
}
