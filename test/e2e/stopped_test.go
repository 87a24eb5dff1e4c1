//go:build e2e

package e2e

import (
	"fmt"
	"syscall"
	"testing"
	"time"
)

// testStopped: a member goes away while its status is watched. What is left is its volume, of which a copy can be made.
func testStopped(t *testing.T, c *cluster) {
	h := host(t, c, hosted{})
	for i := range 3 {
		h.put(t, fmt.Sprintf("/registry/%d", i), "value")
	}
	args := []string{"status", h.target(), "--watch", "--interval", "1s"}
	piped := start(t, c.kubeconfig, "", args...)
	shown, person := startOnTerminal(t, c.kubeconfig, args...)
	const up, down = `^kube-etcd-0 +[0-9a-f]+ +healthy +leader `, `^kube-etcd-0 +\S+ +down .* its pod does not exist\s*$`
	for _, p := range []*proc{piped, shown} {
		p.out.shows(t, time.Minute, up+`(?s:.*)`+up) // again and again
	}
	h.scale(t, 0)
	for _, p := range []*proc{piped, shown} {
		p.out.shows(t, time.Minute, down)
	}
	piped.signal(syscall.SIGINT)
	if _, err := person.WriteString("\x03"); err != nil {
		t.Fatal(err)
	}
	piped.wait().fails(130, "interrupted", "")
	shown.wait().exits(130).prints(`error:\S* interrupted`)
	scripts(t, c, "stopped", map[string]string{"NS": h.Namespace, "TARGET": h.target(), "MINOR": minor(mainKind.tag)})
}
