package s3

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // see md5Of
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
)

const (
	// least is a part's size, in bytes, where nothing asks for more; S3 itself wants 5 MiB.
	least = 8 << 20
	// mostParts is less than S3's 10,000, since more may come than was expected. Some services take 1,000 at most, which is kept to for
	// as long as a part needs no more than memory.
	mostParts = 9_000
	fewParts  = 900
	// memory is what the parts under way may take together, in bytes, unless one alone is larger.
	memory = 32 << 20
	// marker is the metadata that tells our own object from another's of the same name.
	marker = "kubectl-etcd-upload"
)

// PartSize is how large parts are, in bytes, so that an object of that size does not need too many.
func PartSize(size int64) int64 {
	need := func(parts int64) int64 {
		bytes := (size + size/10 + parts - 1) / parts
		return max(least, (bytes+(1<<20)-1)>>20<<20)
	}
	if part := need(fewParts); part <= memory {
		return part
	}
	return need(mostParts)
}

// upload is an object that is on its way: in one piece where it is no more than a part, otherwise in parts, of which some are under way
// while the next is filled. Only Commit makes it appear.
type upload struct {
	s       *Store
	ctx     context.Context
	cancel  context.CancelCauseFunc
	name    string
	o       store.CreateOptions
	mark    string
	size    int64 // of a part
	buf     []byte
	written int64
	ended   bool

	checks bool        // the upload was begun with checksums
	id     string      // of the multipart upload; empty until there is one
	free   chan []byte // buffers that no part uses
	flying sync.WaitGroup
	mu     sync.Mutex
	done   []types.CompletedPart
	cut    bool // a part failed; it may still be written
	parts  int32
}

// Create begins an upload; a name that is taken is refused now, and again when it is committed.
func (s *Store) Create(ctx context.Context, name string, o store.CreateOptions) (store.Writer, error) {
	if !o.Replace {
		if err := s.vacant(ctx, name); err != nil {
			return nil, err
		}
	}
	u := &upload{s: s, name: name, o: o, size: PartSize(o.Size), mark: rand.Text()}
	u.ctx, u.cancel = context.WithCancelCause(ctx)
	return u, nil
}

// vacant is an error where something has that name, or where nothing can be written anyway. Reading says more than a look at the head
// would: what is wrong, and whether there is a bucket. Who may write and not read is not told.
func (s *Store) vacant(ctx context.Context, name string) error {
	out, err := s.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &s.bucket, Key: &name, Range: aws.String("bytes=0-0")})
	switch {
	case err == nil:
		return s.fail("create", name, errors.Join(store.ErrExists, out.Body.Close()))
	case is(err, "NoSuchKey", "AccessDenied"):
		return nil
	case is(err, "InvalidRange"): // it has no bytes
		return s.fail("create", name, store.ErrExists)
	}
	return s.fail("create", name, err)
}

func (u *upload) Write(p []byte) (n int, err error) {
	for len(p) > 0 {
		if u.ctx.Err() != nil {
			return n, u.cause()
		}
		if len(u.buf) == int(u.size) { // more comes: so this part is not the last
			if err := u.send(); err != nil {
				return n, err
			}
		}
		if u.buf == nil {
			if err := u.buffer(); err != nil {
				return n, err
			}
		}
		k := min(len(p), int(u.size)-len(u.buf))
		u.buf = append(u.buf, p[:k]...)
		n, p, u.written = n+k, p[k:], u.written+int64(k)
	}
	return n, nil
}

// buffer waits for one that no part uses. The first grows, since most objects are small.
func (u *upload) buffer() error {
	if u.free == nil {
		u.buf = make([]byte, 0, min(u.size, 256<<10))
		return nil
	}
	select {
	case u.buf = <-u.free:
		if u.buf == nil {
			u.buf = make([]byte, 0, u.size)
		}
		return nil
	case <-u.ctx.Done():
		return u.cause()
	}
}

func (u *upload) cause() error { return context.Cause(u.ctx) }

