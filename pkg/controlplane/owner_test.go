package controlplane

import "testing"

// TestOwnersUnread: without the right to read an operator's objects, the pods'
// labels, and without those their owners' names, still say what they are of.
func TestOwnersUnread(t *testing.T) {
	a, client := serve(t, "one-owner-each")
	a.Forbid = func(resource, _, _ string) bool { return resource == "etcdmembers" || resource == "etcdclusters" }
	check := func(want ...string) {
		t.Helper()
		planes := find(t, client, "")
		for i, p := range planes {
			if len(planes) != len(want) || p.Name != want[i] || !p.Owner.Custom() || p.Owner.Group() != "etcd.example.com" || p.Owner.Kind != "EtcdMember" {
				t.Errorf("want %q, found:\n%s", want, summary(planes))
			}
		}
	}
	check("db", "events")
	for _, pod := range a.Objects["pods"] {
		pod["metadata"].(map[string]any)["labels"] = map[string]any{}
	}
	check("db", "events-7mm2p")
}
