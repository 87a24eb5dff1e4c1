// Package etcd talks to one etcd endpoint, over gRPC with TLS, through the
// generated stubs: status, members, hashes, alarms and the snapshot stream.
// The stubs rather than the client library, because only they show how many
// bytes of a snapshot remain, and because one connection to one member is meant:
// no balancer may answer for another.
package etcd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/experimental"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// Config says how one endpoint is reached.
type Config struct {
	Endpoint   string // URL: https://127.0.0.1:2379, http://[::1]:2379, unix:///run/etcd.sock
	TLS        *TLS   // required for https
	ServerName string // verified in the server's certificate instead of the endpoint's host
	Username   string // with Password, where etcd's auth is on
	Password   string
	// Dial replaces the network: a port-forward, for instance. Nil dials the endpoint's address.
	Dial func(ctx context.Context, addr string) (net.Conn, error)

	pingTimeout time.Duration // changed by tests only
}

// TLS holds PEM blocks.
type TLS struct{ CA, Cert, Key []byte }

// FileError says that a TLS file cannot be read.
type FileError struct{ Err error }

func (e *FileError) Error() string { return "read TLS file: " + e.Err.Error() }
func (e *FileError) Unwrap() error { return e.Err }

// Hint says where the file's name comes from.
func (e *FileError) Hint() string { return "check the files named by --cacert, --cert and --key" }

// ReadTLS reads the three PEM files; cert and key may be empty together.
func ReadTLS(ca, cert, key string) (*TLS, error) {
	t := &TLS{}
	for _, f := range []struct {
		path string
		into *[]byte
	}{{ca, &t.CA}, {cert, &t.Cert}, {key, &t.Key}} {
		if f.path == "" {
			continue
		}
		b, err := os.ReadFile(f.path)
		if err != nil {
			return nil, &FileError{err}
		}
		*f.into = b
	}
	return t, nil
}

// With is t with what over has instead of its own; either may be nil.
func (t *TLS) With(over *TLS) *TLS {
	out := TLS{}
	if t != nil {
		out = *t
	}
	if over != nil && len(over.CA) > 0 {
		out.CA = over.CA
	}
	if over != nil && len(over.Cert) > 0 {
		out.Cert, out.Key = over.Cert, over.Key
	}
	return &out
}

// Conn is an open connection to one member. It is safe for concurrent use.
type Conn struct {
	endpoint string
	grpc     *grpc.ClientConn
	maint    pb.MaintenanceClient
	kv       pb.KVClient
	cluster  pb.ClusterClient
	token    string
	secure   bool
	dialled  bool // by the network, so that the address can be looked at once more
	addr     string
	doubt    string // what may be wrong when the server hangs up; empty without TLS
}

// window is the gRPC flow-control window: the default of 64 KiB makes a
// snapshot wait for acknowledgements even on loopback.
const window = 4 << 20

const (
	// pingEvery and pingTimeout end calls to a server that hangs, or a link that
	// swallows everything, where no deadline can: a snapshot takes as long as it
	// takes. etcd allows a ping every 5 s.
	pingEvery   = 10 * time.Second
	pingTimeout = 20 * time.Second
	// loginTimeout bounds the only call that Dial makes.
	loginTimeout = 10 * time.Second
)

// ErrCut says that a snapshot began to arrive and the connection broke. A new
// attempt may go through; it starts from zero.
var ErrCut = errors.New("the connection broke")

