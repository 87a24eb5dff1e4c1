package keys

import (
	"archive/tar"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/frame"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/snapshot"
)

const encryptionConfig = `apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: [secrets]
  providers:
  - aescbc: {keys: [{name: new, secret: c2VjcmV0IGlzIHNlY3VyZQ==}, {name: old, secret: b2xkIHNlY3JldCBpcyBvbGQ=}]}
  - kms: {apiVersion: v2, name: vault, endpoint: unix:///run/kms.sock}
  - identity: {}
`

func pemOf(t *testing.T, kind string, der []byte, err error) []byte {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// pair is a certificate, its key, and the public half of that.
func pair(t *testing.T, subject string) (cert, private, public []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: subject}, NotAfter: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)}
	c, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	cert = pemOf(t, "CERTIFICATE", c, err)
	k, err := x509.MarshalECPrivateKey(key)
	private = pemOf(t, "EC PRIVATE KEY", k, err)
	p, err := x509.MarshalPKIXPublicKey(key.Public())
	return cert, private, pemOf(t, "PUBLIC KEY", p, err)
}

func TestDescribe(t *testing.T) {
	cert, private, public := pair(t, "kubernetes")
	for want, data := range map[string][]byte{
		"certificate CN=kubernetes": append([]byte("a bag\n"), cert...),
		"private key ":              private,
		"public key ":               public,
		"encryption aescbc new, aescbc old, kms vault": []byte(encryptionConfig),
		"encryption ":   []byte("kind: EncryptionConfig\n"),
		"manifest etcd": []byte("kind: Pod\nmetadata: {name: etcd}\n"),
		"other Config":  []byte("kind: Config\n"),
		"other ":        {0, 1, 2},
	} {
		k := describe(data)
		if got := k.Kind + " " + k.Name; got != want {
			t.Errorf("%q, want %q", got, want)
		}
		if isKey := strings.Contains(k.Kind, " key") || k.Kind == snapshot.KeyCertificate; isKey != (len(k.Fingerprint) == 64) {
			t.Errorf("%s: fingerprint %q", want, k.Fingerprint)
		}
	}
	if describe(private).Fingerprint != describe(public).Fingerprint {
		t.Error("a key and its public half have different fingerprints")
	}
	if e := describe(cert).Expires; e == nil || e.Year() != 2030 {
		t.Errorf("expires %v", e)
	}
}

func collection(t *testing.T) *Collection {
	t.Helper()
	cert, private, _ := pair(t, "cp-1")
	c := &Collection{Missing: []string{"what flags of pod kube-system/kube-apiserver-cp-1 name"}, encryption: map[place]bool{}, unread: map[string]bool{}}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, f := range []struct {
		path string
		mode fs.FileMode
		data []byte
		link string
	}{
		{"/etc/kubernetes/pki", fs.ModeDir | 0o755, nil, ""},
		{"/etc/kubernetes/pki/ca.crt", 0o644, cert, ""},
		{"/etc/kubernetes/pki/ca.key", 0o600, private, ""},
		{"/etc/kubernetes/pki/current", fs.ModeSymlink | 0o777, nil, "ca.crt"},
		{"/etc/kubernetes/pki/member-cp-1.pem", 0o600, cert, ""},
		{"/etc/kubernetes/enc.yaml", 0o640, []byte(encryptionConfig), ""},
		{"/etc/kubernetes/enc", fs.ModeSymlink | 0o777, nil, "enc.yaml"},
		{"/etc/kubernetes/far", fs.ModeSymlink | 0o777, nil, "/etc/kubernetes/enc"},
		{"/etc/kubernetes/lost", fs.ModeSymlink | 0o777, nil, "/opt/enc.yaml"},
	} {
		c.add(entry{frame.File{Path: f.path, Mode: f.mode, UID: 0, GID: 7, Size: int64(len(f.data)), ModTime: at, Link: f.link}, f.data}, place{"cp-1", f.path}, "node 1", "nodes/cp-1"+f.path)
	}
	c.add(entry{frame.File{Path: "token", Mode: 0o600}, []byte("x")}, place{"Secret a/b", "token"}, "Secret a/b", "secrets/a/b/token")
	c.anonymize([]Node{{Name: "cp-1"}})
	return c
}

func packed(t *testing.T, c *Collection) *bytes.Buffer {
	t.Helper()
	var out bytes.Buffer
	if err := c.Write(&out); err != nil {
		t.Fatal(err)
	}
	return &out
}

