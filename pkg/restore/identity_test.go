package restore

import (
	"testing"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify"
)

// TestOtherCluster: several control planes in one etcd are compared one by one.
func TestOtherCluster(t *testing.T) {
	type uids = map[string]string
	for name, c := range map[string]struct {
		ours, live uids
		want       string
	}{
		"the same":      {uids{"/registry": "a"}, uids{"/registry": "a"}, ""},
		"another":       {uids{"/registry": "a"}, uids{"/registry": "b"}, "its kube-system has UID a, this one's b"},
		"tenants":       {uids{"/x": "a", "/y": "b"}, uids{"/x": "a", "/y": "b"}, ""},
		"one tenant's":  {uids{"/x": "a", "/y": "b"}, uids{"/x": "a", "/y": "c"}, "beneath /y its kube-system has UID b, this one's c"},
		"one was added": {uids{"/x": "a"}, uids{"/x": "a", "/y": "c"}, ""},
		"one has gone":  {uids{"/x": "a", "/y": "c"}, uids{"/x": "a"}, ""},
		"not one":       {uids{"/x": "a"}, uids{"/1": "b", "/2": "b", "/3": "b", "/4": "b"}, "its keys are beneath /x, this one's beneath /1, /2, /3, and 1 more"},
	} {
		if got := otherCluster(c.ours, c.live); got != c.want {
			t.Errorf("%s: %q", name, got)
		}
	}
	r := &verify.Report{Kubernetes: []verify.Kubernetes{{Prefix: "/x", KubeSystemUID: "a"}, {Prefix: "/y", Encrypted: true}}}
	if got := identities(r); len(got) != 1 || got["/x"] != "a" {
		t.Errorf("got %v", got)
	}
}
