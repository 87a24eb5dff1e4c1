// Package apiserver runs a real API server on an etcd, for one reader on the loopback interface: it can be read only, and asks nobody
// but that etcd.
package apiserver

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/child"
)

const (
	defaultStartTimeout = 2 * time.Minute
	versionTimeout      = 30 * time.Second
	loopback            = "127.0.0.1"
	readers             = "kubectl-etcd:readers"
)

// ErrNoProgram says that there is no kube-apiserver, or none that runs here.
var ErrNoProgram = errors.New("no kube-apiserver")

var versionLine = regexp.MustCompile(`^Kubernetes v(\S+)`)

// Config says what is started.
type Config struct {
	// Program is the path of kube-apiserver, by default the one on the PATH.
	Program string
	// Dir is a folder that only our user can enter: token, key and certificate are there.
	Dir string
	// Endpoint is its etcd's; CA, Cert and Key are files for it, where it has TLS.
	Endpoint, CA, Cert, Key string
	// Prefix is what the keys start with (--etcd-prefix).
	Prefix string
	// EncryptionConfig is the path of an EncryptionConfiguration; empty: there is none.
	EncryptionConfig string
	// StartTimeout bounds the time until it is ready. Default: two minutes.
	StartTimeout time.Duration
	// EtcdEnded is closed when its etcd is gone; nil is never.
	EtcdEnded <-chan struct{}

	port func() (int, error) // freePort, but in tests
}

// Access is how its one reader reaches it.
type Access struct {
	// Port is on the loopback interface of where it runs.
	Port  int    `json:"port"`
	Token string `json:"token"`
	CA    []byte `json:"ca"` // PEM
}

// URL is where it is.
func (a Access) URL() string { return fmt.Sprintf("https://%s:%d", loopback, a.Port) }

// Server is an API server that runs.
type Server struct {
	*child.Process
	Access
	Version string // such as 1.36.3
}

// Find finds the program, by its path or on the PATH, and asks it for its version.
func Find(ctx context.Context, path string) (program, version string, err error) {
	if path == "" {
		path = "kube-apiserver"
	}
	if program, err = exec.LookPath(path); err == nil {
		program, err = filepath.Abs(program)
	}
	if err != nil {
		return "", "", fmt.Errorf("%w: %w", ErrNoProgram, err)
	}
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "--version")
	cmd.WaitDelay = time.Second // whoever holds its output open
	out, err := cmd.Output()
	if err != nil {
		return "", "", fmt.Errorf("%w: %s does not run here: %w", ErrNoProgram, program, err)
	}
	m := versionLine.FindSubmatch(out)
	if m == nil {
		return "", "", fmt.Errorf("%w: %s is something else: it says %.100q", ErrNoProgram, program, out)
	}
	return program, string(m[1]), nil
}