// Dial prepares the connection; the network is touched only when auth is on,
// and by the first call otherwise.
func Dial(ctx context.Context, cfg Config) (*Conn, error) {
	target, addr, secure, err := parse(cfg.Endpoint)
	if err != nil {
		return nil, err
	}
	creds := insecure.NewCredentials()
	if secure {
		tc, err := cfg.tlsConfig(addr)
		if err != nil {
			return nil, fmt.Errorf("dial %s: %w", cfg.Endpoint, err)
		}
		creds = credentials.NewTLS(tc)
	}
	if cfg.pingTimeout == 0 {
		cfg.pingTimeout = pingTimeout
	}
	opts := []grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingEvery, Timeout: cfg.pingTimeout}),
		grpc.WithInitialWindowSize(window), grpc.WithInitialConnWindowSize(window),
		grpc.WithReadBufferSize(256 << 10), experimental.WithBufferPool(&buffers{}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(1 << 30)),
		grpc.WithNoProxy(),
	}
	if cfg.Dial != nil {
		target = "passthrough:///" + addr
		opts = append(opts, grpc.WithContextDialer(cfg.Dial))
	}
	g, err := grpc.NewClient(target, opts...)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", cfg.Endpoint, err)
	}
	c := &Conn{endpoint: cfg.Endpoint, grpc: g, maint: pb.NewMaintenanceClient(g), kv: pb.NewKVClient(g), cluster: pb.NewClusterClient(g),
		secure: secure, dialled: cfg.Dial == nil && strings.HasPrefix(target, "passthrough:"), addr: addr, doubt: cfg.doubt(secure)}
	if cfg.Username != "" {
		ctx, cancel := context.WithTimeout(ctx, loginTimeout)
		defer cancel()
		r, err := pb.NewAuthClient(g).Authenticate(ctx, &pb.AuthenticateRequest{Name: cfg.Username, Password: cfg.Password})
		if err != nil {
			_ = g.Close()
			return nil, fmt.Errorf("authenticate %s at %s: %w", cfg.Username, cfg.Endpoint, c.plain(err))
		}
		c.token = r.Token
	}
	return c, nil
}

// parse splits an endpoint URL into gRPC's target, the address and whether TLS is on.
func parse(endpoint string) (target, addr string, secure bool, err error) {
	u, err := url.Parse(endpoint)
	if err != nil { // most likely host:port alone, and then the parser's own words help nobody
		u = &url.URL{}
	}
	switch u.Scheme {
	case "http", "https":
		if u.Port() == "" || u.Hostname() == "" {
			return "", "", false, fmt.Errorf("parse endpoint %q: want scheme://host:port", endpoint)
		}
		return "passthrough:///" + u.Host, u.Host, u.Scheme == "https", nil
	case "unix", "unixs":
		return "unix:" + u.Host + u.Path, u.Host + u.Path, u.Scheme == "unixs", nil
	}
	return "", "", false, fmt.Errorf("parse endpoint %q: want https://host:port, http://host:port or unix://path", endpoint)
}

func (cfg Config) tlsConfig(addr string) (*tls.Config, error) {
	tc := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: cfg.ServerName}
	if cfg.TLS == nil {
		return nil, errors.New("no TLS files given for an https endpoint")
	}
	if len(cfg.TLS.CA) > 0 {
		tc.RootCAs = x509.NewCertPool()
		if !tc.RootCAs.AppendCertsFromPEM(cfg.TLS.CA) {
			return nil, errors.New("read CA certificate: no PEM certificate in it")
		}
	}
	if len(cfg.TLS.Cert) > 0 {
		pair, err := tls.X509KeyPair(cfg.TLS.Cert, cfg.TLS.Key)
		if err != nil {
			return nil, fmt.Errorf("read client certificate: %w", err)
		}
		tc.Certificates = []tls.Certificate{pair}
	}
	if tc.ServerName == "" {
		if host, _, err := net.SplitHostPort(addr); err == nil {
			tc.ServerName = host
		}
	}
	return tc, nil
}

// Close ends the connection.
func (c *Conn) Close() error { return c.grpc.Close() }

func (c *Conn) auth(ctx context.Context) context.Context {
	if c.token == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, "token", c.token)
}

