package s3

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"strings"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
)

// fail says what was wanted of which object, and what is wrong in one line; the SDK says it in five.
func (s *Store) fail(verb, name string, err error) error {
	if err == nil {
		return nil
	}
	e := &store.Error{What: verb + " " + s.URL(name), Err: err}
	var answer *awshttp.ResponseError
	status := 0
	if errors.As(err, &answer) && answer.Response != nil {
		status = answer.HTTPStatusCode()
	}
	var api smithy.APIError
	if errors.As(err, &api) {
		e.Way, e.Err = s.explain(api, status, answer)
		return e
	}
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var op *smithy.OperationError
	var link *net.OpError
	var lookup *net.DNSError
	switch {
	case errors.As(err, &unknown):
		e.Err, e.Way = unknown, "the service's certificate is of a CA that is not known here; name that CA's file with --s3-ca"
	case errors.As(err, &host):
		e.Err, e.Way = host, "name the endpoint as its certificate does, with --s3-endpoint"
		if !s.o.PathStyle {
			e.Way += "; or put the bucket behind the name with --s3-path-style"
		}
	case strings.Contains(err.Error(), "get credentials") || strings.Contains(err.Error(), "failed to refresh cached credentials"):
		e.Err, e.Way = errors.New("no credentials were found"), s.credentialsHint()
	case errors.As(err, &lookup):
		e.Err, e.Way = lookup, "is the service named right? --s3-endpoint names it, --s3-region the region of its name"
	case errors.As(err, &link):
		e.Err, e.Way = link, "is the service reachable from here, and named right? --s3-endpoint names it"
	case errors.As(err, &op):
		e.Err = last(op)
	}
	return e
}

// last is the innermost cause: the layers above it name the SDK's own parts.
func last(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}

func (s *Store) credentialsHint() string {
	if s.o.OSS {
		return "set ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET, or name a profile with --s3-profile"
	}
	return "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, name a profile with --s3-profile, or give this machine or pod a role"
}

// explain turns the service's word into the field's, with a way out.
func (s *Store) explain(api smithy.APIError, status int, answer *awshttp.ResponseError) (way string, _ error) {
	said := api.ErrorCode()
	if m := api.ErrorMessage(); m != "" && m != said {
		said += ": " + m
	}
	wrap := func(err error) error { return fmt.Errorf("%w (%s)", err, said) }
	switch code := api.ErrorCode(); code {
	case "NoSuchBucket":
		return "there is no bucket " + s.bucket + " there; is it of another region or endpoint? --s3-region, --s3-endpoint", store.NoBucket
	case "NoSuchKey", "NotFound":
		return "", store.NoObject
	case "NoSuchUpload":
		return "", store.NotExist("somebody has ended the upload")
	case "PreconditionFailed", "ConditionalRequestConflict", "FileAlreadyExists":
		if answer != nil && answer.Response.Request != nil && answer.Response.Request.Method == http.MethodGet {
			return "", store.ErrChanged
		}
		return "", store.ErrExists
	case "AccessDenied", "AllAccessDisabled", "Forbidden", "AccountProblem":
		return "the least rights are in docs/storage.md; -v says which credentials were found", wrap(fs.ErrPermission)
	case "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "UnrecognizedClientException":
		return "the credentials are not of this service, or not of this account; -v says which were found", wrap(fs.ErrPermission)
	case "ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired":
		return "the credentials have ended; renew them and try again", wrap(fs.ErrPermission)
	case "RequestTimeTooSkewed":
		return "set this machine's clock", fmt.Errorf("the clocks differ: it is %s here, and %s there", time.Now().UTC().Format(time.RFC3339), thereTime(answer))
	case "AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraintException", "TemporaryRedirect", "MovedPermanently":
		way = "name the bucket's own region with --s3-region"
		if region := bucketRegion(answer); region != "" {
			way = "the bucket is of another region: --s3-region " + region
		}
		return way, errors.New(said)
	case "InvalidBucketName":
		return "", errors.New(said)
	case "NotImplemented":
		return "", fmt.Errorf("the service does not know what was asked (%s; %w)", said, errors.ErrUnsupported)
	}
	switch status {
	case http.StatusNotFound:
		return "", store.NoObject
	case http.StatusForbidden:
		return "the least rights are in docs/storage.md; -v says which credentials were found", wrap(fs.ErrPermission)
	case http.StatusMovedPermanently, http.StatusBadRequest:
		if region := bucketRegion(answer); region != "" {
			return "the bucket is of another region: --s3-region " + region, errors.New(said)
		}
	case http.StatusPreconditionFailed:
		return "", store.ErrChanged
	}
	return "", fmt.Errorf("%s (HTTP status %d)", said, status)
}

func thereTime(answer *awshttp.ResponseError) string {
	if answer != nil {
		if t, err := http.ParseTime(answer.Response.Header.Get("Date")); err == nil {
			return t.UTC().Format(time.RFC3339)
		}
	}
	return "another time"
}

func bucketRegion(answer *awshttp.ResponseError) string {
	if answer == nil {
		return ""
	}
	return answer.Response.Header.Get("X-Amz-Bucket-Region")
}

// is tells whether the service has said one of these.
func is(err error, codes ...string) bool {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return false
	}
	for _, c := range codes {
		if api.ErrorCode() == c {
			return true
		}
	}
	return false
}