// Start starts it and waits until it is ready. What fails leaves no process.
func Start(ctx context.Context, c Config) (*Server, error) {
	program, version, err := Find(ctx, c.Program)
	if err != nil {
		return nil, err
	}
	f, err := writeFiles(c.Dir)
	if err != nil {
		return nil, err
	}
	if c.port == nil {
		c.port = freePort
	}
	s := &Server{Version: version, Access: Access{Token: f.token, CA: f.ca}}
	for range 3 { // somebody else may take the port before it does
		if err = s.start(ctx, program, c, f); err == nil || s.Process == nil || !strings.Contains(s.LastWords(), "address already in use") {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Server) start(ctx context.Context, program string, c Config, f *files) (err error) {
	if s.Port, err = c.port(); err != nil {
		return err
	}
	cmd := exec.Command(program, f.flags(c, s.Port)...)
	cmd.Dir = f.dir
	cmd.Env = []string{"HOME=" + f.dir, "TMPDIR=" + f.dir}
	if s.Process, err = child.Start(cmd); err != nil {
		return err
	}
	if err = s.waitReady(ctx, c); err != nil {
		s.Stop()
	}
	return err
}

// files are what an API server is given, all in the folder that only our user can enter.
type files struct {
	dir, cert, key, tokens, policy, egress string
	token                                  string
	ca                                     []byte
}

// policy lets the one user that there is read, and nobody write: an API server that obeyed a kubectl delete would seem to be the
// cluster itself. What the API server writes for itself goes to the throw-away data.
const policy = `{"apiVersion":"abac.authorization.kubernetes.io/v1beta1","kind":"Policy","spec":{"group":"` + readers + `","namespace":"*","resource":"*","apiGroup":"*","readonly":true}}
{"apiVersion":"abac.authorization.kubernetes.io/v1beta1","kind":"Policy","spec":{"group":"` + readers + `","nonResourcePath":"*","readonly":true}}
`

// egress leads all that an API server would ask (webhooks, aggregated APIs, kubelets) to a socket that is not there, and is refused at once: the snapshot
// has the addresses of a live cluster.
const egress = `apiVersion: apiserver.k8s.io/v1beta1
kind: EgressSelectorConfiguration
egressSelections:
- name: cluster
  connection: {proxyProtocol: HTTPConnect, transport: {uds: {udsName: /nonexistent/a-snapshot-asks-nobody}}}
- name: controlplane
  connection: {proxyProtocol: HTTPConnect, transport: {uds: {udsName: /nonexistent/a-snapshot-asks-nobody}}}
`

// writeFiles makes a certificate and a token for this one time. Its key signs tokens of accounts, too, which nobody asks for.
func writeFiles(dir string) (*files, error) {
	f := &files{dir: dir}
	secret := make([]byte, 32)
	if _, err := rand.Read(secret); err != nil {
		return nil, fmt.Errorf("make token: %w", err)
	}
	f.token = hex.EncodeToString(secret)
	cert, key, err := certificate()
	if err != nil {
		return nil, fmt.Errorf("make certificate: %w", err)
	}
	f.ca = cert
	for _, w := range []struct {
		path *string
		name string
		data []byte
	}{
		{&f.cert, "apiserver.crt", cert},
		{&f.key, "apiserver.key", key},
		{&f.tokens, "tokens.csv", []byte(f.token + `,reader,reader,"` + readers + `"` + "\n")},
		{&f.policy, "policy.jsonl", []byte(policy)},
		{&f.egress, "egress.yaml", []byte(egress)},
	} {
		*w.path = filepath.Join(dir, w.name)
		if err := os.WriteFile(*w.path, w.data, 0o600); err != nil {
			return nil, fmt.Errorf("write %s: %w", w.name, err)
		}
	}
	return f, nil
}

// flags are an API server's: it reads one etcd and asks nobody else, and nobody but our reader asks it.
func (f *files) flags(c Config, port int) []string {
	args := []string{
		"--etcd-servers=" + c.Endpoint, "--etcd-prefix=" + c.Prefix,
		"--bind-address=" + loopback, "--advertise-address=" + loopback, fmt.Sprintf("--secure-port=%d", port),
		"--tls-cert-file=" + f.cert, "--tls-private-key-file=" + f.key,
		"--token-auth-file=" + f.tokens, "--anonymous-auth=false",
		"--authorization-mode=ABAC", "--authorization-policy-file=" + f.policy,
		"--service-account-issuer=https://kubectl-etcd.invalid", "--service-account-key-file=" + f.key, "--service-account-signing-key-file=" + f.key,
		"--service-cluster-ip-range=10.96.0.0/12",
		"--disable-admission-plugins=MutatingAdmissionWebhook,ValidatingAdmissionWebhook",
		"--egress-selector-config-file=" + f.egress,
		// Each read is of etcd: a kind with an object that cannot be read (it is encrypted) fails at once then, and alone.
		"--watch-cache=false",
		// Nor is the revision that is read compacted away while it is open.
		"--etcd-compaction-interval=0",
		"--endpoint-reconciler-type=none", "--enable-priority-and-fairness=false", "--profiling=false",
	}
	if c.EncryptionConfig != "" {
		args = append(args, "--encryption-provider-config="+c.EncryptionConfig)
	}
	if c.CA != "" {
		args = append(args, "--etcd-cafile="+c.CA, "--etcd-certfile="+c.Cert, "--etcd-keyfile="+c.Key)
	}
	return args
}

// certificate is one of the loopback interface that vouches for itself, and its key, as PEM.
func certificate() (cert, key []byte, err error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	now := time.Now()
	t := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "kubectl-etcd"}, IPAddresses: []net.IP{net.ParseIP(loopback)},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(0, 1, 0), // clocks differ
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true, IsCA: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &k.PublicKey, k)
	if err != nil {
		return nil, nil, err
	}
	private, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private}), nil
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", loopback+":0")
	if err != nil {
		return 0, fmt.Errorf("find free port: %w", err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// waitReady waits until it says that it is ready.
func (s *Server) waitReady(ctx context.Context, c Config) error {
	timeout := c.StartTimeout
	if timeout == 0 {
		timeout = defaultStartTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	client := s.Client()
	for {
		// Its informers are for admission and service accounts. Those of a kind that cannot be read never are in sync.
		_, notReady := client.Get(ctx, "/readyz?exclude=informer-sync")
		if notReady == nil {
			return nil
		}
		select {
		case <-s.Done():
			return errors.New(s.Ended())
		case <-c.EtcdEnded:
			return errors.New("its etcd ended")
		case <-ctx.Done():
			return fmt.Errorf("it was not ready within %s: %w; %s", timeout, notReady, s.LastWords())
		case <-time.After(100 * time.Millisecond):
		}
	}
}
