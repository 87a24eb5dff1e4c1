package controlplane

import (
	"slices"
	"testing"
)

// TestScriptUnread: without the right to read the script, what it is made of
// says that there is an etcd; nothing is said of what only the script knows.
func TestScriptUnread(t *testing.T) {
	a, client := serve(t, "launchers")
	a.Forbid = func(resource, _, _ string) bool { return resource == "configmaps" }
	c, err := Resolve(find(t, client, "tools"), "by-script", "tools")
	if err != nil {
		t.Fatal(err)
	}
	m := c.Members[0]
	if want := []string{"image", "the volume at /data", "port 2379"}; !slices.Equal(m.FoundBy, want) {
		t.Errorf("found by %q, want %q", m.FoundBy, want)
	}
	if m.DataDir != "" || m.DataVolume == nil || m.PodEndpoint != "http://10.1.0.3:2379" || !hasNote(m.Notes, "/scripts/start.sh cannot be read: ") {
		t.Errorf("member:\n%s", summary([]ControlPlane{c}))
	}
}
