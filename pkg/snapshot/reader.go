package snapshot

import (
	"bufio"
	"bytes"
	"compress/gzip"
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
	// Gzip and Zip are what other tools make of snapshots: they are read, and never written.
	Gzip Compression = "gzip"
	Zip  Compression = "zip"
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
	gzipMagic = []byte{0x1f, 0x8b, 8}
	zipMagic  = []byte("PK\x03\x04")
	// skippableMagic is the first of 16 numbers that begin a frame without content.
	skippableMagic uint32 = 0x184D2A50
)

// ErrCompressed says that a compressed stream is damaged or ends too early.
var ErrCompressed = errors.New("compressed data is damaged or incomplete")

// Open returns a reader of the plain snapshot in a file of that size, whatever way it is stored. Errors of what is compressed
// are ErrCompressed; a zip archive without exactly one snapshot is ErrArchive. Close frees the decoder; it does not close r.
func Open(r io.ReaderAt, size int64) (io.ReadCloser, Compression, error) {
	var head [4]byte
	if n, err := r.ReadAt(head[:], 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, None, fmt.Errorf("read snapshot: %w", err)
	} else if DetectCompression(head[:n]) == Zip {
		plain, err := openZip(r, size)
		return plain, Zip, err
	}
	return Reader(io.NewSectionReader(r, 0, size))
}

// Reader is Open for a stream, which can be anything but a zip archive.
func Reader(r io.Reader) (io.ReadCloser, Compression, error) {
	br := bufio.NewReaderSize(r, 1<<20)
	head, err := br.Peek(len(zstdMagic))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, None, fmt.Errorf("read snapshot: %w", err)
	}
	source := &errorKeeper{r: br, peek: br}
	switch c := DetectCompression(head); c {
	case Zstd:
		dec, err := zstd.NewReader(source, zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true), zstd.WithDecoderConcurrency(2))
		if err != nil {
			return nil, c, fmt.Errorf("open zstd stream: %w", err)
		}
		return &decoder{r: dec, close: dec.Close, source: source}, c, nil
	case Gzip:
		d := &decoder{source: source}
		dec, err := gzip.NewReader(source)
		if err != nil {
			return nil, c, d.explain(err)
		}
		dec.Multistream(false)
		d.r = &members{dec: dec, source: source}
		return d, c, nil
	case Zip:
		return nil, c, fmt.Errorf("%w: it can be read from a file only", ErrArchive)
	}
	return io.NopCloser(br), None, nil
}

// members reads one gzip member after the other. Zeros behind the last are what tapes and block devices fill up with, and no
// damage: gzip itself takes them so.
type members struct {
	dec    *gzip.Reader
	source *errorKeeper
}

func (m *members) Read(p []byte) (int, error) {
	n, err := m.dec.Read(p)
	if err != io.EOF {
		return n, err
	}
	for {
		next, err := m.source.ReadByte()
		if err != nil {
			return n, err // io.EOF: that was all
		}
		if next == 0 {
			continue
		}
		if err := m.source.peek.UnreadByte(); err != nil {
			return n, err
		}
		if err := m.dec.Reset(m.source); err != nil {
			return n, err
		}
		m.dec.Multistream(false)
		return n, nil
	}
}

// DetectCompression tells from the first four bytes of a file how it is stored.
func DetectCompression(head []byte) Compression {
	if len(head) < len(zstdMagic) {
		return None
	}
	switch {
	case bytes.HasPrefix(head, zstdMagic), binary.LittleEndian.Uint32(head)&^0xf == skippableMagic:
		return Zstd
	case bytes.HasPrefix(head, gzipMagic):
		return Gzip
	case bytes.HasPrefix(head, zipMagic):
		return Zip
	}
	return None
}

// errorKeeper remembers an error of the source, so that a failing disk or link is not reported as damaged data.
type errorKeeper struct {
	r    io.Reader
	peek *bufio.Reader // r, where that is one
	err  error
}

// ReadByte lets gzip take no more than its own.
func (k *errorKeeper) ReadByte() (byte, error) {
	b, err := k.peek.ReadByte()
	if err != nil && err != io.EOF {
		k.err = err
	}
	return b, err
}

func (k *errorKeeper) Read(p []byte) (int, error) {
	n, err := k.r.Read(p)
	if err != nil && err != io.EOF {
		k.err = err
	}
	return n, err
}

// decoder tells damage from an error of the source.
type decoder struct {
	r      io.Reader
	close  func() // optional
	source *errorKeeper
}

func (d *decoder) Read(p []byte) (int, error) {
	n, err := d.r.Read(p)
	if err == nil || err == io.EOF {
		return n, err
	}
	// It ends the decoder's goroutines, which write source.err.
	_ = d.Close()
	return n, d.explain(err)
}

func (d *decoder) explain(err error) error {
	if d.source.err != nil {
		return d.source.err
	}
	return fmt.Errorf("%w: %w", ErrCompressed, err)
}

func (d *decoder) Close() error {
	if d.close != nil {
		d.close()
	}
	return nil
}
