//go:build e2e

package e2e

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"
	bolt "go.etcd.io/bbolt"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/mvcc"
)

const (
	encryptionFile = "/etc/kubernetes/enc/enc.yaml"
	// pkiState is all that must not change on a node.
	pkiState = "find /etc/kubernetes -printf '%p %M %U %G %s %T@ %C@\n' | sort"
)

// encryptSecrets turns on encryption at rest, on all nodes, with a key that is called k1.
func (c *cluster) encryptSecrets(t *testing.T, nodes []string, key []byte) {
	t.Helper()
	config := fmt.Sprintf("apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: [secrets]\n  providers:\n  - aescbc: {keys: [{name: k1, secret: %s}]}\n  - identity: {}\n",
		base64.StdEncoding.EncodeToString(key))
	for _, node := range nodes {
		c.writeOnNode(t, node, encryptionFile, []byte(config))
		c.inNode(t, node, "chmod 600 "+encryptionFile)
		var pod corev1.Pod
		if err := yaml.Unmarshal([]byte(c.inNode(t, node, "cat /etc/kubernetes/manifests/kube-apiserver.yaml")), &pod); err != nil {
			t.Fatal(err)
		}
		api := &pod.Spec.Containers[0]
		api.Command = append(api.Command, "--encryption-provider-config="+encryptionFile)
		api.VolumeMounts = append(api.VolumeMounts, corev1.VolumeMount{Name: "enc", MountPath: filepath.Dir(encryptionFile), ReadOnly: true})
		pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: "enc", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: filepath.Dir(encryptionFile)}}})
		text, err := yaml.Marshal(pod)
		if err != nil {
			t.Fatal(err)
		}
		c.writeOnNode(t, node, "/root/kube-apiserver.yaml", text)
		c.inNode(t, node, "mv /root/kube-apiserver.yaml /etc/kubernetes/manifests/")
	}
	eventually(t, 3*time.Minute, "API servers that encrypt", func() error {
		out, err := c.tryKubectl(t, nil, "-n", "kube-system", "get", "pods", "-l", "component=kube-apiserver",
			"-o", `jsonpath={range .items[*]}{.spec.containers[0].command}{.status.containerStatuses[0].ready}{"\n"}{end}`)
		if n := strings.Count(out, encryptionFile+`"]true`); err != nil || n != len(nodes) {
			return fmt.Errorf("%d of %d, %v: %s", n, len(nodes), err, out)
		}
		return nil
	})
}

