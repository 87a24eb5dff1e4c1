//go:build e2e

package e2e

import (
	"strings"
	"testing"
)

// TestHostedVersions backs up hosted control planes of every minor, with and without a shell, by every way.
func TestHostedVersions(t *testing.T) {
	turn(t)
	c := clusters.get(t, mainKind)
	t.Parallel()
	for _, tag := range share(t, 1, []string{"3.5.35-0", "3.6.8-0", "3.7.3-0", "3.5.35-0-sh", "3.6.8-0-sh", "3.7.3-0-sh"}) {
		t.Run(tag, func(t *testing.T) {
			t.Parallel()
			h := host(t, c, hosted{Image: image(tag)})
			h.put(t, "/registry/namespaces/kube-system", "not a real one")
			env := h.env(t)
			if strings.HasSuffix(tag, "-sh") {
				scripts(t, c, "shell", env)
				return // the rest is what it is without a shell
			}
			scripts(t, c, "hosted", env)
		})
	}
}

func (h *hosted) env(t testing.TB) map[string]string {
	tag := strings.TrimPrefix(h.Image, image(""))
	env := map[string]string{"NS": h.Namespace, "TARGET": h.target(), "POD": h.pod(0), "MINOR": minor(tag), "ENDPOINT": h.endpoint(t), "HAS_SHELL": "no"}
	if strings.HasSuffix(tag, "-sh") {
		env["HAS_SHELL"] = "yes"
	}
	return env
}
