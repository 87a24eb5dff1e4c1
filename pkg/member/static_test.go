package member

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	restclient "k8s.io/client-go/rest"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/datadir"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
)

// ofNode is a member that a node's kubelet runs from a file.
func ofNode(change ...func(*controlplane.Member)) controlplane.Member {
	m := controlplane.Member{Name: "n2", Pod: "etcd-n2", PodName: "etcd-n2", Node: "n2", HostIP: "10.0.0.2", Object: static("etcd-n2", "n2")}
	m.DataVolume = &controlplane.VolumeRef{Kind: "hostPath"}
	for _, c := range change {
		c(&m)
	}
	return m
}

func static(name, node string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{"kubernetes.io/config.mirror": strings.Repeat("a", 31) + name[len(name)-1:]}}, Spec: corev1.PodSpec{NodeName: node}}
}

// wayOut is the hint of a refusal.
func wayOut(err error) string {
	var refused *site.Refusal
	if errors.As(err, &refused) {
		return refused.Hint()
	}
	return ""
}

func TestReplaceableStatic(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, server string
		m            controlplane.Member
		says, hint   string
	}{
		{"through a load balancer", "https://10.0.0.9:6443", ofNode(), "", ""},
		{"its kubelet is silent", "https://10.0.0.9:6443", ofNode(func(m *controlplane.Member) { m.NodeReady = new(false) }), "node n2 is not ready", "kubelet.conf"},
		{"no pod", "https://10.0.0.9:6443", ofNode(func(m *controlplane.Member) { m.Pod = "" }), "no pod of it was found", ""},
		{"through its own API server", "https://10.0.0.2:6443", ofNode(), "leads to the API server on its node", "--server"},
		{"by the node's name", "https://n2:6443", ofNode(), "leads to the API server on its node", "--server"},
		{"without a scheme", "10.0.0.2:6443", ofNode(), "leads to the API server on its node", "--server"},
	} {
		p := controlplane.ControlPlane{Namespace: "kube-system", Name: "etcd", Owner: controlplane.Owner{Kind: "StaticPod"}, Members: []controlplane.Member{c.m}}
		d := site.Deps{Clients: &reach.Clients{Config: &restclient.Config{Host: c.server}}}
		err := replaceable(d, Config{Target: site.Target{Plane: p}}, c.m)
		switch {
		case c.says == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(wayOut(err), c.hint)):
			t.Errorf("%s: %v; %s", c.name, err, wayOut(err))
		}
	}
}

// TestReaching: where no utility pod starts on the member's node, what can be done is said; what else goes wrong is left as it is.
func TestReaching(t *testing.T) {
	t.Parallel()
	other := errors.New("disk")
	for _, c := range []struct {
		name, at string
		err      error
		static   bool
		hint     string
	}{
		{"late", "n2", fmt.Errorf("start utility pod: %w", reach.ErrLate), true, "kubelet.conf"},
		{"not ready", "n2", fmt.Errorf("start utility pod: %w", reach.ErrNotReady), true, "kubelet.conf"},
		{"another member's node", "n1", fmt.Errorf("start utility pod: %w", reach.ErrLate), true, ""},
		{"something else", "n2", other, true, ""},
		{"a StatefulSet's", "n2", fmt.Errorf("start utility pod: %w", reach.ErrLate), false, ""},
	} {
		r := &Replacement{Site: &site.Site{Shared: &site.Shared{Members: []site.MemberRecord{{Name: "n2"}}, Replace: &site.Replacement{}}}}
		if c.static {
			r.Shared.Replace.Pod = &site.StaticPod{}
		}
		err := r.reaching(func(context.Context, *plan.Task) error {
			r.noteCutOff(c.at, c.err)
			return c.err
		})(t.Context(), nil)
		if err == nil || !strings.Contains(err.Error(), c.err.Error()) || !strings.Contains(wayOut(err), c.hint) || c.hint == "" && wayOut(err) != "" {
			t.Errorf("%s: %v; %s", c.name, err, wayOut(err))
		}
	}
}

// TestStray: data of another cluster tells that etcd has founded one; what was exchanged in is the cluster's.
func TestStray(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		s      datadir.State
		static bool
		want   bool
	}{
		{"another cluster's", datadir.State{ClusterID: "7", Inode: 1}, true, true},
		{"its own", datadir.State{ClusterID: "9", Inode: 1}, true, false},
		{"none", datadir.State{}, true, false},
		{"exchanged", datadir.State{ClusterID: "7", Inode: 5}, true, false},
		{"a StatefulSet's", datadir.State{ClusterID: "7", Inode: 1}, false, false},
	} {
		r := &Replacement{Site: &site.Site{Shared: &site.Shared{ClusterID: "9", Members: []site.MemberRecord{{Name: "n2", NewInode: 5}}, Replace: &site.Replacement{}}}}
		if c.static {
			r.Shared.Replace.Pod = &site.StaticPod{}
		}
		if r.stray(&c.s); r.Shared.Replace.Strayed != c.want {
			t.Errorf("%s: %t", c.name, r.Shared.Replace.Strayed)
		}
	}
}