// begin makes a multipart upload of it. Whoever gives up meanwhile waits some seconds for the answer: without the upload's id nobody can
// end it.
func (u *upload) begin() error {
	ctx, cancel := context.WithCancel(context.WithoutCancel(u.ctx))
	defer cancel()
	defer context.AfterFunc(u.ctx, func() { time.AfterFunc(5*time.Second, cancel) })()
	in := &s3.CreateMultipartUploadInput{Bucket: &u.s.bucket, Key: &u.name, Metadata: map[string]string{marker: u.mark}, StorageClass: types.StorageClass(u.s.o.StorageClass)}
	in.ServerSideEncryption, in.SSEKMSKeyId = u.s.encryption()
	if u.s.demanding.Load() {
		in.ChecksumAlgorithm, u.checks = types.ChecksumAlgorithmSha256, true
	}
	out, err := u.s.client.CreateMultipartUpload(ctx, in)
	if demands(err) && !u.s.demanding.Swap(true) {
		return u.begin()
	}
	if err != nil && u.ctx.Err() != nil {
		return u.cause()
	}
	if err != nil {
		return u.s.fail("create", u.name, err)
	}
	u.id = aws.ToString(out.UploadId)
	u.free = make(chan []byte, max(1, memory/u.size))
	for range cap(u.free) {
		u.free <- nil
	}
	return nil
}

func (s *Store) encryption() (types.ServerSideEncryption, *string) {
	switch kind, key, _ := strings.Cut(s.o.SSE, ":"); {
	case kind == "aes256":
		return types.ServerSideEncryptionAes256, nil
	case kind == "kms" && key != "":
		return types.ServerSideEncryptionAwsKms, &key
	case kind == "kms":
		return types.ServerSideEncryptionAwsKms, nil
	}
	return "", nil
}

// demands tells whether a bucket wants checksums, as one does that locks its objects.
func demands(err error) bool {
	return err != nil && is(err, "InvalidRequest", "MissingContentMD5", "InvalidArgument") && strings.Contains(strings.ToLower(err.Error()), "checksum")
}

// send gives the full buffer to a part that goes its own way.
func (u *upload) send() error {
	if u.id == "" {
		if err := u.begin(); err != nil {
			return err
		}
		<-u.free // the first part's own
	}
	u.parts++
	number, data := u.parts, u.buf
	u.buf = nil
	u.flying.Go(func() {
		part, err := u.part(number, data)
		if err != nil {
			u.cancel(err)
			return
		}
		u.mu.Lock()
		u.done = append(u.done, part)
		u.mu.Unlock()
		u.free <- data[:0]
	})
	return nil
}

// part is signed when it is sent, each time. The service compares its MD5, which all of them know; the signature is over the bytes
// themselves only without TLS.
func (u *upload) part(number int32, data []byte) (types.CompletedPart, error) {
	in := &s3.UploadPartInput{Bucket: &u.s.bucket, Key: &u.name, UploadId: &u.id, PartNumber: &number, Body: bytes.NewReader(data), ContentMD5: md5Of(data)}
	demanding := u.s.demanding.Load()
	if demanding {
		in.ChecksumSHA256 = sumOf(data)
	}
	out, err := u.s.client.UploadPart(u.ctx, in)
	if demands(err) && !demanding {
		u.s.demanding.Store(true)
		return u.part(number, data)
	}
	if err != nil {
		u.mu.Lock()
		u.cut = true
		u.mu.Unlock()
		if u.ctx.Err() != nil {
			return types.CompletedPart{}, u.cause()
		}
		return types.CompletedPart{}, u.s.fail(fmt.Sprintf("write part %d of", number), u.name, err)
	}
	done := types.CompletedPart{PartNumber: &number, ETag: out.ETag}
	if u.checks {
		done.ChecksumSHA256 = in.ChecksumSHA256
	}
	return done, nil
}

func md5Of(data []byte) *string {
	sum := md5.Sum(data) //nolint:gosec // against accidents; what a snapshot is, its sha256 says
	return aws.String(base64.StdEncoding.EncodeToString(sum[:]))
}

func sumOf(data []byte) *string {
	sum := sha256.Sum256(data)
	return aws.String(base64.StdEncoding.EncodeToString(sum[:]))
}

