package agent

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
)

// TestOtherCAs: of several CAs and certificates, those are found that serve; and what the user gave comes before all.
func TestOtherCAs(t *testing.T) {
	t.Parallel()
	cl := oneMember(t, "3.6", true)
	f := cl.TLS
	absent := filepath.Join(t.TempDir(), "ca.crt")
	ca, err := os.ReadFile(f.CA)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		given *etcd.TLS
		files []Files
	}{
		{"the CA beside", nil, []Files{{f.OtherCA, f.OtherCert, f.OtherKey}, {f.OtherCA, f.Cert, f.Key}, {f.CA, f.OtherCert, f.OtherKey}, {f.CA, f.Cert, f.Key}}},
		{"one that is not there", nil, []Files{{absent, f.Cert, f.Key}, {f.OtherCA, f.Cert, f.Key}, {f.CA, f.Cert, f.Key}}},
		{"given", &etcd.TLS{CA: ca}, []Files{{"", f.Cert, f.Key}}},
	} {
		e := Endpoint{URL: cl.Members[0].Endpoint, CA: c.files[0].CA, Cert: c.files[0].Cert, Key: c.files[0].Key, Alternatives: c.files[1:], Given: c.given}
		var r QueryReply
		ask(t, RequestQuery, QueryRequest{Endpoint: e, Status: true}).reply(&r)
		if r.Status == nil || r.Status.Latency == 0 {
			t.Errorf("%s: %+v", c.name, r)
		}
	}
}