// testKeys: an encrypted backup brings back the very keys that decrypt the Secrets in it.
func testKeys(t *testing.T, c *cluster) {
	nodes := c.controlPlane()
	key := bytes.Repeat([]byte{7, 11}, 16)
	c.encryptSecrets(t, nodes, key)
	eventually(t, time.Minute, "a Secret", func() error {
		_, err := c.tryKubectl(t, nil, "create", "secret", "generic", "hidden", "--from-literal=word=what nobody may read")
		if err != nil && !strings.Contains(err.Error(), "already exists") {
			return err
		}
		return nil
	})
	before := map[string]string{}
	for _, node := range nodes {
		before[node] = c.inNode(t, node, pkiState)
	}
	dir := t.TempDir()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	identity := filepath.Join(dir, "key.txt")
	if err := os.WriteFile(identity, []byte(id.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	plain := c.etcd(t, "backup", "--to", filepath.Join(dir, "plain.db")).exits(0).says(`warning: secrets \(aescbc, key k1\) are encrypted at rest, .*--with-keys`)
	c.etcd(t, "keys", "list", filepath.Join(dir, "plain.db")).fails(1, `read .*plain.db: no keys were saved with it`, `take a backup with --with-keys`)
	c.etcd(t, "backup", "--prove", "stream", "--to", filepath.Join(dir, "stream.db")).exits(0).says(`warning: objects \(by --encryption-provider-config of API server kube-apiserver-.*\) are encrypted at rest, .*`)
	c.etcd(t, "backup", "--with-keys").fails(2, `--with-keys needs --encrypt-to or --passphrase-file: .*`, ``)
	c.etcd(t, "backup", "--with-keys", "--encrypt-to", id.Recipient().String(), "--dry-run").exits(0).prints(`keys +node ` + nodes[0] + `: .*/etc/kubernetes/enc, /etc/kubernetes/manifests, /etc/kubernetes/pki, .*`)

	p := start(t, c.kubeconfig, "", "backup", "--with-keys", "--encrypt-to", id.Recipient().String(), "-v")
	p.err.shows(t, time.Minute, "creating utility pod")
	p.signal(syscall.SIGINT)
	p.wait().exits(130)
	c.nothingLeft(t, "kube-system")

	r := c.etcd(t, "backup", "--with-keys", "--encrypt-to", id.Recipient().String(), "--to", dir+"/").exits(0)
	t.Logf("%.1f s without keys, %.1f s with them\n%s", plain.took.Seconds(), r.took.Seconds(), r.stderr)
	if strings.Contains(r.stderr, "warning") {
		t.Errorf("all is there, and there is a warning: %s", r.stderr)
	}
	file := strings.TrimSpace(r.stdout)
	side, err := os.ReadFile(file + ".json")
	if err != nil || bytes.Contains(side, []byte(nodes[0])) {
		t.Errorf("the sidecar names a node: %s, %v", side, err)
	}
	for i := range nodes {
		c.etcd(t, "keys", "list", file).exits(0).prints(fmt.Sprintf(`node %d +/etc/kubernetes/enc/enc.yaml +encryption +aescbc k1`, i+1)).prints(fmt.Sprintf(`node %d +/etc/kubernetes/pki/ca.crt +certificate +CN=kubernetes +20`, i+1)).prints(fmt.Sprintf(`node %d +/etc/kubernetes/manifests/etcd.yaml +manifest +etcd`, i+1))
	}
	keys := filepath.Join(dir, "keys")
	c.etcd(t, "keys", "extract", file, "--to", keys).fails(1, `read .*\.keys\.tar\.age: it is encrypted for age1.*`, `.*--identity`)
	c.etcd(t, "keys", "extract", file, "--to", keys, "--identity", identity).exits(0)
	c.etcd(t, "keys", "extract", file, "--to", keys, "--identity", identity).fails(1, `create folder .*: file already exists`, ``)
	for _, node := range nodes {
		for _, path := range []string{"/etc/kubernetes/pki/ca.key", "/etc/kubernetes/pki/sa.key", "/etc/kubernetes/pki/etcd/peer.key", "/etc/kubernetes/manifests/etcd.yaml"} {
			got, err := os.ReadFile(filepath.Join(keys, "nodes", node, path))
			if err != nil || string(got) != c.inNode(t, node, "cat "+path) {
				t.Errorf("%s of %s: %d bytes, %v", path, node, len(got), err)
			}
		}
		if now := c.inNode(t, node, pkiState); now != before[node] {
			t.Errorf("node %s was changed:\n%s\nbefore:\n%s", node, now, before[node])
		}
	}
	config, err := os.ReadFile(filepath.Join(keys, "nodes", nodes[0], encryptionFile))
	if err != nil || !strings.Contains(string(config), base64.StdEncoding.EncodeToString(key)) {
		t.Fatalf("%s, %v", config, err)
	}
	if word := decrypted(t, file, id, config); !bytes.Contains(word, []byte("what nobody may read")) {
		t.Errorf("the Secret is %q", word)
	}
	// Nor does whoever looks inside have to extract them.
	c.etcd(t, "open", file, "--identity", identity, "--", "kubectl", "-n", "default", "get", "secret", "hidden", "-o", "jsonpath={.data.word}").exits(0).
		says(`decrypting with the EncryptionConfiguration that was saved with the snapshot`).prints(`^` + base64.StdEncoding.EncodeToString([]byte("what nobody may read")) + `$`)
	c.nothingLeft(t, "kube-system")
}

// decrypted is the Secret hidden of a snapshot, read with an extracted EncryptionConfiguration and nothing else.
func decrypted(t *testing.T, file string, id age.Identity, config []byte) []byte {
	t.Helper()
	sealed, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sealed.Close() }()
	packed, err := age.Decrypt(sealed, id)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := zstd.NewReader(packed)
	if err != nil {
		t.Fatal(err)
	}
	var db bytes.Buffer
	if _, err := db.ReadFrom(plain); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "db")
	if err := os.WriteFile(path, db.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Resources []struct {
			Providers []struct {
				AESCBC struct {
					Keys []struct{ Secret []byte }
				}
			}
		}
	}
	if err := yaml.Unmarshal(config, &doc); err != nil {
		t.Fatal(err)
	}
	block, err := aes.NewCipher(doc.Resources[0].Providers[0].AESCBC.Keys[0].Secret)
	if err != nil {
		t.Fatal(err)
	}
	value, ok := bytes.CutPrefix(stored(t, path, "/registry/secrets/default/hidden"), []byte("k8s:enc:aescbc:v1:k1:"))
	if !ok || len(value) < 2*aes.BlockSize {
		t.Fatalf("it is not encrypted: %q", value)
	}
	out := make([]byte, len(value)-aes.BlockSize)
	cipher.NewCBCDecrypter(block, value[:aes.BlockSize]).CryptBlocks(out, value[aes.BlockSize:])
	return out
}

// stored is the value of a key in a database.
func stored(t *testing.T, path, key string) (value []byte) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	err = db.View(func(tx *bolt.Tx) error {
		b := tx.Bucket([]byte("key"))
		if b == nil {
			return errors.New("there is no bucket")
		}
		return b.ForEach(func(k, v []byte) error {
			if _, kv, err := mvcc.DecodeEntry(k, v); err == nil && string(kv.Key) == key {
				value = bytes.Clone(kv.Value)
			}
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return value
}
