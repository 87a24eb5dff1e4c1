package site

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
)

func TestChosen(t *testing.T) {
	p := controlplane.ControlPlane{Namespace: "team-a", Name: "kube-etcd", Owner: controlplane.Owner{Kind: "StatefulSet", Name: "kube-etcd"}}
	for i, name := range []string{"a", "b", "c"} {
		pod := fmt.Sprint("kube-etcd-", i)
		p.Members = append(p.Members, controlplane.Member{Name: name, Namespace: "team-a", PodName: pod, Pod: pod})
	}
	got, err := Chosen(p, []string{"0", "kube-etcd-1", "c", "a"})
	if err != nil || len(got) != 3 || got[0].Name != "a" || got[1].Name != "b" || got[2].Name != "c" {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"3", "-1", "kube-etcd", ""} {
		if got, err := Chosen(p, []string{bad}); err == nil || !strings.Contains(err.Error(), "there are: a, b, c") {
			t.Errorf("%q: %v, %v", bad, got, err)
		}
	}
}
