package backup

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/snapshot"
)

func zst(t *testing.T, plain []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b, zstd.WithEncoderCRC(true))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestSink covers what comes and what is stored: plain as plain, zstd as zstd, and zstd as plain, as the agent sends it.
func TestSink(t *testing.T) {
	t.Parallel()
	plain := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	for _, c := range []struct {
		name               string
		comes              []byte
		compressed, stored bool
		want               []byte
		plain              int64
	}{
		{"plain", plain, false, false, plain, 1 << 20},
		{"zstd kept", zst(t, plain), true, true, zst(t, plain), -1},
		{"zstd undone", zst(t, plain), true, false, plain, 1 << 20},
	} {
		var out bytes.Buffer
		o := &output{stdout: &out, compressed: c.stored}
		s := o.sink(c.compressed, Pacer(t.Context(), 0))
		if _, err := io.Copy(struct{ io.Writer }{s}, bytes.NewReader(c.comes)); err != nil {
			t.Fatal(err)
		}
		if err := s.close(nil); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(out.Bytes(), c.want) || s.plain() != c.plain || s.wire != int64(len(c.comes)) || (s.storedSHA256() != "") != c.stored {
			t.Errorf("%s: %d bytes stored, %d plain, %d on the wire", c.name, out.Len(), s.plain(), s.wire)
		}
		if o.rewind() {
			t.Errorf("%s: a stream that has begun cannot be begun anew", c.name)
		}
	}
}

type fullDisk struct{ err error }

func (f fullDisk) Write([]byte) (int, error) { return 0, f.err }

// A disk that is full ends a transfer that is decompressed on the way, with the disk's own words.
func TestSinkToFullDisk(t *testing.T) {
	t.Parallel()
	full := errors.New("no space")
	done := make(chan error, 1)
	go func() {
		o := &output{stdout: fullDisk{full}}
		s := o.sink(true, Pacer(t.Context(), 0))
		_, err := io.Copy(struct{ io.Writer }{s}, io.MultiReader(bytes.NewReader(zst(t, make([]byte, 8<<20))), bytes.NewReader(make([]byte, 8<<20))))
		if cerr := s.close(err); err == nil {
			err = cerr
		}
		done <- err
	}()
	select {
	case err := <-done:
		if !errors.Is(err, full) {
			t.Errorf("%v", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("the transfer hangs")
	}
}

// A stream that is damaged or ends in its middle is no snapshot, whatever the transfer says.
func TestSinkOfDamagedStream(t *testing.T) {
	t.Parallel()
	z := zst(t, bytes.Repeat([]byte("something that can be compressed "), 1000))
	flipped := bytes.Clone(z)
	flipped[len(flipped)/2] ^= 0x40
	for name, b := range map[string][]byte{"truncated": z[:len(z)-3], "flipped": flipped} {
		o := &output{stdout: io.Discard}
		s := o.sink(true, Pacer(t.Context(), 0))
		_, err := s.Write(b)
		if cerr := s.close(err); err == nil {
			err = cerr
		}
		if !errors.Is(err, snapshot.ErrCompressed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// When the transfer fails, the decompression ends with it.
	broken := errors.New("broken")
	o := &output{stdout: io.Discard}
	s := o.sink(true, Pacer(t.Context(), 0))
	if _, err := s.Write(z[:10]); err != nil {
		t.Fatal(err)
	}
	if err := s.close(broken); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
}

func TestPacer(t *testing.T) {
	t.Parallel()
	// The first burst is free; what is beyond it takes its time, also in one write.
	wait := Pacer(t.Context(), 20<<20)
	start := time.Now()
	if err := wait(burst + 10<<20); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took < 300*time.Millisecond {
		t.Errorf("10 MiB beyond the burst at 20 MiB/s took %s", took)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Pacer(ctx, 1)(burst); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
