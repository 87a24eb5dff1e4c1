package controlplane

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestFiles: what an API server's flags name is read where it comes from; what cannot be is told.
func TestFiles(t *testing.T) {
	t.Parallel()
	_, client := serve(t, "apifiles")
	writers, err := workloads(t.Context(), client, "team-a")
	if err != nil || len(writers) != 1 {
		t.Fatalf("%v, %v", writers, err)
	}
	for flag, want := range map[string]struct {
		content map[string]string
		unread  []string
	}{
		"service-account-key-file":   {map[string]string{"/pki/sa.pub": "the newer", "/old/sa.pub": "the older"}, []string{"/nowhere/sa.pub"}},
		"encryption-provider-config": {map[string]string{"/encryption/config.yaml": "kind: EncryptionConfiguration"}, nil},
		"tls-cert-file":              {map[string]string{}, []string{"/pki/not-there.crt"}},
		"client-ca-file":             {map[string]string{}, []string{"/etc/kubernetes/ca.crt"}},
		"not-given":                  {map[string]string{}, nil},
	} {
		content, unread := writers[0].Files(t.Context(), client, flag)
		if diff := cmp.Diff(want.content, content); diff != "" || !slices.Equal(unread, want.unread) {
			t.Errorf("%s: %s unread %q", flag, diff, unread)
		}
		if given := flag != "not-given"; writers[0].Flagged(t.Context(), client, flag) != given {
			t.Errorf("%s is given: %t", flag, given)
		}
	}
}
