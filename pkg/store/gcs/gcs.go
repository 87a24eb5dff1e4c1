// Package gcs keeps objects in a bucket of Google Cloud Storage.
package gcs

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"cloud.google.com/go/auth/credentials"
	"cloud.google.com/go/storage"
	"github.com/googleapis/gax-go/v2"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/iterator"
	"google.golang.org/api/option"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
)

// chunk is how much is sent at once, in bytes, and how much is kept in memory for that.
const chunk = 16 << 20

// marker is the metadata that tells our own object from another's of the same name.
const marker = "kubectl-etcd-upload"

// patience outlasts a service that refuses everybody for a minute.
const patience = 2 * time.Minute

// Store is a bucket.
type Store struct {
	bucket string
	handle *storage.BucketHandle
}

// Open makes ready. Credentials are the application default ones; log, which may be nil, is told their kind.
func Open(ctx context.Context, bucket string, log func(format string, args ...any)) (*Store, error) {
	s := &Store{bucket: bucket}
	options := []option.ClientOption{storage.WithJSONReads()}
	if os.Getenv("STORAGE_EMULATOR_HOST") == "" { // which wants none
		found, err := credentials.DetectDefault(&credentials.DetectOptions{Scopes: []string{storage.ScopeFullControl, "https://www.googleapis.com/auth/cloud-platform"}})
		if err != nil {
			if strings.Contains(err.Error(), "could not find default credentials") {
				err = errors.New("there are none")
			}
			return nil, &store.Error{What: "find credentials for " + s.URL(""), Err: err, Way: "name a key's file with GOOGLE_APPLICATION_CREDENTIALS, sign in with: gcloud auth application-default login, or give this machine or pod a service account"}
		}
		if log != nil {
			log("%s: credentials from %s", s.URL(""), kindOf(found.JSON()))
		}
		options = append(options, option.WithAuthCredentials(found))
	}
	c, err := storage.NewClient(ctx, options...)
	if err != nil {
		return nil, s.fail("open", "", err)
	}
	c.SetRetry(storage.WithPolicy(storage.RetryAlways), storage.WithBackoff(gax.Backoff{Initial: 500 * time.Millisecond, Max: 15 * time.Second, Multiplier: 2}), storage.WithMaxAttempts(9))
	s.handle = c.Bucket(bucket)
	return s, nil
}

// kindOf names what a file of credentials is for; without a file they are the machine's own.
func kindOf(file []byte) string {
	var c struct {
		Type string `json:"type"` // service_account, authorized_user, external_account, …
	}
	if len(file) == 0 || json.Unmarshal(file, &c) != nil {
		return "the machine's metadata service"
	}
	return "a file of the type " + c.Type
}

// URL is gs://BUCKET/NAME.
func (s *Store) URL(name string) string { return "gs://" + s.bucket + "/" + name }

// fail says what was wanted of which object, and what is wrong in one line.
func (s *Store) fail(verb, name string, err error) error {
	if err == nil {
		return nil
	}
	e := &store.Error{What: verb + " " + s.URL(name), Err: err}
	var api *googleapi.Error
	switch {
	case errors.Is(err, storage.ErrBucketNotExist):
		e.Err, e.Way = store.NoBucket, "there is no bucket "+s.bucket
	case errors.Is(err, storage.ErrObjectNotExist):
		e.Err = store.NoObject
	case errors.As(err, &api):
		e.Way, e.Err = explain(api)
	}
	return e
}

func explain(api *googleapi.Error) (way string, _ error) {
	said := api.Message
	if said == "" {
		said = http.StatusText(api.Code)
	}
	switch api.Code {
	case http.StatusNotFound:
		return "", store.NotExist(said)
	case http.StatusPreconditionFailed:
		return "", store.ErrExists
	case http.StatusUnauthorized:
		return "the credentials are not valid, or have ended; renew them and try again", fmt.Errorf("%w (%s)", fs.ErrPermission, said)
	case http.StatusForbidden:
		return "the least rights are in docs/storage.md", fmt.Errorf("%w (%s)", fs.ErrPermission, said)
	}
	return "", fmt.Errorf("%s (HTTP status %d)", said, api.Code)
}

func info(a *storage.ObjectAttrs) store.Info {
	return store.Info{Name: a.Name, Size: a.Size, Changed: a.Updated, Version: strconv.FormatInt(a.Generation, 10)}
}

// Stat asks for the object's attributes.
func (s *Store) Stat(ctx context.Context, name string) (store.Info, error) {
	a, err := s.handle.Object(name).Attrs(ctx)
	if err != nil {
		return store.Info{}, s.fail("read", name, err)
	}
	return info(a), nil
}

// Open reads one generation of an object.
func (s *Store) Open(ctx context.Context, name string, offset int64, version string) (io.ReadCloser, error) {
	o := s.handle.Object(name)
	if version != "" {
		now, err := s.Stat(ctx, name) // a generation that was replaced is gone, or an older version of the object
		if err != nil {
			return nil, err
		}
		if now.Version != version {
			return nil, s.fail("read", name, store.ErrChanged)
		}
		g, err := strconv.ParseInt(version, 10, 64)
		if err != nil {
			return nil, s.fail("read", name, store.ErrChanged)
		}
		o = o.Generation(g)
	}
	r, err := o.NewRangeReader(ctx, offset, -1)
	if err != nil {
		return nil, s.fail("read", name, err)
	}
	return r, nil
}

