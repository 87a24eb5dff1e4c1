package snapshot

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// Compression says how a snapshot file is stored.
type Compression string

const (
	// None is a plain snapshot, as etcd's own tools read it.
	None Compression = ""
	// Zstd is a zstd stream, undone by `zstd -d`.
	Zstd Compression = "zstd"
)

// Extension is what a file name ends in: ".db" or ".db.zst".
func (c Compression) Extension() string {
	if c == Zstd {
		return ".db.zst"
	}
	return ".db"
}

// maxWindow bounds the memory of decompression. It is what `zstd --ultra -22` asks for; what we write needs 8 MiB.
const maxWindow = 128 << 20

var (
	zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}
	// skippableMagic is the first of 16 numbers that begin a frame without content.
	skippableMagic uint32 = 0x184D2A50
)

// ErrCompressed says that a zstd stream is damaged or ends too early.
var ErrCompressed = errors.New("compressed data is damaged or incomplete")

// Reader looks at the first bytes of r and returns a reader of the plain snapshot, whatever way it is stored. Errors
// of the zstd stream are ErrCompressed. Close frees the decoder; it does not close r.
func Reader(r io.Reader) (io.ReadCloser, Compression, error) {
	br := bufio.NewReaderSize(r, 1<<20)
	head, err := br.Peek(len(zstdMagic))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, None, fmt.Errorf("read snapshot: %w", err)
	}
	if DetectCompression(head) == None {
		return io.NopCloser(br), None, nil
	}
	source := &errorKeeper{r: br}
	dec, err := zstd.NewReader(source, zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true), zstd.WithDecoderConcurrency(2))
	if err != nil {
		return nil, Zstd, fmt.Errorf("open zstd stream: %w", err)
	}
	return &zstdReader{dec: dec, source: source}, Zstd, nil
}

// DetectCompression tells from the first four bytes of a file how it is stored.
func DetectCompression(head []byte) Compression {
	if len(head) < len(zstdMagic) {
		return None
	}
	if bytes.HasPrefix(head, zstdMagic) || binary.LittleEndian.Uint32(head)&^0xf == skippableMagic {
		return Zstd
	}
	return None
}

// errorKeeper remembers an error of the source, so that a failing disk or link is not reported as damaged data.
type errorKeeper struct {
	r   io.Reader
	err error
}

func (k *errorKeeper) Read(p []byte) (int, error) {
	n, err := k.r.Read(p)
	if err != nil && err != io.EOF {
		k.err = err
	}
	return n, err
}

type zstdReader struct {
	dec    *zstd.Decoder
	source *errorKeeper
}

func (z *zstdReader) Read(p []byte) (int, error) {
	n, err := z.dec.Read(p)
	if err == nil || err == io.EOF {
		return n, err
	}
	// Close ends the decoder's goroutines, which write source.err.
	z.dec.Close()
	if z.source.err != nil {
		return n, z.source.err
	}
	return n, fmt.Errorf("%w: %w", ErrCompressed, err)
}

func (z *zstdReader) Close() error {
	z.dec.Close()
	return nil
}