// Status asks the member for its status and times one linearizable read
// through it. A member without a leader still answers: Latency is then 0 and
// Errors says what the read met.
func (c *Conn) Status(ctx context.Context) (*Status, error) {
	r, err := c.maint.Status(c.auth(ctx), &pb.StatusRequest{})
	if err != nil {
		return nil, fmt.Errorf("ask status of %s: %w", c.endpoint, c.plain(err))
	}
	s := &Status{
		ClusterID: ID(r.Header.GetClusterId()), MemberID: ID(r.Header.GetMemberId()),
		Version: r.Version, StorageVersion: r.StorageVersion,
		DBSize: r.DbSize, DBSizeInUse: r.DbSizeInUse, DBSizeQuota: r.DbSizeQuota,
		Leader: ID(r.Leader), IsLearner: r.IsLearner, Revision: r.Header.GetRevision(),
		RaftTerm: r.RaftTerm, RaftIndex: r.RaftIndex, RaftAppliedIndex: r.RaftAppliedIndex, Errors: r.Errors,
	}
	if s.IsLearner {
		return s, nil // a learner serves no linearizable reads
	}
	start := time.Now()
	if err := c.read(ctx); err != nil {
		s.Errors = append(s.Errors, "linearizable read: "+c.plain(err).Error())
	} else {
		s.Latency = time.Since(start)
	}
	return s, nil
}

// read is what etcdctl's health check does: a linearizable get of the key
// "health". Permission denied proves a quorum as well as an answer does.
func (c *Conn) read(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(c.auth(ctx), 5*time.Second)
	defer cancel()
	_, err := c.kv.Range(ctx, &pb.RangeRequest{Key: []byte("health"), KeysOnly: true})
	if status.Code(err) == codes.PermissionDenied {
		return nil
	}
	return err
}

// HashKV asks for the hash of all keys up to rev; 0 means the member's current revision.
func (c *Conn) HashKV(ctx context.Context, rev int64) (*HashKV, error) {
	r, err := c.maint.HashKV(c.auth(ctx), &pb.HashKVRequest{Revision: rev})
	if err != nil {
		return nil, fmt.Errorf("ask hash of %s: %w", c.endpoint, c.plain(err))
	}
	h := &HashKV{Hash: r.Hash, Revision: r.HashRevision, CompactRevision: r.CompactRevision}
	if h.Revision == 0 { // before etcd 3.6 the answer does not say it
		if h.Revision = rev; rev == 0 {
			h.Revision = r.Header.GetRevision()
		}
	}
	return h, nil
}

// Members lists the members as this one knows them.
func (c *Conn) Members(ctx context.Context) ([]Member, error) {
	r, err := c.cluster.MemberList(c.auth(ctx), &pb.MemberListRequest{})
	if err != nil {
		return nil, fmt.Errorf("list members at %s: %w", c.endpoint, c.plain(err))
	}
	return members(r.Members), nil
}

// Alarms lists the active alarms of all members.
func (c *Conn) Alarms(ctx context.Context) ([]Alarm, error) {
	r, err := c.maint.Alarm(c.auth(ctx), &pb.AlarmRequest{Action: pb.AlarmRequest_GET})
	if err != nil {
		return nil, fmt.Errorf("list alarms at %s: %w", c.endpoint, c.plain(err))
	}
	var as []Alarm
	for _, a := range r.Alarms {
		as = append(as, Alarm{MemberID: ID(a.MemberID), Type: a.Alarm.String()})
	}
	return as, nil
}

// Count returns how many keys there are, at rev (0: now), through a serializable read.
func (c *Conn) Count(ctx context.Context, rev int64) (keys, revision int64, err error) {
	r, err := c.kv.Range(c.auth(ctx), &pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}, CountOnly: true, Serializable: true, Revision: rev})
	if err != nil {
		return 0, 0, fmt.Errorf("count keys at %s: %w", c.endpoint, c.plain(err))
	}
	return r.Count, r.Header.GetRevision(), nil
}

// IsRetryableHash tells whether a HashKV answer says "not now": the revision
// was compacted meanwhile, or this member has not got there yet.
func IsRetryableHash(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == codes.OutOfRange
}
