package agent

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/agentapi"
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
		files []agentapi.Files
	}{
		{"the CA beside", nil, []agentapi.Files{{CA: f.OtherCA, Cert: f.OtherCert, Key: f.OtherKey}, {CA: f.OtherCA, Cert: f.Cert, Key: f.Key}, {CA: f.CA, Cert: f.OtherCert, Key: f.OtherKey}, {CA: f.CA, Cert: f.Cert, Key: f.Key}}},
		{"one that is not there", nil, []agentapi.Files{{CA: absent, Cert: f.Cert, Key: f.Key}, {CA: f.OtherCA, Cert: f.Cert, Key: f.Key}, {CA: f.CA, Cert: f.Cert, Key: f.Key}}},
		{"given", &etcd.TLS{CA: ca}, []agentapi.Files{{Cert: f.Cert, Key: f.Key}}},
	} {
		e := agentapi.Endpoint{URL: cl.Members[0].Endpoint, CA: c.files[0].CA, Cert: c.files[0].Cert, Key: c.files[0].Key, Alternatives: c.files[1:], Given: c.given}
		var r agentapi.QueryReply
		ask(t, agentapi.RequestQuery, agentapi.QueryRequest{Endpoint: e, Status: true}).reply(&r)
		if r.Status == nil || r.Status.Latency == 0 {
			t.Errorf("%s: %+v", c.name, r)
		}
	}
}
