//go:build e2e

package e2e

import (
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestRestoreLongMoved: a member is replaced whose certificate names another address than it has, as after its node got a new
// one. The others refuse it. That is said with the time-out, and when the certificate is another one, the replacement goes on.
func TestRestoreLongMoved(t *testing.T) {
	u := userCluster(t, usersHome(t), userOptions{APIServers: 1})
	w := u.write(t)
	w.writes(t, 20)
	c := certificate("kube-etcd")
	c.DNSNames, c.IPAddresses = []string{"kube-etcd-1.elsewhere"}, []net.IP{net.IPv4(192, 0, 2, 7)}
	moved := u.Certs.ca.issue(t, c, x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth)
	dir := t.TempDir()
	for name, pem := range map[string][]byte{"tls.crt": moved.Cert, "tls.key": moved.Key} {
		if err := os.WriteFile(filepath.Join(dir, name), pem, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	u.kubectl(t, "create", "secret", "generic", "moved", "--from-file="+dir)
	// Of a flag that is there twice etcd takes the second. Only pods that are made from now on have it.
	shows := func(folder, name string) string {
		return `{"op":"add","path":"/spec/template/spec/containers/0/command/-","value":"--peer-cert-file=` + folder + name + `.crt"},` +
			`{"op":"add","path":"/spec/template/spec/containers/0/command/-","value":"--peer-key-file=` + folder + name + `.key"}`
	}
	u.kubectl(t, "patch", "statefulset", "kube-etcd", "--type=json", "-p", `[{"op":"add","path":"/spec/updateStrategy","value":{"type":"OnDelete"}},`+
		`{"op":"add","path":"/spec/template/spec/volumes/-","value":{"name":"moved","secret":{"secretName":"moved"}}},`+
		`{"op":"add","path":"/spec/template/spec/containers/0/volumeMounts/-","value":{"name":"moved","mountPath":"/moved"}},`+shows("/moved/", "tls")+`]`)
	r := u.c.etcd(t, "restore", u.target(), "--member", "1", "--yes", "--timeout", "1m").exits(1)
	t.Logf("%.1f s\n%s", r.took.Seconds(), r.stderr)
	r.says(`error: do step sync/kube-etcd-1: .*x509: certificate is valid for kube-etcd-1\.elsewhere, not kube-etcd-1\.kube-etcd.*no snapshot was sent to it`).
		says(`warning: member kube-etcd-1 does not catch up: .*`).
		says(`hint: the certificate that member kube-etcd-1 shows to the others .*: renew it; operation \S+ is unfinished, and this is down or missing: member kube-etcd-1; ` +
			`finish it with: kubectl etcd restore resume -n ` + u.Namespace + ` \S+, or give it up with: .*`)
	w.writes(t, 20)
	u.kubectl(t, "patch", "statefulset", "kube-etcd", "--type=json", "-p", `[`+shows("/etcd.local.config/certificates/", "etcd")+`]`)
	u.kubectl(t, "delete", "pod", u.pod(1))
	u.c.etcd(t, "restore", "resume", "-n", u.Namespace, "--yes").exits(0).says(`replaced member kube-etcd-1 of .*`)
	w.writes(t, 20)
	w.end()
	w.allThere(t)
	u.c.etcd(t, "status", u.target(), "--hashes").exits(0)
	u.serversAgree(t, time.Minute)
	u.c.nothingLeft(t, u.Namespace)
}
