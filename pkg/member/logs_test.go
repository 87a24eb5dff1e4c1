package member

import (
	"fmt"
	"testing"
)

// TestReadLog reads lines as etcd 3.5 to 3.7 write them, and what is none of them.
func TestReadLog(t *testing.T) {
	const log = `{"level":"info","ts":"2026-01-02T03:04:05Z","msg":"established TCP streaming connection with remote peer","remote-peer-id":"aa"}
{"level":"warn","msg":"rejected connection on peer endpoint","remote-addr":"192.0.2.7:40110","server-name":"","error":"EOF"}
{"level":"warn","msg":"rejected connection on peer endpoint","remote-addr":"192.0.2.7:40112","error":"tls: \"192.0.2.7\" does not match any of DNSNames [\"a\"]"}
{"level":"warn","msg":"rejected connection on peer endpoint","remote-addr":"192.0.2.7:40114","error":"tls: \"192.0.2.7\" does not match any of DNSNames [\"a\"]"}
{"level":"warn","msg":"prober detected unhealthy status","remote-peer-id":"bb","error":"of another member"}
{"level":"warn","msg":"prober detected unhealthy status","remote-peer-id":"aa","error":"x509: certificate is valid for 192.0.2.1"}
WARNING: not JSON
`
	for name, c := range map[string]struct {
		log, want string
		snapshot  bool
	}{
		"refused":               {log, `[rejected connection on peer endpoint from 192.0.2.7:40114: tls: "192.0.2.7" does not match any of DNSNames ["a"] prober detected unhealthy status: x509: certificate is valid for 192.0.2.1]`, false},
		"sent":                  {`{"level":"info","msg":"sent database snapshot","to":"aa"}`, "[]", true},
		"received":              {`{"level":"info","msg":"received and saved database snapshot","from":"cc"}`, "[]", true},
		"sent to another":       {`{"level":"info","msg":"sent database snapshot","to":"bb"}`, "[]", false},
		"it ended":              {`{"level":"fatal","msg":"discovery failed","error":"no peers"}`, "[discovery failed: no peers]", false},
		"an etcd before 3.4":    {"2026-01-02 03:04:05.0 W | rafthttp: lost the TCP streaming connection", "[]", false},
		"nothing has been said": {"", "[]", false},
	} {
		got, snapshot := readLog(c.log, "aa")
		if fmt.Sprint(got) != c.want || snapshot != c.snapshot {
			t.Errorf("%s: %v, snapshot %t", name, got, snapshot)
		}
	}
}
