package answer

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/snapshot"
)

// stream is a snapshot's stream of n bytes, of which half can be compressed, with its trailer.
func stream(w io.Writer, n int) error {
	sum := sha256.New()
	both := io.MultiWriter(w, sum)
	random := rand.NewChaCha8([32]byte{1})
	piece := make([]byte, 32<<10)
	_, _ = random.Read(piece)
	for range n / len(piece) {
		_, _ = random.Read(piece[:len(piece)/2])
		if _, err := both.Write(piece); err != nil {
			return err
		}
	}
	_, err := w.Write(sum.Sum(nil))
	return err
}

func TestPump(t *testing.T) {
	t.Parallel()
	for _, compress := range []bool{false, true} {
		var out bytes.Buffer
		reply, err := Pump(compress, &out, func(w io.Writer) error { return stream(w, 20<<20) })
		if err != nil || !reply.Plain.Trailer || reply.Compressed != compress || reply.Plain.Size != 20<<20+snapshot.TrailerSize {
			t.Fatalf("compress %t: %+v, %v", compress, reply, err)
		}
		if compress && out.Len() > 11<<20 {
			t.Errorf("%d bytes after compression", out.Len())
		}
		r, form, err := snapshot.Reader(&out)
		if err != nil || (form == snapshot.Zstd) != compress {
			t.Fatal(form, err)
		}
		check := snapshot.NewChecker()
		if _, err := io.Copy(check, r); err != nil {
			t.Fatal(err)
		}
		if proof, err := check.Finish(); err != nil || proof != reply.Plain {
			t.Errorf("compress %t: what came is %+v, %v; want %+v", compress, proof, err, reply.Plain)
		}
	}
}

func TestPumpWithoutTrailer(t *testing.T) {
	t.Parallel()
	reply, err := Pump(true, io.Discard, func(w io.Writer) error { _, err := w.Write(make([]byte, 4096)); return err })
	if err != nil || reply.Plain.Trailer {
		t.Errorf("no trailer: %+v, %v", reply, err)
	}
	_, err = Pump(true, io.Discard, func(w io.Writer) error { _, err := w.Write(make([]byte, 4096+32)); return err })
	if !errors.Is(err, snapshot.ErrTrailer) {
		t.Errorf("wrong trailer: %v", err)
	}
	broken := errors.New("broken")
	if _, err := Pump(true, io.Discard, func(io.Writer) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("failing producer: %v", err)
	}
}

// limited takes n bytes and then fails.
type limited struct {
	n   int
	err error
}

func (l *limited) Write(p []byte) (int, error) {
	if l.n -= len(p); l.n < 0 {
		return 0, l.err
	}
	return len(p), nil
}

// A writer that fails ends the producer, wherever it is, and its error is what is heard.
func TestPumpToFailingWriter(t *testing.T) {
	t.Parallel()
	full := errors.New("full")
	for _, compress := range []bool{false, true} {
		for _, room := range []int{0, 1, 1 << 20, 15 << 20} {
			done := make(chan error, 1)
			go func() {
				_, err := Pump(compress, &limited{room, full}, func(w io.Writer) error { return stream(w, 64<<20) })
				done <- err
			}()
			select {
			case err := <-done:
				if !errors.Is(err, full) {
					t.Errorf("compress %t, room for %d: %v", compress, room, err)
				}
			case <-time.After(30 * time.Second):
				t.Fatalf("compress %t, room for %d: deadlock", compress, room)
			}
		}
	}
}

// TestPumpMemory is not parallel: it measures the whole process.
func TestPumpMemory(t *testing.T) {
	var before, most, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	piece := make([]byte, 32<<10) // its chunks of random bytes are found again and again: that is cheap to compress
	_, _ = rand.NewChaCha8([32]byte{1}).Read(piece)
	_, err := Pump(true, io.Discard, func(w io.Writer) error {
		for n := range 256 << 20 / len(piece) {
			if _, err := w.Write(piece); err != nil {
				return err
			}
			if n%1024 == 1023 { // every 32 MiB
				runtime.GC()
				runtime.ReadMemStats(&now)
				most.HeapAlloc = max(most.HeapAlloc, now.HeapAlloc)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if live := int64(most.HeapAlloc) - int64(before.HeapAlloc); live > 32<<20 {
		t.Errorf("%d MiB are live while a stream of 256 MiB goes by", live>>20)
	} else {
		t.Logf("%.1f MiB live", float64(live)/(1<<20))
	}
}
