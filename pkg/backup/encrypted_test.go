package backup_test

import (
	"slices"
	"strings"
	"testing"
)

// TestEncryptedAtRest: what a snapshot alone does not bring back is said.
func TestEncryptedAtRest(t *testing.T) {
	t.Parallel()
	c := cluster(t, "3.6")
	c.Put(t, "/registry/namespaces/kube-system", "k8s\x00not a real one")
	c.Put(t, "/registry/secrets/team-a/token", "k8s:enc:aescbc:v1:key1:0123456789abcdef")
	l := &listener{}
	if _, err := run(t, config(t, endpoints(c)...), l); err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(l.warnings, func(w string) bool {
		return strings.HasPrefix(w, "secrets (aescbc, key key1) are encrypted at rest, and their keys are not in a snapshot")
	}) {
		t.Errorf("%q", l.warnings)
	}
}
