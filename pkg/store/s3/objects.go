package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
)

// Open reads an object, with If-Match where a version is wanted.
func (s *Store) Open(ctx context.Context, name string, offset int64, version string) (io.ReadCloser, error) {
	in := &s3.GetObjectInput{Bucket: &s.bucket, Key: &name}
	if offset > 0 {
		in.Range = aws.String(fmt.Sprintf("bytes=%d-", offset))
	}
	if version != "" {
		in.IfMatch = &version
	}
	out, err := s.client.GetObject(ctx, in)
	if err != nil {
		return nil, s.fail("read", name, err)
	}
	if version != "" && aws.ToString(out.ETag) != version { // a service that knows no If-Match
		return nil, s.fail("read", name, errors.Join(store.ErrChanged, out.Body.Close()))
	}
	if offset > 0 && !strings.HasPrefix(aws.ToString(out.ContentRange), fmt.Sprintf("bytes %d-", offset)) {
		return nil, s.fail("read", name, errors.Join(fmt.Errorf("the service answers with bytes other than those from %d on", offset), out.Body.Close()))
	}
	return out.Body, nil
}

// Stat asks for the object's head.
func (s *Store) Stat(ctx context.Context, name string) (store.Info, error) {
	out, err := s.head(ctx, name)
	if err != nil && !is(err, "NotFound") { // the answer to HEAD has no body, which would say why
		body, gerr := s.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &s.bucket, Key: &name, Range: aws.String("bytes=0-0")})
		if gerr != nil {
			err = gerr
		} else {
			_ = body.Body.Close()
		}
	}
	if err != nil {
		return store.Info{}, s.fail("read", name, err)
	}
	return info(name, out), nil
}

func info(name string, out *s3.HeadObjectOutput) store.Info {
	return store.Info{Name: name, Size: aws.ToInt64(out.ContentLength), Changed: aws.ToTime(out.LastModified), Version: aws.ToString(out.ETag)}
}

func (s *Store) head(ctx context.Context, name string) (*s3.HeadObjectOutput, error) {
	return s.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &s.bucket, Key: &name})
}

// List asks for pages of a thousand.
func (s *Store) List(ctx context.Context, prefix string, each func(store.Info) error) error {
	pages := s3.NewListObjectsV2Paginator(s.client, &s3.ListObjectsV2Input{Bucket: &s.bucket, Prefix: &prefix})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return s.fail("list", prefix, err)
		}
		for _, o := range page.Contents {
			name := aws.ToString(o.Key)
			if strings.HasSuffix(name, "/") { // what stands for a folder
				continue
			}
			if err := each(store.Info{Name: name, Size: aws.ToInt64(o.Size), Changed: aws.ToTime(o.LastModified), Version: aws.ToString(o.ETag)}); err != nil {
				return err
			}
		}
	}
	return nil
}

// Delete removes an object; S3 does not say whether there was one.
func (s *Store) Delete(ctx context.Context, name string) error {
	_, err := s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.bucket, Key: &name})
	if err = s.fail("delete", name, err); store.Missing(err) {
		return nil
	}
	return err
}

// Sign makes a pre-signed URL. Credentials that end earlier end it, too.
func (s *Store) Sign(ctx context.Context, name string, expires time.Duration) (string, error) {
	r, err := s3.NewPresignClient(s.client).PresignGetObject(ctx, &s3.GetObjectInput{Bucket: &s.bucket, Key: &name}, s3.WithPresignExpires(expires))
	if err != nil {
		return "", s.fail("sign", name, err)
	}
	return r.URL, nil
}

// Uploads lists multipart uploads that have not ended.
func (s *Store) Uploads(ctx context.Context, prefix string, each func(store.Upload) error) error {
	pages := s3.NewListMultipartUploadsPaginator(s.client, &s3.ListMultipartUploadsInput{Bucket: &s.bucket, Prefix: &prefix})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return s.fail("list uploads of", prefix, err)
		}
		for _, u := range page.Uploads {
			if err := each(store.Upload{Name: aws.ToString(u.Key), ID: aws.ToString(u.UploadId), Begun: aws.ToTime(u.Initiated)}); err != nil {
				return err
			}
		}
	}
	return nil
}

// Drop aborts a multipart upload.
func (s *Store) Drop(ctx context.Context, u store.Upload) error {
	_, err := s.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &s.bucket, Key: &u.Name, UploadId: &u.ID})
	if err = s.fail("abort the upload of", u.Name, err); store.Missing(err) {
		return nil
	}
	return err
}

// forbidOverwrite is OSS's own condition, beside S3's.
func (s *Store) forbidOverwrite(forbid bool) func(*s3.Options) {
	if !s.o.OSS || !forbid {
		return func(*s3.Options) {}
	}
	return s3.WithAPIOptions(smithyhttp.AddHeaderValue("x-oss-forbid-overwrite", "true"))
}
