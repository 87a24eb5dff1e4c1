//go:build e2e

package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify/etcdtest"
)

// TestConnect: etcds whose CA has to be looked for, or given, and one behind a socket are asked and backed up by every way
// that can lead to them.
func TestConnect(t *testing.T) {
	turn(t)
	c := clusters.get(t, mainKind)
	t.Parallel()
	ns := fmt.Sprintf("e2e-%06x", rand.Uint32()&0xffffff)
	c.kubectl(t, "create", "namespace", ns)
	t.Cleanup(func() { c.kubectl(t, "delete", "namespace", ns, "--wait=false", "--ignore-not-found") })
	tls := etcdtest.NewTLS(t)
	c.kubectl(t, "-n", ns, "create", "secret", "generic", "server-tls", "--from-file=ca.crt="+tls.CA, "--from-file=tls.crt="+tls.NotClientCert, "--from-file=tls.key="+tls.NotClientKey)
	text, err := os.ReadFile(filepath.Join("testdata", "connect.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	// One whose certificate is of another CA than its clients' are; its API servers have both.
	c.kubectl(t, "-n", ns, "create", "secret", "generic", "bare", "--from-file=tls.crt="+tls.OtherCert, "--from-file=tls.key="+tls.OtherKey, "--from-file=clients-ca.crt="+tls.CA)
	c.kubectl(t, "-n", ns, "create", "secret", "generic", "clients", "--from-file=tls.crt="+tls.Cert, "--from-file=tls.key="+tls.Key)
	c.kubectl(t, "-n", ns, "create", "configmap", "etcd-ca", "--from-file=bundle.crt="+tls.OtherCA)
	_, version := c.workers(t)
	c.apply(t, strings.NewReplacer("NS", ns, "IMAGE", image(mainKind.tag), "KUBERNETES", version).Replace(string(text)))
	c.kubectl(t, "-n", ns, "wait", "pod", "server-tls", "socket", "bare", "--for=condition=Ready", "--timeout=90s")

	c.etcd(t, "status", ns+"/server-tls").exits(0).prints(" healthy ")
	for _, way := range [][]string{{"--via", "forward"}, {"--via", "agent"}, {"--via", "forward", "--cacert", tls.CA}} {
		c.etcd(t, append([]string{"backup", ns + "/server-tls", "--force", "--to", "a.db"}, way...)...).exits(0).prints("a.db").within(time.Minute)
	}
	c.etcd(t, "status", ns+"/server-tls", "--cacert", tls.OtherCA).exits(1).prints("unknown authority")

	c.etcd(t, "status", ns+"/bare").exits(0).prints(" healthy ")
	c.etcd(t, "backup", ns+"/bare", "--force", "--to", "d.db").exits(0).prints("d.db").within(time.Minute)
	c.kubectl(t, "-n", ns, "delete", "secret", "clients")
	c.etcd(t, "status", ns+"/bare").exits(1)

	c.etcd(t, "status", ns+"/socket").exits(0).prints(" healthy ")
	c.etcd(t, "backup", ns+"/socket", "--via", "agent", "--to", "b.db").exits(0).prints("b.db").within(time.Minute)
	c.etcd(t, "backup", ns+"/socket", "--via", "forward", "--to", "c.db").exits(1).says(`error: a port-forward needs an etcd that listens on its loopback.*`)
}
