package etcd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// plain strips gRPC's wrapping: operators read "context deadline exceeded",
// not "rpc error: code = DeadlineExceeded desc = …".
func plain(err error) error {
	if errors.Is(err, ErrCut) {
		return err
	}
	s, ok := status.FromError(err)
	if !ok {
		return err
	}
	switch s.Code() {
	case codes.DeadlineExceeded:
		return context.DeadlineExceeded
	case codes.Canceled:
		return context.Canceled
	}
	return &Error{Code: s.Code(), Message: message(s.Message())}
}

// message is the last of gRPC's nested sentences: connection error: desc = "transport: …".
func message(m string) string {
	for {
		_, inner, found := strings.Cut(m, `desc = "`)
		if !found {
			break
		}
		m = strings.TrimSuffix(inner, `"`)
		if i := strings.LastIndex(m, `", received prior goaway`); i >= 0 {
			m = m[:i]
		}
	}
	for _, p := range []string{"etcdserver: ", "transport: ", "Error while dialing: ", "authentication handshake failed: "} {
		m = strings.TrimPrefix(m, p)
	}
	return m
}

// Error is an answer of etcd, or of the way to it, that is not success.
type Error struct {
	Code    codes.Code
	Message string

	doubted bool // the client's certificate may be why the server hung up; often that is all that is heard
}

func (e *Error) Error() string { return e.Message }

// IsTLS tells whether an error is about certificates: the server's was not
// accepted here, or the client's there, or that may be why the server hung up.
func IsTLS(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == codes.Unavailable && (e.doubted || strings.Contains(e.Message, "tls: ") || strings.Contains(e.Message, "x509: "))
}

// doubt is what may be wrong with the client's certificate where the server hangs up.
func (cfg Config) doubt(secure bool) string {
	switch {
	case !secure:
		return ""
	case len(cfg.TLS.Cert) == 0:
		return " (certificate required?)"
	}
	pair, err := tls.X509KeyPair(cfg.TLS.Cert, cfg.TLS.Key)
	if err == nil && pair.Leaf != nil && !forClients(pair.Leaf) {
		return " (the client certificate is not for clients)"
	}
	return " (client certificate of an unknown certificate authority?)"
}

// forClients says that a server takes this certificate from a client.
func forClients(c *x509.Certificate) bool {
	return len(c.ExtKeyUsage)+len(c.UnknownExtKeyUsage) == 0 ||
		slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageClientAuth) || slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny)
}

// plain is plain for this connection: a server that does not accept the
// client's certificate, or wants one, hangs up, often before its reason is
// read; and what is no port for clients does not speak gRPC.
func (c *Conn) plain(err error) error {
	err = plain(err)
	var e *Error
	if !errors.As(err, &e) || e.Code != codes.Unavailable {
		return err
	}
	switch m := e.Message; {
	case strings.Contains(m, "does not look like a TLS handshake"), c.secure && m == "EOF":
		e.Message += " (does this endpoint speak no TLS?)"
	case strings.Contains(m, "remote error: tls: bad certificate"):
		e.Message += c.doubt
	case strings.Contains(m, "remote error: "): // it says why
	case strings.Contains(m, "server preface") && !c.secure && !strings.Contains(m, "HTTP/1.1 header") && c.speaksTLS():
		e.Message += " (does this endpoint want https?)"
	case strings.Contains(m, "server preface") && !(c.secure && strings.Contains(m, "reset by peer")):
		e.Message += " (is this the port of etcd's metrics, or of its peers?)"
	case strings.Contains(m, "broken pipe"), strings.Contains(m, "reset by peer"), strings.Contains(m, "EOF"):
		e.Message += c.doubt
		e.doubted = c.doubt != ""
	}
	return err
}

// speaksTLS finds out what hung up on a client without TLS. Where it cannot be found out, that is the most likely.
func (c *Conn) speaksTLS() bool {
	if !c.dialled {
		return true
	}
	d := &net.Dialer{Timeout: 2 * time.Second}
	conn, err := tls.DialWithDialer(d, "tcp", c.addr, &tls.Config{InsecureSkipVerify: true}) // nothing is told or believed
	if err == nil {
		_ = conn.Close()
		return true
	}
	return strings.Contains(err.Error(), "remote error: tls: ")
}
