//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/template"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// hosted is the etcd of a hosted control plane, in its own namespace. Zero fields get defaults.
type hosted struct {
	Namespace string
	Name      string // kube-etcd
	Image     string // of the main cluster's etcd
	Members   int    // 1
	State     string // new
	Node      string // where its pods run: a volume of the test bed's is one node's, and does not say so
	HostCerts string // folder on the node that holds the certificates instead of a Secret
	Certs     certs
	notBefore time.Time
	notAfter  time.Time

	c *cluster
}

func image(tag string) string { return "registry.k8s.io/etcd:" + tag }

// host makes a hosted etcd and waits until it is ready. It goes with the test.
func host(t testing.TB, c *cluster, h hosted) *hosted {
	t.Helper()
	h.c = c
	h.defaults()
	h.Certs = makeCerts(t, h.names(), c.nodeIP(t), h.notBefore, h.notAfter)
	t.Cleanup(func() {
		c.kubectl(t, "delete", "namespace", h.Namespace, "--wait=false", "--ignore-not-found")
	})
	if h.HostCerts != "" {
		for name, content := range map[string][]byte{"etcdCA.crt": h.Certs.CA, "etcd.crt": h.Certs.Cert, "etcd.key": h.Certs.Key} {
			c.writeOnNode(t, c.node(), filepath.Join(h.HostCerts, name), content)
		}
		t.Cleanup(func() { c.inNode(t, c.node(), "rm -rf "+h.HostCerts) })
	}
	h.apply(t)
	h.ready(t)
	return &h
}

func (h *hosted) defaults() {
	if h.Namespace == "" {
		h.Namespace = fmt.Sprintf("e2e-%06x", rand.Uint32()&0xffffff)
	}
	if h.Name == "" {
		h.Name = "kube-etcd"
	}
	if h.Image == "" {
		h.Image = image(mainKind.tag)
	}
	if h.Members == 0 {
		h.Members = 1
	}
	if h.State == "" {
		h.State = "new"
	}
	if h.notBefore.IsZero() {
		h.notBefore = time.Now().Add(-time.Hour)
	}
	if h.notAfter.IsZero() {
		h.notAfter = time.Now().Add(24 * time.Hour)
	}
}

func (h *hosted) names() []string {
	out := []string{"localhost"}
	for i := range 5 {
		out = append(out, fmt.Sprintf("%s.%s", h.pod(i), h.Name), fmt.Sprintf("%s.%s.%s.svc.cluster.local", h.pod(i), h.Name, h.Namespace))
	}
	return out
}

func (h *hosted) pod(i int) string { return fmt.Sprintf("%s-%d", h.Name, i) }

// target is what a user types.
func (h *hosted) target() string { return h.Namespace + "/" + h.Name }

// InitialCluster is for the manifest.
func (h *hosted) InitialCluster() string {
	var out []string
	for i := range h.Members {
		out = append(out, fmt.Sprintf("%s=https://%s.%s:2380", h.pod(i), h.pod(i), h.Name))
	}
	return strings.Join(out, ",")
}

func (h *hosted) apply(t testing.TB) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "hosted.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	tmpl := template.Must(template.New("hosted").Funcs(template.FuncMap{"b64": base64.StdEncoding.EncodeToString}).Parse(string(text)))
	var b bytes.Buffer
	if err := tmpl.Execute(&b, h); err != nil {
		t.Fatal(err)
	}
	h.c.apply(t, b.String())
}

func (h *hosted) kubectl(t testing.TB, args ...string) string {
	t.Helper()
	return h.c.kubectl(t, append([]string{"-n", h.Namespace}, args...)...)
}

// ready waits until all members run and answer.
func (h *hosted) ready(t testing.TB) {
	t.Helper()
	eventually(t, 2*time.Minute, "pods ready", func() error {
		out := h.kubectl(t, "get", "statefulset", h.Name, "-o", "jsonpath={.status.readyReplicas}")
		if out != fmt.Sprint(h.Members) {
			return fmt.Errorf("%s of %d", out, h.Members)
		}
		return nil
	})
}

// etcdctl runs it in a member's container.
func (h *hosted) etcdctl(t testing.TB, member int, args ...string) (string, error) {
	dir := "/etcd.local.config/certificates/"
	return h.c.tryKubectl(t, nil, append([]string{"-n", h.Namespace, "exec", h.pod(member), "-c", h.Name, "--", "etcdctl", "--endpoints=https://127.0.0.1:2379",
		"--cacert=" + dir + "etcdCA.crt", "--cert=" + dir + "etcd.crt", "--key=" + dir + "etcd.key"}, args...)...)
}

func (h *hosted) put(t testing.TB, key, value string) {
	t.Helper()
	eventually(t, 60*time.Second, "write a key", func() error {
		_, err := h.etcdctl(t, 0, "put", key, value)
		return err
	})
}

// endpoint is where a machine outside of the cluster reaches the members.
func (h *hosted) endpoint(t testing.TB) string {
	t.Helper()
	port := h.kubectl(t, "get", "service", h.Name+"-client", "-o", "jsonpath={.spec.ports[0].nodePort}")
	address := net.JoinHostPort(h.c.nodeIP(t), port)
	// The node's rules follow the pod's readiness, later when it is busy.
	eventually(t, time.Minute, "the Service answers", func() error {
		conn, err := net.DialTimeout("tcp", address, 5*time.Second)
		if err != nil {
			return err
		}
		return conn.Close()
	})
	return "https://" + address
}

// fill writes random values, which no compression makes smaller, until the database has about this many bytes.
func (h *hosted) fill(t testing.TB, size int) {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(h.Certs.CA)
	pair, err := tls.X509KeyPair(h.Certs.Cert, h.Certs.Key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := clientv3.New(clientv3.Config{
		Endpoints: []string{h.endpoint(t)}, TLS: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}},
		DialTimeout: 20 * time.Second, Logger: zap.NewNop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	random := rand.NewChaCha8([32]byte{1})
	value := make([]byte, 32<<10)
	for i := 0; i < size; {
		var ops []clientv3.Op
		for range 32 { // 1 MiB, below etcd's limit of 1.5 MiB for a request
			_, _ = random.Read(value)
			ops = append(ops, clientv3.OpPut(fmt.Sprintf("/fill/%09d", i), string(value)))
			i += len(value)
		}
		if _, err := c.Txn(ctx).Then(ops...).Commit(); err != nil {
			t.Fatalf("fill etcd: %v", err)
		}
	}
}

// writeOnNode puts a file on a node.
func (c *cluster) writeOnNode(t testing.TB, node, path string, content []byte) {
	t.Helper()
	_, err := output(testContext(t), content, "docker", "exec", "-i", node, "sh", "-c", fmt.Sprintf("mkdir -p %s && cat > %s", filepath.Dir(path), path))
	if err != nil {
		t.Fatal(err)
	}
}
