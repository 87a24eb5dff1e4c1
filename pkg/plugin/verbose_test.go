package plugin

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// TestVerbosity: -v has a number where kubectl's has one, and stands alone where it always did.
func TestVerbosity(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"list -v 6": "list -v=6", "list -v6 -A": "list -v=6 -A", "-v 10 list": "-v=10 list", "list --verbose 2": "list --verbose=2",
		"list -v": "list -v", "list -vv": "list -vv", "list -v=6": "list -v=6", "status -v team-a/etcd": "status -v team-a/etcd",
		"status -v 123": "status -v=123", "status -- -v 6": "status -- -v 6", "backup -n 6": "backup -n 6",
	} {
		if got := verbosity(strings.Fields(line)); !slices.Equal(got, strings.Fields(want)) {
			t.Errorf("%s: %q, want %s", line, got, want)
		}
	}
}

// TestListNames: what a script reads line by line has no headings.
func TestListNames(t *testing.T) {
	etcd := serverPod("kube-system", "etcd-n1", "n1", true, program("etcd", "etcd", "--name=n1"))
	etcd.Annotations = map[string]string{"kubernetes.io/config.mirror": "x"}
	l := lists{pods: []corev1.Pod{etcd}}
	if said, shown, code := said(t, l, "list", "-o", "name"); code != exitOK || shown != "kube-system/etcd\n" {
		t.Errorf("code %d: %q %s", code, shown, said)
	}
	_, with, _ := said(t, l, "list")
	said, without, code := said(t, l, "list", "--no-headers")
	if code != exitOK || strings.Contains(without, "NAMESPACE") || strings.Count(without, "\n") != strings.Count(with, "\n")-1 || !strings.HasPrefix(without, "kube-system") {
		t.Errorf("code %d: %q, with headings %q; %s", code, without, with, said)
	}
}
