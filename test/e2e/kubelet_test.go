//go:build e2e

package e2e

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// testKubeletCut breaks the other leg, between API server and kubelet: to the client that can look like a clean end.
func testKubeletCut(t *testing.T, h *hosted, via string) {
	tr := held(t, h, via, "")
	mend := h.cutKubelet(t)
	eventually(t, 40*time.Second, "the API server has lost the kubelet", func() error {
		if out := h.c.inNode(t, h.c.node(), "ss -Htn state established '( dport = :10250 )'"); out != "" {
			return fmt.Errorf("connected: %s", out)
		}
		return nil
	})
	mend()
	tr.release()
	tr.wait().exits(0).says(`warning: attempt 1 of 3: .*; starting anew`)
	wantFiles(t, tr.dir, "a.db", "a.db.json")
	if err := agree(t.Context(), filepath.Join(tr.dir, "a.db"), "3.6"); err != nil {
		t.Error(err)
	}
}

// cutKubelet resets every connection to the kubelet's port, those that there are at their next packet, until mend.
func (h *hosted) cutKubelet(t testing.TB) (mend func()) {
	t.Helper()
	const rule = " INPUT -p tcp --dport 10250 -j REJECT --reject-with tcp-reset"
	h.c.inNode(t, h.c.node(), "iptables -I"+rule)
	mend = sync.OnceFunc(func() { h.c.inNode(t, h.c.node(), "iptables -D"+rule) })
	t.Cleanup(mend)
	return mend
}
