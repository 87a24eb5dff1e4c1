//go:build e2e

package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/snapshot"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store/s3"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store/storetest"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify/etcdtest"
)

// bucket is one of a real S3 server.
type bucket struct {
	url, folder, endpoint string
	identity, recipient   string // of age
	other                 string // an identity for which nothing is encrypted
}

func newBucket(t *testing.T) *bucket {
	t.Helper()
	root := t.TempDir()
	b := &bucket{folder: filepath.Join(root, "backups"), endpoint: storetest.S3(t, root), url: "s3://backups/prod/"}
	if err := os.Mkdir(b.folder, 0o700); err != nil {
		t.Fatal(err)
	}
	keys := t.TempDir()
	for _, file := range []*string{&b.other, &b.identity} {
		id, err := age.GenerateX25519Identity()
		if err != nil {
			t.Fatal(err)
		}
		*file = filepath.Join(keys, id.Recipient().String()[:16])
		if err := os.WriteFile(*file, []byte(id.String()+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		b.recipient = id.Recipient().String()
	}
	return b
}

// run is the plugin with this store's service and credentials.
func (b *bucket) run(t *testing.T, kubeconfig string, args ...string) *result {
	t.Helper()
	p := b.prepared(t, kubeconfig, args...)
	p.begin()
	return p.wait()
}

func (b *bucket) prepared(t *testing.T, kubeconfig string, args ...string) *proc {
	t.Helper()
	p := prepared(t, kubeconfig, "", args...)
	p.cmd.Env = append(p.cmd.Env, b.variables()...)
	return p
}

func (b *bucket) variables() []string {
	return []string{"KUBECTL_ETCD_S3_ENDPOINT=" + b.endpoint, "AWS_ACCESS_KEY_ID=" + storetest.AccessKey, "AWS_SECRET_ACCESS_KEY=" + storetest.SecretKey, "AWS_EC2_METADATA_DISABLED=true"}
}

// environment is what documents take for granted.
type environment struct {
	variables []string
	files     map[string]string
}

func (b *bucket) environment(t *testing.T) environment {
	t.Helper()
	key, err := os.ReadFile(b.identity)
	if err != nil {
		t.Fatal(err)
	}
	return environment{b.variables(), map[string]string{"key.txt": string(key), "recipients.txt": b.recipient + "\n"}}
}

// TestStores: the cluster's own etcd goes into a bucket, encrypted, and is proven from there; a hosted control plane is restored from
// the newest one of its own; two clusters in one prefix are told apart. Not beside others: the matrix restarts nodes of that cluster.
func TestStores(t *testing.T) {
	u := userCluster(t, usersHome(t), userOptions{Members: 1, APIServers: 1})
	b := newBucket(t)
	kubeconfig := u.c.kubeconfig

	r := b.run(t, kubeconfig, "backup", "--to", b.url, "--encrypt-to", b.recipient, "-o", "json", "-v").exits(0).says(`s3://backups/: credentials from .*`)
	if strings.Contains(r.stdout+r.stderr, storetest.SecretKey) {
		t.Error("the secret is told")
	}
	var own struct {
		File     string
		Snapshot snapshot.Sidecar
	}
	if err := json.Unmarshal([]byte(r.stdout), &own); err != nil {
		t.Fatal(err)
	}
	w := u.write(t)
	w.writes(t, 20)
	taken := backup{begin: time.Now()}
	theirs := strings.TrimSpace(b.run(t, kubeconfig, "backup", u.target(), "--to", b.url, "--encrypt-to", b.recipient, "--with-keys").exits(0).stdout)
	taken.end = time.Now()
	w.writes(t, 20)

	r = b.run(t, kubeconfig, "backup", "list", b.url, "-o", "jsonpath={range .snapshots[*]}{.snapshot.source.namespace}/{.snapshot.source.name} {.snapshot.proof} {.snapshot.encryption.scheme} {.snapshot.source.node}.{'\\n'}{end}").exits(0)
	if want := u.target() + " full age .\nkube-system/etcd full age .\n"; r.stdout != want {
		t.Errorf("listed: %q, want %q", r.stdout, want)
	}
	b.run(t, kubeconfig, "verify", own.File, "--identity", b.identity).exits(0)
	b.run(t, kubeconfig, "verify", own.File, "--identity", b.other).fails(1, `read s3://.*: it is encrypted for `+b.recipient+`, and no identity named is one of these`, `name the file of another key.*`)
	b.run(t, kubeconfig, "verify", b.url+"latest", "--identity", b.identity).fails(1, `find s3://.*: there are snapshots of 2 control planes: .*`, `name the snapshot.*`)
	b.publicTools(t, own.File, own.Snapshot)

	url := strings.TrimSpace(b.run(t, kubeconfig, "backup", "url", own.File, "--expires", "40m").exits(0).stdout)
	got, err := exec.Command("curl", "-fsS", url).Output() //nolint:gosec // as a user would
	if sum := sha256.Sum256(got); err != nil || hex.EncodeToString(sum[:]) != own.Snapshot.SHA256 {
		t.Errorf("curl: %d bytes, %v", len(got), err)
	}

	r = b.run(t, kubeconfig, "verify", url, "--identity", b.identity).exits(0)
	if strings.Contains(r.stdout+r.stderr, "X-Amz-Signature") {
		t.Error("the address's signature is told")
	}
	// It is looked into from where it is, compressed and encrypted, and by its address.
	for _, from := range []string{own.File, url} {
		b.run(t, kubeconfig, "open", from, "--identity", b.identity, "--", "kubectl", "get", "namespaces", "-o", "name").exits(0).prints(`^namespace/kube-system$`)
	}
	folder := t.TempDir()
	b.run(t, kubeconfig, "backup", "copy", own.File, folder).exits(0)
	b.run(t, kubeconfig, "verify", filepath.Join(folder, own.Snapshot.File), "--identity", b.identity).exits(0)
	b.run(t, kubeconfig, "keys", "list", theirs).exits(0).prints(`Secret ` + u.Namespace + `/kube-apiserver-certs +\S+ +private key`).prints(`Secret ` + u.Namespace + `/kube-controller-manager`)
	b.run(t, kubeconfig, "backup", "copy", theirs, folder).exits(0)
	keys := filepath.Join(folder, "keys")
	b.run(t, kubeconfig, "keys", "extract", filepath.Join(folder, filepath.Base(theirs)), "--identity", b.identity, "--to", keys, "--only", "pki").exits(0)
	if got, err := os.ReadFile(filepath.Join(keys, "secrets", u.Namespace, u.EtcdSecret(), "etcdCA.crt")); err != nil || !bytes.HasPrefix(got, []byte("-----BEGIN CERTIFICATE-----")) {
		t.Errorf("etcd's CA: %.40q, %v", got, err)
	}
	// The plan of a restore by address alone, and of one that has no key.
	address := strings.TrimSpace(b.run(t, kubeconfig, "backup", "url", theirs).exits(0).stdout)
	b.run(t, kubeconfig, "restore", u.target(), "--from", address, "--identity", b.identity, "--dry-run").exits(0)
	b.run(t, kubeconfig, "restore", u.target(), "--from", theirs, "--dry-run").fails(1, `read s3://.*: it is encrypted for .*`, `.*--identity`)

	// One of another cluster whose control plane is called alike, and newer: the live one is asked whose it is.
	alike := b.lookalike(t, theirs)
	begun := time.Now()
	r = b.run(t, kubeconfig, "restore", u.target(), "--from", b.url+"latest", "--identity", b.identity, "--yes", "-v").exits(0)
	t.Logf("%s\n%.1f s in all", r.stderr, r.took.Seconds())
	w.writes(t, 20)
	w.restored(t, taken, w.outage(begun))
	b.run(t, kubeconfig, "backup", "delete", alike, "--yes").exits(0)
	b.resumes(t, u, theirs)

	b.run(t, kubeconfig, "backup", "prune", b.url, "--keep-last", "1", "--yes").exits(0)
	if r := b.run(t, kubeconfig, "backup", "list", b.url, "-o", "name").exits(0); strings.Count(r.stdout, "s3://") != 2 {
		t.Errorf("the newest of each is kept: %s", r.stdout)
	}
	b.run(t, kubeconfig, "backup", "delete", theirs, "--yes").exits(0)
	if r := b.run(t, kubeconfig, "backup", "list", b.url, "-o", "name").exits(0); strings.Count(r.stdout, "s3://") != 1 {
		t.Errorf("one was deleted: %s", r.stdout)
	}
	if left, err := filepath.Glob(filepath.Join(b.folder, "prod", "*", "*.keys.tar.age")); err != nil || len(left) > 0 {
		t.Errorf("keys of what was deleted are left: %q, %v", left, err)
	}
}

// resumes: a restore whose client was killed while it sent the snapshot goes on from the bucket.
func (b *bucket) resumes(t *testing.T, u *user, url string) {
	t.Helper()
	p := b.prepared(t, u.c.kubeconfig, "restore", u.target(), "--from", url, "--identity", b.identity, "--yes", "--limit-rate", "16Ki")
	p.begin()
	p.err.shows(t, 2*time.Minute, "upload the snapshot")
	p.signal(syscall.SIGKILL)
	<-p.done
	b.run(t, u.c.kubeconfig, "restore", "resume", "-n", u.Namespace, "--yes").fails(1, `continue operation .*: .* has not been uploaded to all members yet`, `pass the snapshot again with --from`)
	b.run(t, u.c.kubeconfig, "restore", "resume", "-n", u.Namespace, "--yes", "--from", url, "--identity", b.identity).exits(0).says(`restored .*`)
}

// lookalike puts another cluster's snapshot beside one, called like it, and newer. It returns its URL.
func (b *bucket) lookalike(t *testing.T, url string) string {
	t.Helper()
	_, name, _ := strings.Cut(url, "://backups/")
	data, err := os.ReadFile(filepath.Join(b.folder, name))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(b.folder, name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	side, err := snapshot.DecodeSidecar(name, text)
	if err != nil {
		t.Fatal(err)
	}
	side.Cluster.KubeSystemUID, side.Created, side.Keys = "another", time.Now(), nil
	if text, err = side.Encode(); err != nil {
		t.Fatal(err)
	}
	alike := filepath.Join(filepath.Dir(name), "alike.db.zst.age")
	if err := errors.Join(os.WriteFile(filepath.Join(b.folder, alike), data, 0o600), os.WriteFile(filepath.Join(b.folder, alike+".json"), text, 0o600)); err != nil {
		t.Fatal(err)
	}
	return "s3://backups/" + alike
}

// TestStoresGoogle: the same on gs://.
func TestStoresGoogle(t *testing.T) {
	turn(t)
	t.Parallel()
	c := clusters.get(t, mainKind)
	endpoint := storetest.GCS(t, "backups")
	run := func(args ...string) *result {
		p := prepared(t, c.kubeconfig, "", args...)
		p.cmd.Env = append(p.cmd.Env, "STORAGE_EMULATOR_HOST="+strings.TrimPrefix(endpoint, "http://"))
		p.begin()
		return p.wait()
	}
	name := strings.TrimSpace(run("backup", "--to", "gs://backups/prod/").exits(0).stdout)
	run("backup", "list", "gs://backups/prod/", "-o", "name").exits(0).prints("^" + name + "$")
	run("verify", "gs://backups/prod/latest").exits(0).prints(`proof +full`)
	run("backup", "--to", name, "--compress", "zstd").fails(1, `create gs://.*: file exists`, `.*--force`)
	run("backup", "delete", name, "--yes").exits(0)
	run("verify", name).fails(1, `read gs://.*: no such object`, ``)
	run("backup", "list", "gs://no-such-bucket/").exits(1)
}

// publicTools: what age and zstd make of it is what etcd sent.
func (b *bucket) publicTools(t *testing.T, url string, side snapshot.Sidecar) {
	t.Helper()
	_, name, _ := strings.Cut(url, "://backups/")
	data, err := os.ReadFile(filepath.Join(b.folder, name))
	if err != nil {
		t.Fatal(err)
	}
	keys, err := os.Open(b.identity)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = keys.Close() }()
	ids, err := age.ParseIdentities(keys)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := age.Decrypt(bytes.NewReader(data), ids...)
	if err != nil {
		t.Fatal(err)
	}
	dec, err := zstd.NewReader(plain)
	if err != nil {
		t.Fatal(err)
	}
	defer dec.Close()
	h := sha256.New()
	if n, err := dec.WriteTo(h); err != nil || n != side.Plain.Size || hex.EncodeToString(h.Sum(nil)) != side.Plain.SHA256 {
		t.Errorf("%d bytes of %d: %v", n, side.Plain.Size, err)
	}
}

// TestStoresKilled: a client that is killed while it uploads leaves no object, and what is left of the upload goes with the next prune
// that finds it a day old.
func TestStoresKilled(t *testing.T) {
	b := newBucket(t)
	etcd := etcdtest.StartCluster(t, etcdtest.Config{Binaries: []etcdtest.Binaries{etcdtest.Find(t, "3.6")}, Host: "127.0.0.1"})
	etcd.PutBytes(t, 40<<20)
	backing := func() *proc {
		p := b.prepared(t, "", "backup", "--via=direct", "--endpoint", etcd.Members[0].Endpoint, "--to", b.url, "--compress=none", "--limit-rate=8Mi")
		p.begin()
		return p
	}
	t.Setenv("AWS_ACCESS_KEY_ID", storetest.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", storetest.SecretKey)
	s, err := s3.Open(t.Context(), "backups", s3.Options{Endpoint: b.endpoint, Region: "us-east-1"})
	if err != nil {
		t.Fatal(err)
	}
	left := func() (all []store.Upload) {
		if err := s.Uploads(t.Context(), "", func(u store.Upload) error { all = append(all, u); return nil }); err != nil {
			t.Fatal(err)
		}
		return all
	}
	uploading := func() {
		eventually(t, time.Minute, "an upload", func() error {
			if len(left()) == 0 {
				return fs.ErrNotExist
			}
			return nil
		})
	}
	p := backing()
	uploading()
	p.signal(syscall.SIGINT)
	p.wait().exits(130)
	if names := storetest.Names(t, s, ""); len(names)+len(left()) != 0 {
		t.Errorf("an interrupt leaves: %v, %+v", names, left())
	}
	p = backing()
	uploading()
	p.signal(syscall.SIGKILL)
	p.wait()
	if names := storetest.Names(t, s, ""); len(names) != 0 || len(left()) != 1 {
		t.Errorf("left: %v, %+v", names, left())
	}
	b.run(t, "", "backup", "prune", b.url, "--keep-last=1", "--yes").exits(0)
	if len(left()) != 1 {
		t.Error("one that may be under way was ended")
	}
	foreign, err := s.Create(t.Context(), "prod/app.bin", store.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(foreign.Abort)
	if _, err := foreign.Write(storetest.Bytes(9 << 20)); err != nil {
		t.Fatal(err)
	}
	yesterday := time.Now().Add(-25 * time.Hour)
	if err := filepath.WalkDir(b.folder, func(path string, _ fs.DirEntry, err error) error {
		if err == nil {
			err = os.Chtimes(path, yesterday, yesterday)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	b.run(t, "", "backup", "list", b.url, "-o", "wide").exits(0).prints(`unfinished upload`)
	b.run(t, "", "backup", "prune", b.url, "--keep-last=1", "--yes").exits(0).says(`deleted 0 snapshots, 0 B; ended 1 uploads`)
	if all := left(); len(all) != 1 || all[0].Name != "prod/app.bin" {
		t.Errorf("only what is another's is still there: %+v", all)
	}
}
