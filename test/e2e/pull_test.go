//go:build e2e

package e2e

import (
	"fmt"
	"testing"
	"time"
)

// testAlwaysPull: admission makes every pod pull its image, as the plugin AlwaysPullImages does, and no registry answers.
// That the image is on the node does not help then.
func testAlwaysPull(t *testing.T, c *cluster) {
	const kept = "e2e.invalid/etcd:kept"
	ctr := "ctr -n k8s.io images "
	c.inNode(t, c.node(), ctr+"tag --force "+image("3.6.8-0-sh")+" "+kept)
	t.Cleanup(func() { c.inNode(t, c.node(), ctr+"rm "+kept+" || true") })
	h := host(t, c, hosted{Image: kept, HostCerts: fmt.Sprintf("/var/lib/e2e-certs-%d", time.Now().UnixNano())})
	h.put(t, "/a", "b")
	h.alwaysPull(t)
	trouble := `utility pod kubectl-etcd-kube-etcd-0-\w+ on node ` + c.node() + ` does not start: (ErrImagePull|ImagePullBackOff): .*` + kept + `.*`
	r := c.etcd(t, "backup", h.target(), "--via", "agent", "--to", "a.db", "-v").fails(1, trouble, `.*--via=exec.*`).within(time.Minute)
	r.says(`this cluster pulls images at every start \(AlwaysPullImages\): the node's registry has to answer`)
	wantFiles(t, r.dir)
	c.nothingLeft(t, h.Namespace)
	// auto: no Secret to forward with, but the member has a shell
	r = c.etcd(t, "backup", h.target(), "--to", "a.db", "-v").exits(0)
	r.says(`member kube-etcd-0: not by agent: ` + trouble).says(`member kube-etcd-0: reached by exec`)
	c.nothingLeft(t, h.Namespace)
}

// alwaysPull changes the pods that are made from now on in this namespace.
func (h *hosted) alwaysPull(t testing.TB) {
	t.Helper()
	name := h.Namespace + "-pull"
	h.c.apply(t, fmt.Sprintf(`
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicy
metadata: {name: %[1]s}
spec:
  matchConstraints:
    namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: %[2]s}}
    resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods]}]
  failurePolicy: Fail
  reinvocationPolicy: Never
  mutations:
  - patchType: ApplyConfiguration
    applyConfiguration:
      expression: >-
        Object{spec: Object.spec{containers: object.spec.containers.map(c, Object.spec.containers{name: c.name, imagePullPolicy: "Always"})}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicyBinding
metadata: {name: %[1]s}
spec: {policyName: %[1]s}
`, name, h.Namespace))
	t.Cleanup(func() {
		h.c.kubectl(t, "delete", "mutatingadmissionpolicybinding/"+name, "mutatingadmissionpolicy/"+name, "--ignore-not-found")
	})
	eventually(t, time.Minute, "pods are made to pull", func() error {
		out, err := h.c.tryKubectl(t, nil, "-n", h.Namespace, "run", "probe", "--image=busybox:1.35", "--image-pull-policy=IfNotPresent", "--dry-run=server", "-o", "jsonpath={.spec.containers[0].imagePullPolicy}")
		if err == nil && out != "Always" {
			err = fmt.Errorf("pull policy %q", out)
		}
		return err
	})
}
