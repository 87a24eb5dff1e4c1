package plugin

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify"
)

// TestPrintVerified: what lies in a snapshot besides objects is shown by name, and long lists are cut.
func TestPrintVerified(t *testing.T) {
	r := &verify.Report{
		ClusterVersion: "3.5.0", AuthEnabled: true, AuthUsers: []verify.User{{Name: "root"}, {Name: "reader"}},
		Members:    []verify.Member{{ID: "a1", Name: "m1"}, {ID: "b2", Name: "m2"}, {ID: "c3", Learner: true}},
		Alarms:     []verify.Alarm{{Type: "NOSPACE", MemberID: "b2"}, {Type: "CORRUPT", MemberID: "0"}},
		Kubernetes: []verify.Kubernetes{{Prefix: "/a", KubeSystemUID: "u1"}, {Prefix: "/b", Encrypted: true}},
		Encrypted: []verify.Encryption{
			{Prefix: "/a", Kind: "secrets", Provider: "aescbc", Version: "v1", KeyName: "key1", Objects: 7},
			{Prefix: "/b", Kind: "secrets", Provider: "kms", Version: "v2", KeyName: "vault", Objects: 1},
			{Prefix: "/c/d", Provider: "aescbc", Version: "v1", KeyName: "key1", Objects: 2},
		},
	}
	for i := range 30 {
		r.Kubernetes = append(r.Kubernetes, verify.Kubernetes{Prefix: fmt.Sprint("/t", i), KubeSystemUID: "u"})
	}
	var out, errOut bytes.Buffer
	o := &verifyOptions{app: &app{IOStreams: genericiooptions.IOStreams{Out: &out, ErrOut: &errOut}}}
	if err := o.print(verified{Report: r}); err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(out.String()), " ")
	for _, want := range []string{
		"kube-system UID u1 (/a) encrypted (/b) u (/t0)", "and 12 more: see -o json", "etcd cluster version 3.5.0, storage version none (before 3.6)",
		"members m1 m2 c3 (learner)", "alarms NOSPACE of member m2 CORRUPT of member 0", "auth on; users: root, reader",
		"encrypted secrets of /a: aescbc v1, key key1 (7) secrets of /b: kms v2, plugin vault (1) objects of /c/d: aescbc v1, key key1 (2)",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
}
