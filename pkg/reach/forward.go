package reach

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/streaming/pkg/httpstream"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/program"
)

// forwardable says whether a port-forward can serve this member: it listens on
// its loopback, and what a client needs is in Secrets or not needed at all.
func forwardable(m controlplane.Member, o Options) bool {
	if m.LoopbackPort == 0 {
		return false
	}
	files := needed(m.ClientTLS, o.TLS)
	refs := m.TLSSecretRefs()
	for _, p := range []string{files.CA, files.Cert, files.Key} {
		if _, ok := refs[p]; p != "" && !ok {
			return false
		}
	}
	return true
}

// needed are the files that are read for a client that was given some.
func needed(files controlplane.TLSFiles, given *etcd.TLS) controlplane.TLSFiles {
	if given != nil && len(given.CA) > 0 {
		files.CA = ""
	}
	if given != nil && len(given.Cert) > 0 {
		files.Cert, files.Key = "", ""
	}
	return files
}

// openForward connects gRPC to the loopback of the member's own pod, with the
// certificates that the API server keeps for it. Nothing is created, and no
// port is opened on this machine.
func openForward(ctx context.Context, c *Clients, m controlplane.Member, o Options) (Link, error) {
	if !forwardable(m, o) {
		return nil, notPossible("a port-forward needs an etcd that listens on its loopback and certificates that are in Secrets")
	}
	if err := c.Require(ctx, m.Namespace, Rights(Forward)); err != nil {
		return nil, err
	}
	var failed error
	var tries etcd.Tries
	for _, files := range clientTLS(m) {
		if !tries.Worth(files.CA, files.Cert, files.Key) {
			continue
		}
		l, err := forwardWith(ctx, c, m, files, o)
		if err == nil {
			return l, nil
		}
		if failed == nil {
			failed = err
		}
		var absent *noFileError
		if errors.As(err, &absent) {
			tries.Missing(absent.path)
		} else if !tries.Failed(files.CA, files.Cert, files.Key, err) {
			break
		}
	}
	if ctx.Err() != nil {
		return nil, failed
	}
	if l := forwardAsServers(ctx, c, m, o, failed); l != nil {
		return l, nil
	}
	return nil, &NotPossible{Err: failed}
}

// othersMay tells that an error is about the member's own TLS files, and that there are its API servers' to try.
func othersMay(m controlplane.Member, o Options, err error) bool {
	var tries etcd.Tries
	return err != nil && o.TLS == nil && len(m.APIServerTLS) > 0 && tries.Failed("", "", "", err)
}

// forwardAsServers connects as the member's API servers do, after its own files have failed; nil if that serves no better.
func forwardAsServers(ctx context.Context, c *Clients, m controlplane.Member, o Options, failed error) Link {
	if !othersMay(m, o, failed) {
		return nil
	}
	for _, refs := range m.APIServerTLS {
		l, err := forwardAs(ctx, c, m, refs, o)
		if err == nil {
			o.log("member %s: reached with the TLS files of its API servers (%v)", m.Name, failed)
			return l
		}
		o.log("member %s: not with the TLS files of its API servers: %v", m.Name, err)
	}
	return nil
}

func forwardAs(ctx context.Context, c *Clients, m controlplane.Member, refs controlplane.TLSRefs, o Options) (Link, error) {
	o.TLS = &etcd.TLS{}
	for _, f := range []struct {
		ref  program.FileRef
		into *[]byte
	}{{refs.CA, &o.TLS.CA}, {refs.Cert, &o.TLS.Cert}, {refs.Key, &o.TLS.Key}} {
		if f.ref.Name == "" {
			continue
		}
		b, err := readRef(ctx, c, f.ref)
		if err != nil {
			return nil, err
		}
		if b == nil {
			return nil, fmt.Errorf("%s %s has no key %q", f.ref.Kind, f.ref.Name, f.ref.Key)
		}
		*f.into = b
	}
	return forwardWith(ctx, c, m, m.ClientTLS, o)
}

