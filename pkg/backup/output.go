package backup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"golang.org/x/time/rate"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/seal"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/snapshot"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
)

// output is where the snapshot goes: a file that has no name yet, or a stream.
type output struct {
	file       *store.File // nil for standard output
	parcel     *parcel     // on its way into a store that is no plain file, or encrypted; nil otherwise
	stdout     io.Writer
	planned    string // a dry run's file, which is not made
	compressed bool   // what is stored is a zstd stream
	written    atomic.Int64
	sum        uint32 // CRC-32C of what was written
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// reread compares what is in the file now with what was written to it. The proof
// before that was of what came over the wire.
func (o *output) reread() error {
	h := crc32.New(castagnoli)
	if _, err := io.CopyBuffer(struct{ io.Writer }{h}, io.NewSectionReader(o.kept(), 0, math.MaxInt64), make([]byte, 1<<20)); err != nil {
		return fmt.Errorf("read %s again: %w", o.name(), err)
	}
	if h.Sum32() != o.sum {
		return fmt.Errorf("read %s again: it is not what was written to it", o.name())
	}
	return nil
}

// ErrNoSpace says that the destination cannot hold what is expected.
type ErrNoSpace struct {
	Folder     string
	Need, Have int64 // bytes
}

func (e *ErrNoSpace) Error() string {
	return fmt.Sprintf("folder %s has %s free, the snapshot needs about %s", e.Folder, size(e.Have), size(e.Need))
}

// room is an error where a folder has less, in bytes. Where it does not say, it has.
func room(folder string, need int64) error {
	if free := store.Free(folder); free >= 0 && need > free {
		return &ErrNoSpace{Folder: folder, Need: need, Have: free}
	}
	return nil
}

// kept is a file in which what was stored can be read again; nil where there is none.
func (o *output) kept() *os.File {
	switch {
	case o.file != nil:
		return o.file.File
	case o.parcel != nil && o.parcel.spool != nil:
		return o.parcel.spool.File
	}
	return nil
}

// form says whether a name is one of a compressed snapshot, and refuses one that says something else than the flags.
func form(path string, cfg Config) (compressed bool, err error) {
	base := filepath.Base(path)
	inner, sealed := strings.CutSuffix(base, seal.Extension)
	compressed = strings.HasSuffix(inner, ".zst")
	switch {
	case sealed && !cfg.Encrypt.Any():
		err = fmt.Errorf("the name %s says that it is encrypted, and there is neither --encrypt-to nor --passphrase-file", base)
	case !sealed && cfg.Encrypt.Any():
		err = fmt.Errorf("the name %s does not end in %s, and --encrypt-to or --passphrase-file would make it so", base, seal.Extension)
	case cfg.Compress == CompressNone && compressed:
		err = fmt.Errorf("the name %s says zstd, and --compress=none says not", base)
	case cfg.Compress == CompressZstd && !compressed:
		err = fmt.Errorf("the name %s does not end in .zst%s, and --compress=zstd would make it so", base, base[len(inner):])
	}
	return compressed, err
}

func openOutput(path string, cfg Config, expect int64) (*output, error) {
	named, err := form(path, cfg)
	if err != nil {
		return nil, err
	}
	need := expect
	if named { // unpacked beside itself for its proof; a third is more than Kubernetes' objects compress to
		need = expect / 3
		if cfg.Prove != ProveStream {
			need += expect
		}
	}
	if err := room(filepath.Dir(path), need); err != nil {
		return nil, err
	}
	if err := store.Check(path, cfg.Force); err != nil {
		return nil, err
	}
	if err := sidecarFree(path, cfg.Force); err != nil {
		return nil, err
	}
	if cfg.DryRun {
		return &output{planned: path, compressed: named}, nil
	}
	f, err := store.Create(path, cfg.Force)
	if err != nil {
		return nil, err
	}
	return &output{file: f, compressed: named}, nil
}

// sidecarFree refuses to replace a FILE.json that is there: without force any,
// with it what is not a sidecar at all.
func sidecarFree(path string, force bool) error {
	_, err := snapshot.ReadSidecar(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err == nil && force:
		return nil
	case errors.Is(err, snapshot.ErrInvalidSidecar):
		return fmt.Errorf("create %s: there is a file of that name that is not a snapshot's", snapshot.SidecarPath(path))
	case err == nil:
		return fmt.Errorf("create %s: %w", snapshot.SidecarPath(path), store.ErrExists)
	}
	return err
}

func (o *output) name() string {
	if o.planned != "" {
		return o.planned
	}
	if o.parcel != nil {
		return o.parcel.url
	}
	if o.file == nil {
		return store.Stdout
	}
	return o.file.Path()
}

// sync makes a file durable; what is only kept for a proof need not be.
func (o *output) sync() error {
	if o.file == nil {
		return nil
	}
	return o.file.Sync()
}

func (o *output) abort() {
	if o.parcel != nil {
		o.parcel.abort()
	}
	if o.file != nil {
		o.file.Abort()
	}
}

// rewind makes room for another attempt; a stream that has begun cannot.
func (o *output) rewind() bool {
	if o.file == nil && o.parcel == nil {
		return o.written.Load() == 0
	}
	o.sum = 0
	if o.parcel != nil {
		return o.parcel.rewind()
	}
	_, err := o.file.Seek(0, io.SeekStart)
	return errors.Join(err, o.file.Truncate(0)) == nil
}

func (o *output) Write(p []byte) (int, error) {
	w := o.stdout
	switch {
	case o.parcel != nil:
		w = o.parcel
	case o.file != nil:
		w = o.file
	}
	n, err := w.Write(p)
	o.written.Add(int64(n))
	if o.kept() != nil {
		o.sum = crc32.Update(o.sum, castagnoli, p[:n])
	}
	if err != nil {
		var pe *fs.PathError // names the file, too, and by its other name
		if errors.As(err, &pe) {
			err = pe.Err
		}
		if o.parcel == nil { // which has said so
			err = fmt.Errorf("write %s: %w", o.name(), err)
		}
	}
	return n, err
}

// sink takes what comes over the wire and makes of it what is stored.
type sink struct {
	out    *output
	from   int64 // what earlier attempts wrote
	wire   int64
	moved  atomic.Int64
	stored hash.Hash // of a compressed file; a plain one's is known from the proof
	pipe   *io.PipeWriter
	done   chan error
	pace   func(n int) error // waits as long as --limit-rate wants
	size   int64             // plain bytes written, where this side decompresses; otherwise -1
}

// sink begins an attempt. compressed says what will come.
func (o *output) sink(compressed bool, pace func(n int) error) *sink {
	s := &sink{out: o, from: o.written.Load(), size: -1, pace: pace}
	switch {
	case !compressed:
		s.size = 0
	case o.compressed:
		s.stored = sha256.New()
	default:
		s.decompress()
	}
	return s
}

// decompress runs beside the transfer. The decoder checks zstd's own checksum
// of each frame, so that the plain bytes are as good as the wire's.
func (s *sink) decompress() {
	r, w := io.Pipe()
	s.pipe, s.done = w, make(chan error, 1)
	go func() {
		plain, _, err := snapshot.Reader(r)
		if err == nil {
			s.size, err = io.CopyBuffer(struct{ io.Writer }{s.out}, plain, make([]byte, 1<<20))
			_ = plain.Close()
		}
		r.CloseWithError(err) // a writer that still has bytes learns why
		s.done <- err
	}()
}

func (s *sink) Write(p []byte) (int, error) {
	s.moved.Add(int64(len(p)))
	if err := s.pace(len(p)); err != nil {
		return 0, err
	}
	if s.pipe != nil {
		return s.pipe.Write(p)
	}
	if s.stored != nil {
		s.stored.Write(p)
	} else {
		s.size += int64(len(p))
	}
	return s.out.Write(p)
}

func (s *sink) count() int64 { return s.moved.Load() }

// come is how many plain bytes were written so far, or -1 where they are not known.
func (s *sink) come() int64 {
	if s.stored != nil {
		return -1
	}
	return s.out.written.Load() - s.from
}

// close waits until all is written. failed is the transfer's own error.
func (s *sink) close(failed error) error {
	s.wire = s.moved.Load()
	if s.pipe == nil {
		return nil
	}
	_ = s.pipe.CloseWithError(failed) // nil means end of stream
	return <-s.done
}

// plain is how many plain bytes were written, or -1 where a compressed stream
// was stored as it came.
func (s *sink) plain() int64 { return s.size }

func (s *sink) storedSHA256() string {
	if s.stored == nil {
		return ""
	}
	return hex.EncodeToString(s.stored.Sum(nil))
}

// burst is how much may come at once under a limit: more than any single write.
const burst = 4 << 20

// Pacer returns what makes a transfer wait, told of each piece of n bytes, so that no more than perSecond pass on average; 0
// bounds nothing. A slow sink is safe: the sender is told to wait too.
func Pacer(ctx context.Context, perSecond int64) func(int) error {
	if perSecond <= 0 {
		return func(int) error { return nil }
	}
	l := rate.NewLimiter(rate.Limit(perSecond), burst)
	return func(n int) error {
		for n > 0 {
			k := min(n, burst)
			if err := l.WaitN(ctx, k); err != nil {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				return errors.New("--limit-rate is too low to be done before --timeout")
			}
			n -= k
		}
		return nil
	}
}
