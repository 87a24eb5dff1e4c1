package verify_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify/etcdtest"
)

// TestRecords: alarms, learners and users lie in the snapshot, and come back with it.
func TestRecords(t *testing.T) {
	eachMinor(t, func(t *testing.T, _ string, b etcdtest.Binaries) {
		s := etcdtest.Start(t, b, "--quota-backend-bytes", fmt.Sprint(1<<20))
		if _, err := s.Client.MemberAddAsLearner(t.Context(), []string{"http://127.0.0.1:1"}); err != nil {
			t.Fatal(err)
		}
		for _, user := range []string{"root", "reader"} {
			if _, err := s.Client.UserAdd(t.Context(), user, etcdtest.Password); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.Client.UserGrantRole(t.Context(), "root", "root"); err != nil {
			t.Fatal(err)
		}
		full := false
		for i := 0; i < 500 && !full; i++ { // etcd looks at its file, which it writes ten times in a second
			_, err := s.Client.Put(t.Context(), fmt.Sprint("key", i), strings.Repeat("x", 100<<10))
			full = err != nil
		}
		if !full {
			t.Fatal("etcd takes more than its quota")
		}
		r, err := verify.File(t.Context(), s.Save(t), verify.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Members) != 2 || len(r.Alarms) != 1 {
			t.Fatalf("members %+v, alarms %+v", r.Members, r.Alarms)
		}
		if r.Alarms[0].Type != "NOSPACE" || r.MemberName(r.Alarms[0].MemberID) != "test" {
			t.Errorf("alarms %+v of members %+v", r.Alarms, r.Members)
		}
		if n := slices.IndexFunc(r.Members, func(m verify.Member) bool { return m.Learner }); n < 0 || r.Members[n].Name != "" {
			t.Errorf("members %+v", r.Members)
		}
		if diff := cmp.Diff([]verify.User{{Name: "reader"}, {Name: "root", Roles: []string{"root"}}}, r.AuthUsers); diff != "" || r.AuthEnabled {
			t.Error(diff, r.AuthEnabled)
		}
		if len(r.Notes) != 0 {
			t.Errorf("notes %q", r.Notes)
		}
	})
}

// TestEncrypted: what counts is how an object is stored in the end, beneath each prefix.
func TestEncrypted(t *testing.T) {
	s := etcdtest.Start(t, etcdtest.Find(t, "3.6"))
	put := func(key, value string) {
		t.Helper()
		if _, err := s.Client.Put(t.Context(), key, value); err != nil {
			t.Fatal(err)
		}
	}
	plain := "k8s\x00"
	put("/registry/namespaces/kube-system", string(etcdtest.Namespace("kube-system", etcdtest.KubeSystemUID)))
	put("/a/b/namespaces/kube-system", "k8s:enc:aesgcm:v1:other:xx")
	put("/registry/secrets/x/one", "k8s:enc:aescbc:v1:old:xx")
	put("/registry/secrets/x/two", "k8s:enc:aescbc:v1:old:xx")
	put("/registry/secrets/x/one", "k8s:enc:aescbc:v1:new:xx") // rotated
	put("/registry/secrets/x/two", "k8s:enc:aescbc:v1:new:xx")
	put("/registry/secrets/x/gone", "k8s:enc:secretbox:v1:box:xx")
	put("/registry/configmaps/x/back", "k8s:enc:secretbox:v1:box:xx")
	put("/registry/configmaps/x/back", plain) // decrypted
	put("/registry/configmaps/x/later", plain)
	put("/registry/configmaps/x/later", "k8s:enc:kms:v2:vault:\x0a\x02xx")
	put("/registry/stable.example.com/crontabs/x/a", "k8s:enc:secretbox:v1:box:xx")
	put("/registry/configmaps/x/none", "k8s:enc:cut")
	put("/tenant/secrets/x/a", "k8s:enc:aescbc:v1:new:xx")
	if _, err := s.Client.Delete(t.Context(), "/registry/secrets/x/gone"); err != nil {
		t.Fatal(err)
	}
	r, err := verify.File(t.Context(), s.Save(t), verify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := []verify.Encryption{
		{Prefix: "/a/b", Provider: "aesgcm", Version: "v1", KeyName: "other", Objects: 1},
		{Prefix: "/registry", Kind: "configmaps", Provider: "kms", Version: "v2", KeyName: "vault", Objects: 1},
		{Prefix: "/registry", Kind: "secrets", Provider: "aescbc", Version: "v1", KeyName: "new", Objects: 2},
		{Prefix: "/registry", Kind: "stable.example.com/crontabs", Provider: "secretbox", Version: "v1", KeyName: "box", Objects: 1},
		{Prefix: "/tenant", Kind: "secrets", Provider: "aescbc", Version: "v1", KeyName: "new", Objects: 1},
	}
	if diff := cmp.Diff(want, r.Encrypted); diff != "" {
		t.Error(diff)
	}
}
