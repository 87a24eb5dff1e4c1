package restore

import (
	"encoding/pem"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane/planetest"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify"
)

// authority is a certificate, as far as it is looked at.
func authority(text string) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte(text)}))
}

// nodeAt is a node with these addresses.
func nodeAt(addresses ...string) *corev1.Node {
	n := &corev1.Node{}
	for _, a := range addresses {
		n.Status.Addresses = append(n.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: a})
	}
	return n
}

// TestRecognize: a snapshot of another cluster, and one that the control plane has moved since; with the flag both are told.
func TestRecognize(t *testing.T) {
	t.Parallel()
	api, cfg := planetest.Serve(t)
	for name, addresses := range map[string]string{"n1": "[{type: InternalIP, address: 10.0.0.1}, {type: InternalIP, address: 'fd00::1'}]", "n2": "[{type: InternalIP, address: 10.0.0.9}, {type: Hostname, address: n2}]"} {
		api.Add(t, "apiVersion: v1\nkind: Node\nmetadata: {name: "+name+"}\nstatus: {addresses: "+addresses+"}")
	}
	api.Add(t, "apiVersion: v1\nkind: Namespace\nmetadata: {name: kube-system, uid: this}")
	api.Add(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {namespace: kube-system, name: kube-root-ca.crt}\ndata: {ca.crt: "+strconv.Quote(authority("one"))+"}")
	core, err := corev1client.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	const one, other = "7692C3AD3540BB80…", "D9298A10D1B07358…" // SHA-256 of these words
	static := controlplane.ControlPlane{Namespace: "kube-system", Name: "etcd", Owner: controlplane.Owner{Kind: "StaticPod"}, Members: []controlplane.Member{{Node: "n1"}, {Node: "n2"}, {Node: "n3"}}}
	for name, c := range map[string]struct {
		uid    string
		n1, n2 *corev1.Node
		ca     string
		why    string
		notes  []string
	}{
		"as it was":                 {"this", nodeAt("10.0.0.1"), nodeAt("10.0.0.9"), authority("one"), "", nil},
		"of another cluster":        {"that", nodeAt("10.1.0.1"), nodeAt("10.1.0.9"), authority("other"), "the snapshot is of another cluster (its kube-system has UID that, this one's this)", nil},
		"one node has moved":        {"this", nodeAt("fd00::1"), nodeAt("10.0.0.2", "fd00::2"), authority("one"), "", []string{"node n2 had the address 10.0.0.2, fd00::2, and has 10.0.0.9"}},
		"all nodes have":            {"this", nodeAt("10.0.0.8"), nodeAt("10.0.0.2"), authority("one"), "has moved since the snapshot: node n1 had the address 10.0.0.8, and has 10.0.0.1, fd00::1; node n2 had the address 10.0.0.2, and has 10.0.0.9", nil},
		"another authority":         {"this", nodeAt("10.0.0.1"), nodeAt("10.0.0.9"), authority("other"), "has moved since the snapshot: the certificate authority of the API servers was SHA-256 " + other + ", and is " + one, nil},
		"a rotation under way":      {"this", nodeAt("10.0.0.1"), nodeAt("10.0.0.9"), authority("other") + authority("one"), "", nil},
		"nothing that tells it":     {"", nodeAt(), nodeAt(), "", "", nil},
		"an authority is no longer": {"this", nodeAt("10.0.0.1"), nodeAt("10.0.0.9"), "none", "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kept := map[string]verify.Kept{}
			for key, value := range map[string][]byte{
				"minions/n1": storedAs(t, "Node", c.n1), "minions/n2": storedAs(t, "Node", c.n2), "minions/n3": []byte("k8s:enc:aescbc:v1:key:..."),
				"configmaps/kube-system/kube-root-ca.crt": storedAs(t, "ConfigMap", &corev1.ConfigMap{Data: map[string]string{caKey: c.ca}}),
			} {
				if key = "/registry/" + key; !newWorld(static).tells([]byte(key), value) {
					t.Errorf("%s is not kept", key)
				}
				kept[key] = verify.Kept{Value: value}
			}
			source := &source{report: &verify.Report{Kept: kept, Kubernetes: []verify.Kubernetes{{Prefix: "/registry", KubeSystemUID: c.uid}}}}
			for _, insist := range []bool{false, true} {
				for _, p := range []controlplane.ControlPlane{static, {Owner: controlplane.Owner{Kind: "StatefulSet"}}} {
					r := &Run{Site: &site.Site{Deps: site.Deps{Clients: &reach.Clients{Core: core}}, Plane: p}, Config: Config{FromOtherCluster: insist}, Source: source}
					notes, err := r.recognize(t.Context())
					want := slices.Clone(c.notes)
					refused := c.why
					if insist && c.why != "" {
						want, refused = append(want, c.why), ""
					}
					if !p.Static() {
						want, refused = nil, ""
					}
					var hinted *site.Refusal
					if (err != nil) != (refused != "") || err != nil && (!errors.As(err, &hinted) || !strings.Contains(err.Error(), refused) || !strings.Contains(hinted.Way, "--from-other-cluster")) {
						t.Errorf("insisting %t: %v", insist, err)
					}
					if !slices.EqualFunc(notes, want, strings.Contains) {
						t.Errorf("insisting %t: %q", insist, notes)
					}
				}
			}
		})
	}
	if w := newWorld(static); w.tells([]byte("/tenant/configmaps/kube-system/kube-root-ca.crt"), nil) || w.tells([]byte("/registry/minions/worker"), nil) {
		t.Error("what is not this control plane's is kept")
	}
}
