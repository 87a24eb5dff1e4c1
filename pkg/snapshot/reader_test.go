package snapshot

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/zstd"
)

func encode(t *testing.T, data []byte) []byte {
	t.Helper()
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()
	return enc.EncodeAll(data, nil)
}

func TestReader(t *testing.T) {
	plain := stream(100_000)
	skippable := append([]byte{0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0}, "abc"...)
	for name, c := range map[string]struct {
		stored, want []byte
		compression  Compression
	}{
		"plain":           {plain, plain, None},
		"zstd":            {encode(t, plain), plain, Zstd},
		"two frames":      {append(encode(t, plain[:5000]), encode(t, plain[5000:])...), plain, Zstd},
		"skippable first": {append(skippable, encode(t, plain)...), plain, Zstd},
		"empty":           {nil, nil, None},
		"three bytes":     {plain[:3], plain[:3], None},
	} {
		r, compression, err := Reader(iotest.OneByteReader(bytes.NewReader(c.stored)))
		if err != nil || compression != c.compression {
			t.Fatalf("%s: %q, %v", name, compression, err)
		}
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, c.want) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		if err := r.Close(); err != nil {
			t.Errorf("%s: close: %v", name, err)
		}
	}
}

func TestReaderErrors(t *testing.T) {
	stored := encode(t, stream(100_000))
	for name, data := range map[string][]byte{
		"cut": stored[:len(stored)/2], "cut at the end": stored[:len(stored)-1], "bytes behind": append(bytes.Clone(stored), "garbage"...),
	} {
		r, _, err := Reader(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(r); !errors.Is(err, ErrCompressed) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	// A failing source is not damaged data.
	broken := errors.New("link is gone")
	r, _, err := Reader(io.MultiReader(bytes.NewReader(stored[:50_000]), iotest.ErrReader(broken)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(r); !errors.Is(err, broken) || errors.Is(err, ErrCompressed) {
		t.Errorf("got %v", err)
	}
	if _, _, err := Reader(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}
