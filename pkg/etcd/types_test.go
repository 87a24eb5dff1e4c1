package etcd

import (
	"encoding/json"
	"testing"
)

func TestIDInJSON(t *testing.T) {
	b, err := json.Marshal(map[string]ID{"id": 0xfedcba9876543210})
	if err != nil || string(b) != `{"id":"fedcba9876543210"}` {
		t.Errorf("%s, %v", b, err)
	}
	var back map[string]ID
	if err := json.Unmarshal(b, &back); err != nil || back["id"] != 0xfedcba9876543210 {
		t.Errorf("%v, %v", back, err)
	}
	for _, bad := range []string{`{"id":"xyz"}`, `{"id":""}`, `{"id":"10000000000000000"}`} {
		if err := json.Unmarshal([]byte(bad), &back); err == nil {
			t.Errorf("%s is read as %v", bad, back)
		}
	}
}

func TestMessage(t *testing.T) {
	for in, want := range map[string]string{
		"etcdserver: permission denied": "permission denied",
		`connection error: desc = "transport: Error while dialing: dial tcp 127.0.0.1:1: connect: connection refused"`:        "dial tcp 127.0.0.1:1: connect: connection refused",
		`closing transport due to: connection error: desc = "error reading from server: EOF", received prior goaway: code: 0`: "error reading from server: EOF",
		"error reading from server: EOF": "error reading from server: EOF",
	} {
		if got := message(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}
