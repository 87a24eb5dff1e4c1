//go:build e2e

package e2e

import "testing"

// testAuth: etcd's own authentication is on, so that only its user root gets the data.
func testAuth(t *testing.T, c *cluster) {
	h := host(t, c, hosted{})
	h.put(t, "/registry/a", "b")
	for _, args := range [][]string{
		{"user", "add", "reader:correct horse"}, {"user", "add", "root:correct horse"},
		{"role", "add", "root"}, {"user", "grant-role", "root", "root"}, {"auth", "enable"},
	} {
		if _, err := h.etcdctl(t, 0, args...); err != nil {
			t.Fatal(err)
		}
	}
	scripts(t, c, "auth", h.env(t))
}
