//go:build e2e

package e2e

import (
	"fmt"
	"regexp"
	"testing"
)

// operator makes a ServiceAccount with the rights that `restore --print-rbac` prints, and no others; it returns how to be it.
func (u *user) operator(t testing.TB) (as string) {
	t.Helper()
	u.kubectl(t, "create", "serviceaccount", "operator")
	u.grantRestore(t)
	binding := func(kind, role, ref string) {
		u.c.apply(t, fmt.Sprintf(`
apiVersion: rbac.authorization.k8s.io/v1
kind: %[1]s
metadata: {name: %[2]s-%[3]s, namespace: %[2]s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: %[4]s, name: %[3]s}
subjects: [{kind: ServiceAccount, name: operator, namespace: %[2]s}]
`, kind, u.Namespace, role, ref))
	}
	binding("RoleBinding", "kubectl-etcd-restore", "Role")
	binding("RoleBinding", "kubectl-etcd-restore-ask", "Role")
	binding("ClusterRoleBinding", "kubectl-etcd-restore", "ClusterRole")
	t.Cleanup(func() {
		u.c.kubectl(t, "delete", "clusterrolebinding/"+u.Namespace+"-kubectl-etcd-restore", "--ignore-not-found")
	})
	return "--as=system:serviceaccount:" + u.Namespace + ":operator"
}

func (u *user) grantRestore(t testing.TB) {
	t.Helper()
	u.c.apply(t, u.c.etcd(t, "restore", "--print-rbac", u.target()).exits(0).stdout)
}

// lacksRight takes one right away: it is named before anything is made.
func (u *user) lacksRight(t testing.TB, as, snapshot string) {
	t.Helper()
	rules := u.kubectl(t, "get", "role", "kubectl-etcd-restore", "-o", `go-template={{range .rules}}{{index .resources 0}} {{end}}`)
	at := -1
	for i, name := range regexp.MustCompile(`\S+`).FindAllString(rules, -1) {
		if name == "leases" {
			at = i
		}
	}
	u.kubectl(t, "patch", "role", "kubectl-etcd-restore", "--type=json", "-p", fmt.Sprintf(`[{"op":"remove","path":"/rules/%d"}]`, at))
	u.c.etcd(t, "restore", u.target(), "--from", snapshot, "--yes", as).
		fails(1, fmt.Sprintf(`forbidden in namespace %q: create leases\.coordination\.k8s\.io, .*`, u.Namespace), `ask an administrator for the rights that "kubectl etcd restore --print-rbac -n `+u.Namespace+`" prints`)
	u.grantRestore(t)
}
