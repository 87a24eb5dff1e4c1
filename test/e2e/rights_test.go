//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// TestRights: what --print-rbac prints is enough for a backup, and what is missing is named before anything is made.
func TestRights(t *testing.T) {
	turn(t)
	c := clusters.get(t, mainKind)
	h := host(t, c, hosted{})
	h.put(t, "/registry/a", "b")
	h.kubectl(t, "create", "serviceaccount", "operator")
	as := "--as=system:serviceaccount:" + h.Namespace + ":operator"

	t.Run("none", func(t *testing.T) {
		c.etcd(t, "backup", as).fails(1, `.*list pods in namespace "kube-system": .*forbidden.*`, `ask an administrator for the rights that "kubectl etcd backup --print-rbac" prints`)
		c.etcd(t, "status", h.target(), as).fails(1, `.*list pods in namespace "`+h.Namespace+`": .*forbidden.*`, `ask an administrator for the rights that "kubectl etcd backup --print-rbac -n `+h.Namespace+`" prints`)
		c.etcd(t, "list", "-A", as).exits(1)
		c.etcd(t, "cleanup", as).exits(1)
	})
	for _, test := range []struct{ namespace, target, via string }{
		{h.Namespace, h.target(), "forward"}, {h.Namespace, h.target(), "agent"}, {"kube-system", "", "agent"},
	} {
		t.Run("printed/"+test.via+"/"+test.target, func(t *testing.T) {
			grant(t, c, test.namespace, h.Namespace, test.target)
			args := []string{"backup", "--to", "a.db", "--via", test.via, as, "-o", "jsonpath={.snapshot.source.via} {.snapshot.proof}"}
			if test.target != "" {
				args = append(args, test.target)
			}
			r := c.etcd(t, args...).exits(0)
			if r.stdout != test.via+" full" {
				t.Errorf("unexpected result: %s", r)
			}
			if strings.Contains(r.stderr, "warning:") {
				t.Errorf("a warning: %s", r)
			}
			if test.target != "" {
				return
			}
			r = c.etcd(t, "backup", "--with-keys", "--encrypt-to", "age1k4zd0uelql3zq0l7l9eajwtzkqr3mchv0ww9zqkf9pefeuxq0uyqlm9pf3", "--to", "a.db.age", as).exits(0)
			if strings.Contains(r.stderr, "warning:") {
				t.Errorf("a warning: %s", r)
			}
		})
	}
	// One right less: it is named, and nothing was made.
	for _, test := range []struct{ via, resource, verbs, missing string }{
		{"agent", "configmaps", "get,list,delete", "create configmaps"},
		{"agent", "pods", "get,list,create", "delete pods"},
		{"agent", "pods/exec", "", "create pods/exec, get pods/exec"},
		{"forward", "pods/portforward", "", "create pods/portforward, get pods/portforward"},
		{"forward", "secrets", "", "get secrets"},
	} {
		t.Run("without "+test.missing, func(t *testing.T) {
			grant(t, c, h.Namespace, h.Namespace, h.target())
			restrict(t, h, test.resource, test.verbs)
			r := c.etcd(t, "backup", h.target(), "--via", test.via, "--to", "a.db", as).exits(1)
			if test.resource == "pods/exec" {
				return // the members cannot be asked either: the error names that, whatever the way
			}
			r.fails(1, fmt.Sprintf("forbidden in namespace %q: %s", h.Namespace, test.missing), `ask an administrator for the rights that "kubectl etcd backup --print-rbac -n `+h.Namespace+`" prints`)
			c.nothingLeft(t, h.Namespace)
		})
	}
}

// grant applies what --print-rbac prints and binds it to the ServiceAccount operator.
func grant(t *testing.T, c *cluster, namespace, account, target string) {
	t.Helper()
	args := []string{"backup", "--print-rbac"}
	if target != "" {
		args = append(args, target)
	}
	c.apply(t, c.etcd(t, args...).exits(0).stdout)
	c.apply(t, fmt.Sprintf(`
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: operator, namespace: %s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: kubectl-etcd-backup}
subjects: [{kind: ServiceAccount, name: operator, namespace: %s}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: operator-forward, namespace: %s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: kubectl-etcd-forward}
subjects: [{kind: ServiceAccount, name: operator, namespace: %s}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: e2e-%s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: kubectl-etcd-backup}
subjects: [{kind: ServiceAccount, name: operator, namespace: %s}]
`, namespace, account, namespace, account, account, account))
	t.Cleanup(func() {
		c.kubectl(t, "-n", namespace, "delete", "rolebinding/operator", "rolebinding/operator-forward", "role/kubectl-etcd-backup", "role/kubectl-etcd-forward", "role/kubectl-etcd-keys", "--ignore-not-found")
		c.kubectl(t, "delete", "clusterrolebinding/e2e-"+account, "clusterrole/kubectl-etcd-backup", "clusterrole/kubectl-etcd-keys", "--ignore-not-found")
	})
}

// restrict leaves only some verbs, or none, of a resource in the Role that grants it.
func restrict(t *testing.T, h *hosted, resource, verbs string) {
	t.Helper()
	role := "kubectl-etcd-backup"
	if resource == "secrets" || resource == "pods/portforward" {
		role = "kubectl-etcd-forward"
	}
	lines := strings.Split(h.kubectl(t, "get", "role", role, "-o",
		`go-template={{range .rules}}{{index .apiGroups 0}}|{{range .resources}}{{.}},{{end}}|{{range .verbs}}{{.}},{{end}}{{"\n"}}{{end}}`), "\n")
	var rules []string
	rule := func(group, resource, verbs string) {
		rules = append(rules, fmt.Sprintf("- {apiGroups: [%q], resources: [%q], verbs: [%s]}", group, resource, strings.Trim(verbs, ",")))
	}
	for _, line := range lines {
		parts := strings.Split(line, "|")
		if len(parts) != 3 {
			continue
		}
		for _, r := range strings.Split(strings.Trim(parts[1], ","), ",") {
			switch {
			case r != resource:
				rule(parts[0], r, parts[2])
			case verbs != "":
				rule(parts[0], r, verbs)
			}
		}
	}
	h.c.apply(t, "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: "+role+", namespace: "+h.Namespace+"}\nrules:\n"+strings.Join(rules, "\n")+"\n")
}
