// Package s3 keeps objects in a bucket that speaks S3: of Amazon, Alibaba's OSS, or anybody's.
package s3

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/logging"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
)

// Options are what a URL cannot say.
type Options struct {
	Endpoint     string // of the service, without the bucket; empty: that of the region
	Region       string
	PathStyle    bool
	Profile      string
	StorageClass string
	SSE          string // aes256, kms, or kms:KEY
	CA           []byte // PEM; empty: the system's
	// OSS says that it is Alibaba's: https://BUCKET.ENDPOINT, another header against overwriting, other names of credentials.
	OSS bool
	// idle is how long a connection may move nothing; tests want less.
	idle time.Duration
	// Log is told which kind of credentials was found; never what they are.
	Log func(format string, args ...any)
}

// attempts and the longest pause between them outlast a service that refuses everybody for a minute.
const (
	attempts = 16
	longest  = 15 * time.Second
	patience = 60 * time.Second // for a connection on which nothing moves
)

// Store is a bucket.
type Store struct {
	bucket string
	scheme string
	client *s3.Client
	o      Options
	// demanding is set once a bucket has asked for checksums, as one with object locks does. Others refuse them.
	demanding atomic.Bool
	// reached is set once anything has answered there. What never was there is mostly misnamed: nobody waits for it.
	reached atomic.Bool
	// unconditional is set once a service has said that it knows no If-None-Match.
	unconditional atomic.Bool
}

// Open makes ready; nothing is asked of the service yet.
func Open(ctx context.Context, bucket string, o Options) (*Store, error) {
	s := &Store{bucket: bucket, scheme: "s3", o: o}
	if o.OSS {
		s.scheme = "oss"
	}
	if err := s.o.check(); err != nil {
		return nil, s.fail("open", "", err)
	}
	load := []func(*config.LoadOptions) error{
		config.WithHTTPClient(s.httpClient(cmp.Or(o.idle, patience))),
		config.WithLogger(logging.Nop{}), // what it would say, errors say
		config.WithRetryer(func() aws.Retryer {
			return retry.NewStandard(func(o *retry.StandardOptions) {
				o.MaxAttempts, o.MaxBackoff, o.RateLimiter = attempts, longest, ratelimit.None
				o.Retryables = append([]retry.IsErrorRetryable{retry.IsErrorRetryableFunc(s.unmended)}, o.Retryables...)
			})
		}),
		// Trailers and their header only where they are asked for: many services refuse them.
		config.WithRequestChecksumCalculation(aws.RequestChecksumCalculationWhenRequired),
		config.WithResponseChecksumValidation(aws.ResponseChecksumValidationWhenRequired),
	}
	if len(o.CA) > 0 {
		if !x509.NewCertPool().AppendCertsFromPEM(o.CA) {
			return nil, s.fail("open", "", errors.New("--s3-ca: it holds no certificate in PEM"))
		}
		load = append(load, config.WithCustomCABundle(bytes.NewReader(o.CA)))
	}
	if o.Region != "" {
		load = append(load, config.WithRegion(o.Region))
	}
	if o.Profile != "" {
		load = append(load, config.WithSharedConfigProfile(o.Profile))
	}
	if c := ossCredentials(); o.OSS && o.Profile == "" && c != nil {
		load = append(load, config.WithCredentialsProvider(c))
	}
	cfg, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return nil, s.fail("open", "", err)
	}
	if cfg.Region == "" {
		if o.OSS {
			return nil, &store.Error{What: "open " + s.URL(""), Err: errors.New("its region is not known"), Way: "name it with --s3-region, as in cn-hangzhou"}
		}
		cfg.Region = "us-east-1" // what services take that have none
	}
	endpoint := s.o.endpoint(cfg.Region)
	s.client = s3.NewFromConfig(cfg, func(c *s3.Options) {
		c.UsePathStyle = s.o.PathStyle || !o.OSS && byAddress(endpoint)
		if endpoint != "" {
			c.BaseEndpoint = aws.String(endpoint)
		}
	})
	if o.Log != nil {
		s.tellCredentials(ctx, cfg)
	}
	return s, nil
}

func (o *Options) check() error {
	if kind, _, _ := strings.Cut(o.SSE, ":"); o.SSE != "" && o.SSE != "aes256" && kind != "kms" {
		return fmt.Errorf("unknown encryption --s3-sse=%s; there are: aes256, kms, kms:KEY", o.SSE)
	}
	if o.Endpoint != "" && !strings.Contains(o.Endpoint, "://") {
		o.Endpoint = "https://" + o.Endpoint
	}
	return nil
}

func (o *Options) endpoint(region string) string {
	if o.Endpoint == "" && o.OSS {
		return "https://s3.oss-" + strings.TrimPrefix(region, "oss-") + ".aliyuncs.com"
	}
	return o.Endpoint
}

// unmended are errors of which the SDK believes that waiting mends them.
func (s *Store) unmended(err error) aws.Ternary {
	var certificate *tls.CertificateVerificationError
	var link *net.OpError
	if errors.As(err, &certificate) || errors.As(err, &link) && link.Op == "dial" && !s.reached.Load() {
		return aws.FalseTernary
	}
	return aws.UnknownTernary
}

// byAddress tells an endpoint before which no bucket's name can be put.
func byAddress(endpoint string) bool {
	u, err := url.Parse(endpoint)
	return endpoint != "" && err == nil && (net.ParseIP(u.Hostname()) != nil || u.Hostname() == "localhost")
}

// ossCredentials are what Alibaba's own tools take from the environment; nil where there are none.
func ossCredentials() aws.CredentialsProvider {
	for _, prefix := range []string{"ALIBABA_CLOUD_", "OSS_"} {
		if id, secret := os.Getenv(prefix+"ACCESS_KEY_ID"), os.Getenv(prefix+"ACCESS_KEY_SECRET"); id != "" && secret != "" {
			token := os.Getenv(prefix + "SECURITY_TOKEN")
			if prefix == "OSS_" {
				token = os.Getenv("OSS_SESSION_TOKEN")
			}
			return credentials.NewStaticCredentialsProvider(id, secret, token)
		}
	}
	return nil
}

func (s *Store) tellCredentials(ctx context.Context, cfg aws.Config) {
	c, err := cfg.Credentials.Retrieve(ctx)
	if err != nil {
		s.o.Log("%s: no credentials: %v", s.URL(""), err)
		return
	}
	s.o.Log("%s: credentials from %s", s.URL(""), c.Source)
}

// httpClient gives up connections on which nothing moves; the SDK makes another.
func (s *Store) httpClient(idle time.Duration) *awshttp.BuildableClient {
	dialer := &net.Dialer{Timeout: 20 * time.Second, KeepAlive: 30 * time.Second}
	return awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
		t.MaxIdleConnsPerHost = 32
		t.ForceAttemptHTTP2 = false
		t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			s.reached.Store(true)
			return &moving{c, idle}, nil
		}
	})
}

// moving is a connection of which each read and write has its deadline.
type moving struct {
	net.Conn
	idle time.Duration
}

func (c *moving) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.idle)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

func (c *moving) Write(p []byte) (int, error) {
	// Whoever writes waits for an answer next: that has all of the time again.
	if err := c.SetDeadline(time.Now().Add(c.idle)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// URL is s3://BUCKET/NAME.
func (s *Store) URL(name string) string { return s.scheme + "://" + s.bucket + "/" + name }