// forwardWith connects with one set of files and asks once, since dialling
// alone says nothing: a port-forward can be refused anywhere on its way.
func forwardWith(ctx context.Context, c *Clients, m controlplane.Member, files controlplane.TLSFiles, o Options) (Link, error) {
	tls, err := readTLS(ctx, c, m, needed(files, o.TLS))
	if err != nil {
		return nil, err
	}
	secure := !files.Empty() || o.TLS != nil
	tls = tls.With(o.TLS)
	name := o.ServerName
	if name == "" {
		name = m.ServerName
	}
	scheme := "https"
	if !secure {
		scheme = "http"
	}
	d := &forwarder{clients: c, namespace: m.Namespace, pod: m.Pod, port: m.LoopbackPort}
	conn, err := etcd.Dial(ctx, etcd.Config{
		Endpoint: fmt.Sprintf("%s://localhost:%d", scheme, m.LoopbackPort), TLS: tls, ServerName: name,
		Username: o.Username, Password: o.Password, Dial: d.dial,
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	if _, err := conn.Status(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return &connLink{way: Forward, conn: conn}, nil
}

func readTLS(ctx context.Context, c *Clients, m controlplane.Member, files controlplane.TLSFiles) (*etcd.TLS, error) {
	refs := m.TLSSecretRefs()
	t := &etcd.TLS{}
	for _, f := range []struct {
		path string
		into *[]byte
	}{{files.CA, &t.CA}, {files.Cert, &t.Cert}, {files.Key, &t.Key}} {
		if f.path == "" {
			continue
		}
		ref, ok := refs[f.path]
		if !ok {
			return nil, &NotPossible{Err: &noFileError{f.path, "is in no Secret"}}
		}
		b, err := readRef(ctx, c, ref)
		if err != nil {
			return nil, err
		}
		if b == nil {
			return nil, &NotPossible{Err: &noFileError{f.path, fmt.Sprintf("is not in %s %s: it has no key %q", ref.Kind, ref.Name, ref.Key)}}
		}
		*f.into = b
	}
	return t, nil
}

// noFileError says that a file of the member's is not to be had from the API server.
type noFileError struct{ path, why string }

func (e *noFileError) Error() string { return fmt.Sprintf("the file %s %s", e.path, e.why) }

// readRef reads one key; nil where the object has none of that name.
func readRef(ctx context.Context, c *Clients, r program.FileRef) ([]byte, error) {
	var b []byte
	var ok bool
	if r.Kind == "ConfigMap" {
		cm, err := c.Core.ConfigMaps(r.Namespace).Get(ctx, r.Name, metav1.GetOptions{})
		if err != nil {
			return nil, fmt.Errorf("read ConfigMap %s: %w", r.Name, err)
		}
		var s string
		if s, ok = cm.Data[r.Key]; ok {
			b = []byte(s)
		} else {
			b, ok = cm.BinaryData[r.Key]
		}
	} else {
		s, err := c.Core.Secrets(r.Namespace).Get(ctx, r.Name, metav1.GetOptions{})
		if err != nil {
			return nil, fmt.Errorf("read Secret %s: %w", r.Name, err)
		}
		b, ok = s.Data[r.Key]
	}
	if !ok {
		return nil, nil
	}
	return append([]byte{}, b...), nil
}

// forwarder dials streams into one pod. Each dial is a new connection to the
// API server, so that one that broke takes no other with it.
type forwarder struct {
	clients        *Clients
	namespace, pod string
	port           int
	serial         atomic.Int64
}

// PodDialer dials a port of one pod through the API server, whatever address it is asked for.
func PodDialer(c *Clients, namespace, pod string, port int) func(ctx context.Context, network, address string) (net.Conn, error) {
	f := &forwarder{clients: c, namespace: namespace, pod: pod, port: port}
	return func(ctx context.Context, _, address string) (net.Conn, error) { return f.dial(ctx, address) }
}

func (f *forwarder) dial(ctx context.Context, _ string) (net.Conn, error) {
	url := f.clients.Core.RESTClient().Post().Resource("pods").Namespace(f.namespace).Name(f.pod).SubResource("portforward").URL()
	transport, upgrader, err := spdy.RoundTripperFor(f.clients.Config)
	if err != nil {
		return nil, fmt.Errorf("make port-forward: %w", err)
	}
	overSPDY := spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: transport}, http.MethodPost, url)
	overWS, err := portforward.NewSPDYOverWebsocketDialerForStreaming(url, f.clients.Config)
	if err != nil {
		return nil, fmt.Errorf("make port-forward: %w", err)
	}
	dialer := portforward.NewFallbackDialerForStreaming(overWS, overSPDY, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	})
	conn, _, err := dialer.Dial(portforward.PortForwardProtocolV1Name)
	if err != nil {
		return nil, fmt.Errorf("port-forward to pod %s: %w", f.pod, err)
	}
	c, err := f.streams(conn)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	if ctx.Err() != nil {
		_ = c.Close()
		return nil, ctx.Err()
	}
	return c, nil
}

func (f *forwarder) streams(conn httpstream.Connection) (net.Conn, error) {
	h := http.Header{}
	h.Set(corev1.StreamType, corev1.StreamTypeError)
	h.Set(corev1.PortHeader, strconv.Itoa(f.port))
	h.Set(corev1.PortForwardRequestIDHeader, strconv.FormatInt(f.serial.Add(1), 10))
	errs, err := conn.CreateStream(h)
	if err != nil {
		return nil, fmt.Errorf("port-forward to pod %s: %w", f.pod, err)
	}
	_ = errs.Close() // nothing is written to it
	h.Set(corev1.StreamType, corev1.StreamTypeData)
	data, err := conn.CreateStream(h)
	if err != nil {
		return nil, fmt.Errorf("port-forward to pod %s: %w", f.pod, err)
	}
	s := &streamConn{Stream: data, conn: conn, remote: addr(f.pod)}
	go func() { // the far side explains on this stream why it could not connect
		msg, _ := io.ReadAll(io.LimitReader(errs, 4096))
		if len(msg) > 0 {
			s.why.Store(&msg)
			_ = conn.Close()
		}
	}()
	return s, nil
}

// streamConn makes a net.Conn of a forwarded stream. gRPC sets no deadlines on
// it that matter: its own keep-alives and the connection's close end it.
type streamConn struct {
	httpstream.Stream
	conn   httpstream.Connection
	remote addr
	why    atomic.Pointer[[]byte]
}

func (s *streamConn) Read(p []byte) (int, error) {
	n, err := s.Stream.Read(p)
	if err != nil {
		if why := s.why.Load(); why != nil {
			err = errors.New(string(*why))
		}
	}
	return n, err
}

func (s *streamConn) Close() error {
	_ = s.Stream.Reset()
	s.conn.RemoveStreams(s.Stream)
	return s.conn.Close()
}

func (s *streamConn) LocalAddr() net.Addr              { return addr("port-forward") }
func (s *streamConn) RemoteAddr() net.Addr             { return s.remote }
func (s *streamConn) SetDeadline(time.Time) error      { return nil }
func (s *streamConn) SetReadDeadline(time.Time) error  { return nil }
func (s *streamConn) SetWriteDeadline(time.Time) error { return nil }

type addr string

func (a addr) Network() string { return "port-forward" }
func (a addr) String() string  { return string(a) }