// Commit sends what remains, and makes the object appear.
func (u *upload) Commit(ctx context.Context) (store.Info, error) {
	if u.ended {
		return store.Info{}, errors.New("commit: it has ended")
	}
	defer u.Abort()
	if u.ctx.Err() != nil {
		return store.Info{}, u.cause()
	}
	put := u.put
	if u.id != "" {
		if len(u.buf) > 0 {
			if err := u.send(); err != nil {
				return store.Info{}, err
			}
		}
		u.flying.Wait()
		if u.ctx.Err() != nil {
			return store.Info{}, u.cause()
		}
		put = u.complete
	}
	if !u.o.Replace { // where a service knows no condition, this is all that there is
		if err := u.s.vacant(ctx, u.name); err != nil {
			return store.Info{}, err
		}
	}
	if err := u.publish(ctx, put); err != nil {
		return store.Info{}, err
	}
	u.ended = true
	return u.check(ctx)
}

// check compares what is there with what was sent. It is there, whatever became of ctx.
func (u *upload) check(ctx context.Context) (store.Info, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	out, err := u.s.head(ctx, u.name)
	if err = u.s.fail("read", u.name, err); errors.Is(err, fs.ErrPermission) { // who may write and not read
		return store.Info{Name: u.name, Size: u.written}, nil
	}
	if err != nil {
		return store.Info{}, err
	}
	if size := aws.ToInt64(out.ContentLength); size != u.written {
		err := u.s.fail("write", u.name, fmt.Errorf("%d bytes were sent, and it has %d", u.written, size))
		if out.Metadata[marker] == u.mark { // otherwise somebody else's has taken its place
			err = errors.Join(err, u.s.Delete(ctx, u.name))
		}
		return store.Info{}, err
	}
	return info(u.name, out), nil
}

// publish tries with a condition, and without where a service knows none. An answer that was lost can have been a yes: the second try
// finds its own object there.
func (u *upload) publish(ctx context.Context, put func(ctx context.Context, conditional bool) error) error {
	conditional := !u.o.Replace && !u.s.unconditional.Load()
	err := put(ctx, conditional)
	if conditional && is(err, "NotImplemented", "UnsupportedOperation") {
		u.s.unconditional.Store(true)
		err = put(ctx, false)
	}
	if err == nil || u.ours(ctx) {
		return nil
	}
	return u.s.fail("write", u.name, err)
}

// ours tells whether the object that is there now is this upload's.
func (u *upload) ours(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	out, err := u.s.head(ctx, u.name)
	return err == nil && out.Metadata[marker] == u.mark
}

func (u *upload) complete(ctx context.Context, conditional bool) error {
	slices.SortFunc(u.done, func(a, b types.CompletedPart) int { return int(*a.PartNumber - *b.PartNumber) })
	in := &s3.CompleteMultipartUploadInput{Bucket: &u.s.bucket, Key: &u.name, UploadId: &u.id, MultipartUpload: &types.CompletedMultipartUpload{Parts: u.done}}
	if conditional {
		in.IfNoneMatch = aws.String("*")
	}
	_, err := u.s.client.CompleteMultipartUpload(ctx, in, u.s.forbidOverwrite(!u.o.Replace))
	return err
}

func (u *upload) put(ctx context.Context, conditional bool) error {
	in := &s3.PutObjectInput{Bucket: &u.s.bucket, Key: &u.name, Body: bytes.NewReader(u.buf), ContentMD5: md5Of(u.buf), Metadata: map[string]string{marker: u.mark}, StorageClass: types.StorageClass(u.s.o.StorageClass)}
	in.ServerSideEncryption, in.SSEKMSKeyId = u.s.encryption()
	if conditional {
		in.IfNoneMatch = aws.String("*")
	}
	if u.s.demanding.Load() {
		in.ChecksumSHA256 = sumOf(u.buf)
	}
	_, err := u.s.client.PutObject(ctx, in, u.s.forbidOverwrite(!u.o.Replace))
	if demands(err) && !u.s.demanding.Swap(true) {
		return u.put(ctx, conditional)
	}
	return err
}

// Abort ends it; after Commit it does nothing. A part that was cut can still be written there, and outlive the first abort: S3's manual
// wants it repeated.
func (u *upload) Abort() {
	if u.ended {
		return
	}
	u.ended = true
	u.cancel(errors.New("the upload was given up"))
	u.flying.Wait()
	if u.id == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(u.ctx), 30*time.Second)
	defer cancel()
	for _, pause := range []time.Duration{0, 250 * time.Millisecond, time.Second} {
		time.Sleep(pause)
		_ = u.s.Drop(ctx, store.Upload{Name: u.name, ID: u.id}) // what stays is found by prune
		if !u.cut {
			return
		}
	}
}