// TestArchive: what was packed comes out again, readable by its owner only; modes and owners are in the archive.
func TestArchive(t *testing.T) {
	c := collection(t)
	for _, k := range c.Items {
		if strings.Contains(k.Name+k.From+k.Path, "cp-1") {
			t.Errorf("a node's name is told: %+v", k)
		}
	}
	if want := []string{"what flags of pod kube-system/kube-apiserver-node-1 name"}; !slices.Equal(c.Missing, want) {
		t.Errorf("missing %q, want %q", c.Missing, want)
	}
	h, err := tar.NewReader(packed(t, c)).Next()
	if err != nil || h.Mode != 0o755 || h.Gid != 7 || h.Name != "nodes/cp-1/etc/kubernetes/pki/" {
		t.Errorf("%+v, %v", h, err)
	}
	folder := filepath.Join(t.TempDir(), "keys")
	n, err := Extract(packed(t, c), folder+"/", nil)
	if err != nil || n != 5 {
		t.Fatalf("%d files, %v", n, err)
	}
	for path, want := range map[string]fs.FileMode{"": 0o700 | fs.ModeDir, "nodes/cp-1/etc/kubernetes/pki": 0o700 | fs.ModeDir, "nodes/cp-1/etc/kubernetes/pki/ca.crt": 0o600, "nodes/cp-1/etc/kubernetes/enc.yaml": 0o600, "secrets/a/b/token": 0o600} {
		info, err := os.Stat(filepath.Join(folder, path))
		if err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v", path, info, err)
		}
	}
	if data, err := os.ReadFile(filepath.Join(folder, "nodes/cp-1/etc/kubernetes/pki/current")); err != nil || !bytes.HasPrefix(data, []byte("-----BEGIN CERTIFICATE")) {
		t.Errorf("link: %s, %v", data, err)
	}
	if _, err := Extract(packed(t, c), folder, nil); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a folder that is there: %v", err)
	}
	some := filepath.Join(t.TempDir(), "some")
	if n, err := Extract(packed(t, c), some, []string{"encryption"}); err != nil || n != 1 {
		t.Errorf("%d files, %v", n, err)
	}
	if n, err := Extract(packed(t, c), filepath.Join(t.TempDir(), "none"), []string{"manifests"}); err == nil {
		t.Errorf("%d manifests", n)
	}
}

// TestHostileArchive: nothing leads out of the folder, and nothing is left.
func TestHostileArchive(t *testing.T) {
	for name, headers := range map[string][]tar.Header{
		"above":          {{Name: "../above", Typeflag: tar.TypeReg}},
		"absolute":       {{Name: "/tmp/absolute", Typeflag: tar.TypeReg}},
		"through a link": {{Name: "out", Typeflag: tar.TypeSymlink, Linkname: ".."}, {Name: "out/through", Typeflag: tar.TypeReg}},
		"twice":          {{Name: "a", Typeflag: tar.TypeReg}, {Name: "a", Typeflag: tar.TypeReg}},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			w := tar.NewWriter(&out)
			for _, h := range headers {
				if err := w.WriteHeader(&h); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			parent := t.TempDir()
			if _, err := Extract(&out, filepath.Join(parent, "keys"), nil); err == nil {
				t.Error("it was extracted")
			}
			if left, err := os.ReadDir(parent); err != nil || len(left) > 0 {
				t.Errorf("left: %v, %v", left, err)
			}
		})
	}
}

// TestComplete: an EncryptionConfiguration that an API server names and that was not read is an error.
func TestComplete(t *testing.T) {
	s := &Sources{Nodes: []Node{{Name: "cp-1"}}, wanted: map[place]string{{"cp-1", "/etc/kubernetes/enc.yaml"}: "api"}}
	if err := s.complete(collection(t)); err != nil {
		t.Error(err)
	}
	s.wanted[place{"cp-1", "/etc/kubernetes/pki/ca.crt"}] = "api"
	if err := s.complete(collection(t)); err == nil {
		t.Error("a certificate is no EncryptionConfiguration")
	}
	for path, ok := range map[string]bool{"/etc/kubernetes/enc": true, "/etc/kubernetes/far": true, "/etc/kubernetes/lost": false, "/etc/kubernetes/nothing": false} {
		s.wanted = map[place]string{{"cp-1", path}: "api"}
		if err := s.complete(collection(t)); (err == nil) != ok {
			t.Errorf("%s: %v", path, err)
		}
	}
	// One that could not be read is told already, where another one's was.
	s.Nodes = append(s.Nodes, Node{Name: "cp-2"})
	s.wanted = map[place]string{{"cp-2", "/etc/kubernetes/enc.yaml"}: "api"}
	c := collection(t)
	c.unread["cp-2"] = true
	if err := s.complete(c); err == nil {
		t.Error("the only one is on a node that could not be read")
	}
	s.wanted[place{"cp-1", "/etc/kubernetes/enc.yaml"}] = "api"
	if err := s.complete(c); err != nil {
		t.Error(err)
	}
}
