package snapshot

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"testing"
)

func stream(size int) []byte {
	body := make([]byte, size)
	random := rand.New(rand.NewPCG(1, uint64(size)))
	for i := range body {
		body[i] = byte(random.Uint32())
	}
	sum := sha256.Sum256(body)
	return append(body, sum[:]...)
}

func TestChecker(t *testing.T) {
	good := stream(4096)
	flipped, wrong := bytes.Clone(good), bytes.Clone(good)
	flipped[100] ^= 1
	wrong[len(wrong)-1] ^= 1
	for name, c := range map[string]struct {
		data []byte
		want error
	}{
		"good":          {good, nil},
		"flipped":       {flipped, ErrTrailer},
		"wrong trailer": {wrong, ErrTrailer},
		"no trailer":    {good[:4096], ErrNoTrailer},
		"one byte less": {good[:len(good)-1], ErrNoTrailer},
		"a sector less": {good[:len(good)-512], ErrTrailer},
		"31 bytes":      {good[:31], ErrNoTrailer},
		"only trailer":  {stream(0), ErrNoTrailer},
		"empty":         {nil, ErrEmpty},
	} {
		// However the bytes are cut into writes, the answer is the same.
		for _, chunk := range []int{1, 7, 31, 32, 33, 64, 1000, 5000} {
			checker := NewChecker()
			for rest := c.data; len(rest) > 0; rest = rest[min(chunk, len(rest)):] {
				if n, err := checker.Write(rest[:min(chunk, len(rest))]); err != nil || n != min(chunk, len(rest)) {
					t.Fatalf("%s: write: %d, %v", name, n, err)
				}
			}
			proof, err := checker.Finish()
			if !errors.Is(err, c.want) || (c.want == nil) != (err == nil) {
				t.Errorf("%s by %d: got %v, want %v", name, chunk, err, c.want)
			}
			sum := sha256.Sum256(c.data)
			want := Proof{Size: int64(len(c.data)), SHA256: hex.EncodeToString(sum[:]), Trailer: c.want == nil}
			if proof != want {
				t.Errorf("%s by %d: got %+v, want %+v", name, chunk, proof, want)
			}
			if again, againErr := checker.Finish(); again != proof || againErr != err {
				t.Errorf("%s: finished twice: %+v, %v", name, again, againErr)
			}
			if _, err := checker.Write([]byte{1}); err == nil {
				t.Errorf("%s: write after the end succeeds", name)
			}
		}
	}
	if !errors.Is(ErrNoTrailer, ErrTrailer) {
		t.Error("ErrNoTrailer is no ErrTrailer")
	}
}

func BenchmarkChecker(b *testing.B) {
	chunk := make([]byte, 64<<10)
	b.SetBytes(int64(len(chunk)))
	checker := NewChecker()
	for b.Loop() {
		checker.Write(chunk)
	}
}
