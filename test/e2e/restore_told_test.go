//go:build e2e

package e2e

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify/etcdtest"
)

// restoreTold: what will be in the way is known before anything is begun: by the snapshot, by the API servers' files, by who
// owns the StatefulSet.
func restoreTold(t *testing.T, u *user) {
	u.c.nothingLeft(t, u.Namespace) // the pods of the restore before this one are on their way out
	before := u.state(t)
	c := u.etcd(t)
	leases, err := c.Get(t.Context(), "/registry/masterleases/", clientv3.WithPrefix(), clientv3.WithLimit(1))
	if err != nil || len(leases.Kvs) != 1 {
		t.Fatalf("%v: %v", leases, err)
	}
	stranger := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"ES256","kid":"of-another-key"}`)) + ".e30.c2ln"
	u.applies(t, fmt.Sprintf(`
apiVersion: v1
kind: ServiceAccount
metadata: {name: told, namespace: default}
---
apiVersion: v1
kind: Secret
metadata: {name: void, namespace: default, annotations: {kubernetes.io/service-account.name: told}}
type: kubernetes.io/service-account-token
stringData: {token: %s}
---
apiVersion: v1
kind: Secret
metadata: {name: valid, namespace: default, annotations: {kubernetes.io/service-account.name: told}}
type: kubernetes.io/service-account-token
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: closed}
webhooks:
- name: closed.example.com
  clientConfig: {service: {namespace: policy, name: checker}}
  rules: [{apiGroups: [example.com], apiVersions: [v1], resources: [widgets], operations: [CREATE]}]
  sideEffects: None
  admissionReviewVersions: [v1]
`, stranger))
	eventually(t, time.Minute, "a token is made", func() error {
		out, err := u.api(t, "get", "secret", "-n", "default", "valid", "-o", "jsonpath={.data.token}")
		if err == nil && out == "" {
			err = fmt.Errorf("none yet")
		}
		return err
	})
	if _, err := c.Put(t.Context(), "/registry/masterleases/192.0.2.9", string(leases.Kvs[0].Value)); err != nil {
		t.Fatal(err)
	}
	const encrypted = "/registry/example.com/widgets/default/secret" // of a kind that no API server of it serves
	if _, err := c.Put(t.Context(), encrypted, "k8s:enc:aescbc:v1:key1:x"); err != nil {
		t.Fatal(err)
	}
	taken := u.backup(t)
	if _, err := c.Delete(t.Context(), encrypted); err != nil {
		t.Fatal(err)
	}
	// With the images of this control plane, whose API server cannot tell that custom resource.
	u.c.etcd(t, "open", taken.file, "--in=pod", "--target", u.target(), "--", "kubectl", "-n", "default", "get", "secret", "void", "-o", "name").exits(0).prints(`^secret/void$`)
	dry := []string{"restore", u.target(), "--dry-run=client", "--from"}
	r := u.c.etcd(t, append(dry, taken.file)...).exits(0)
	r.says(`warning: 1 tokens of service accounts in the snapshot are signed by a key that no API server has any more \(of-another-key\), .* Secrets default/void; .*`)
	r.says(`warning: in the snapshot, 1 objects \(example\.com/widgets\) are encrypted with key key1 of provider aescbc, which the API servers' configuration .* lacks: .*`)
	r.says(`warning: ValidatingWebhookConfiguration closed refuses .* \(Service policy/checker\): .*kubectl patch validatingwebhookconfiguration closed --type=json .*`)
	r.says(`warning: in the snapshot, 1 addresses of API servers have lost their lease .*: 192\.0\.2\.9; .*`)
	// The command that is named does it.
	command := regexp.MustCompile(`(?m)delete each that is dead: (kubectl exec .*)$`).FindStringSubmatch(r.stderr)
	if command == nil {
		t.Fatalf("no command: %s", r.stderr)
	}
	if out, err := output(testContext(t), nil, "sh", "-c", strings.Replace(command[1], "kubectl ", "kubectl --kubeconfig "+u.c.kubeconfig+" ", 1)); err != nil || out != "1\n" {
		t.Errorf("%q: %v", out, err)
	}

	newer := etcdtest.Start(t, etcdtest.Find(t, "3.7"))
	if _, err := newer.Client.Put(t.Context(), "/registry/a", "b"); err != nil {
		t.Fatal(err)
	}
	newer.Versioned(t)
	u.c.etcd(t, append(dry, newer.Save(t))...).fails(1, `restore .*: the snapshot is of etcd 3\.7, and member kube-etcd-0 runs 3\.6\.\d+, which does not start on newer data`,
		`give StatefulSet kube-etcd an image of etcd 3\.7 first; .*`)

	own := `{"metadata":{"ownerReferences":[{"apiVersion":"operator.etcd.io/v1alpha1","kind":"EtcdCluster","name":"main","uid":"5c6f4a3e-0000-4000-8000-000000000000","controller":true}]}}`
	u.kubectl(t, "patch", "statefulset", "kube-etcd", "--type=merge", "-p", own)
	u.c.etcd(t, append(dry, taken.file)...).fails(1, `restore .*: StatefulSet kube-etcd is owned by EtcdCluster main \(operator\.etcd\.io\), .*`, `.*EtcdRestore.*--operator-stopped`)
	u.c.etcd(t, append(dry, taken.file, "--operator-stopped")...).exits(0).says(`warning: StatefulSet kube-etcd is owned by EtcdCluster main \(operator\.etcd\.io\), .*keep its operator stopped.*`)
	u.kubectl(t, "patch", "statefulset", "kube-etcd", "--type=merge", "-p", `{"metadata":{"ownerReferences":null}}`)
	u.unchanged(t, before)
}

// applies gives objects to the user cluster.
func (u *user) applies(t testing.TB, manifest string) {
	t.Helper()
	if out, err := output(testContext(t), []byte(manifest), "kubectl", "--kubeconfig", u.kubeconfig, "apply", "-f", "-"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}
