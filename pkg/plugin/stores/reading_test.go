package stores

import (
	"context"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/catalog"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/snapshot"
)

func entry(name, plane, uid string) catalog.Entry {
	return catalog.Entry{Name: name, Snapshot: &snapshot.Sidecar{Proof: snapshot.ProofFull, Created: time.Now(), Source: snapshot.Source{Namespace: "team-a", Name: plane}, Cluster: snapshot.Cluster{KubeSystemUID: uid}}}
}

// TestNewest: of control planes that are called alike the live one decides, and nothing is guessed.
func TestNewest(t *testing.T) {
	all := []catalog.Entry{entry("b2", "kube-etcd", "b"), entry("x", "other", "x"), entry("a2", "kube-etcd", "a"), entry("a1", "kube-etcd", "a")} // newest first
	for name, tc := range map[string]struct {
		all  []catalog.Entry
		uid  string // the live one's
		want string // "": refused
		asks int
	}{
		"one":           {all[1:], "a", "a2", 0},
		"alike":         {all, "a", "a2", 1},
		"nobody tells":  {all, "", "", 1},
		"none of these": {all, "c", "", 1},
	} {
		asked := 0
		p := &Plane{Namespace: "team-a", Name: "kube-etcd", Ask: func(context.Context) string { asked++; return tc.uid }}
		e, err := p.newest(t.Context(), tc.all, "s3://b/latest")
		if got := e; (got == nil) != (tc.want == "") || got != nil && got.Name != tc.want || (err == nil) != (got != nil) || asked != tc.asks {
			t.Errorf("%s: %+v, %v, asked %d times", name, got, err, asked)
		}
	}
	if e, err := (*Plane)(nil).newest(t.Context(), all, "s3://b/latest"); err == nil {
		t.Errorf("of all: %+v", e)
	}
}