// List asks for pages of a thousand.
func (s *Store) List(ctx context.Context, prefix string, each func(store.Info) error) error {
	q := &storage.Query{Prefix: prefix, Projection: storage.ProjectionNoACL}
	if err := q.SetAttrSelection([]string{"Name", "Size", "Updated", "Generation"}); err != nil {
		return s.fail("list", prefix, err)
	}
	for it := s.handle.Objects(ctx, q); ; {
		a, err := it.Next()
		if errors.Is(err, iterator.Done) {
			return nil
		}
		if err != nil {
			return s.fail("list", prefix, err)
		}
		if strings.HasSuffix(a.Name, "/") { // what stands for a folder
			continue
		}
		if err := each(info(a)); err != nil {
			return err
		}
	}
}

// Delete removes an object.
func (s *Store) Delete(ctx context.Context, name string) error {
	err := s.handle.Object(name).Delete(ctx)
	if err = s.fail("delete", name, err); store.Missing(err) {
		return nil
	}
	return err
}

// Sign makes a signed URL: with the key of the credentials, or by the service account's own right to sign.
func (s *Store) Sign(_ context.Context, name string, expires time.Duration) (string, error) {
	url, err := s.handle.SignedURL(name, &storage.SignedURLOptions{Method: http.MethodGet, Expires: time.Now().Add(expires), Scheme: storage.SigningSchemeV4})
	return url, s.fail("sign", name, err)
}

// upload is a resumable one. What a killed client leaves of it ends by itself after a week, and is nowhere until then.
type upload struct {
	s       *Store
	name    string
	mark    string
	w       *storage.Writer
	ctx     context.Context
	cancel  context.CancelCauseFunc
	sum     uint32
	written int64
	ended   bool
}

// Create begins an upload; a name that is taken is refused now, and again when it is committed.
func (s *Store) Create(ctx context.Context, name string, o store.CreateOptions) (store.Writer, error) {
	h := s.handle.Object(name)
	if !o.Replace {
		if _, err := s.Stat(ctx, name); err == nil {
			return nil, s.fail("create", name, store.ErrExists)
		} else if !store.Missing(err) && !errors.Is(err, fs.ErrPermission) { // who may write need not read
			return nil, err
		}
		h = h.If(storage.Conditions{DoesNotExist: true})
	}
	u := &upload{s: s, name: name, mark: rand.Text()}
	u.ctx, u.cancel = context.WithCancelCause(ctx)
	u.w = h.NewWriter(u.ctx)
	u.w.ChunkSize, u.w.ChunkRetryDeadline = chunk, patience
	u.w.Metadata = map[string]string{marker: u.mark}
	u.w.ContentType = "application/octet-stream"
	return u, nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (u *upload) Write(p []byte) (int, error) {
	n, err := u.w.Write(p)
	u.written += int64(n)
	u.sum = crc32.Update(u.sum, castagnoli, p[:n])
	return n, u.wrong(err)
}

func (u *upload) wrong(err error) error {
	if err != nil && u.ctx.Err() != nil {
		return context.Cause(u.ctx)
	}
	return u.s.fail("write", u.name, err)
}

// Commit sends the last chunk, with which the object appears, and compares what the service has with what was sent.
func (u *upload) Commit(context.Context) (store.Info, error) {
	if u.ended {
		return store.Info{}, errors.New("commit: it has ended")
	}
	if u.ctx.Err() != nil {
		return store.Info{}, context.Cause(u.ctx)
	}
	if err := u.wrong(u.w.Close()); err != nil {
		defer u.Abort()
		if mine, ok := u.ours(); ok { // only the answer was lost
			u.ended = true
			return mine, nil
		}
		return store.Info{}, err
	}
	u.ended = true
	defer u.cancel(nil)
	a := u.w.Attrs()
	if a.Size != u.written || a.CRC32C != u.sum {
		err := fmt.Errorf("%d bytes with CRC-32C %08x were sent, and it has %d with %08x", u.written, u.sum, a.Size, a.CRC32C)
		return store.Info{}, errors.Join(u.s.fail("write", u.name, err), u.s.handle.Object(u.name).If(storage.Conditions{GenerationMatch: a.Generation}).Delete(u.ctx))
	}
	return info(a), nil
}

// ours tells whether the object that is there now is this upload's.
func (u *upload) ours() (store.Info, bool) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(u.ctx), 30*time.Second)
	defer cancel()
	a, err := u.s.handle.Object(u.name).Attrs(ctx)
	if err != nil || a.Metadata[marker] != u.mark || a.Size != u.written || a.CRC32C != u.sum {
		return store.Info{}, false
	}
	return info(a), true
}

// Abort ends it; after Commit it does nothing.
func (u *upload) Abort() {
	if u.ended {
		return
	}
	u.ended = true
	u.cancel(errors.New("the upload was given up"))
	_ = u.w.Close() // waits for what is under way
}
