package verify_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/snapshot"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify"
)

// damages is how many random changes each form of a snapshot must survive being looked at with.
const damages = 1000

// form is one way to store a snapshot.
type form struct {
	name, file string
	data       []byte
	sidecar    bool
	// mustCatch is false for compressed data without sidecar: there a change may be one that changes no content, such
	// as that of an unused bit, and then the content must be found whole.
	mustCatch bool
}

func forms(t *testing.T) []form {
	plain, err := os.ReadFile(small(t))
	if err != nil {
		t.Fatal(err)
	}
	packed := pack(t, plain)
	return []form{
		{"plain", "s.db", plain, false, true},
		{"plain with sidecar", "s.db", plain, true, true},
		{"zstd", "s.db.zst", packed, false, false},
		{"zstd with sidecar", "s.db.zst", packed, true, true},
		{"raw with sidecar", "db", plain[:len(plain)-snapshot.TrailerSize], true, true},
	}
}

func TestEveryDamageIsCaught(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for _, f := range forms(t) {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, 0))
			path := filepath.Join(t.TempDir(), f.file)
			write(t, path, f.data)
			good, err := verify.File(t.Context(), path, verify.Options{Raw: true})
			if err != nil {
				t.Fatal(err)
			}
			if f.sidecar {
				writeSidecar(t, path, good)
				if _, err := verify.File(t.Context(), path, verify.Options{}); err != nil {
					t.Fatalf("the sidecar of the file itself: %v", err)
				}
			}
			for i := range damages {
				what, data := damage(random, f.data)
				write(t, path, data)
				r, err := verify.File(t.Context(), path, verify.Options{})
				switch {
				case err != nil && !typed(err):
					t.Errorf("seed %d, damage %d (%s): error is of no kind: %v", seed, i, what, err)
				case err == nil && (f.mustCatch || r.Plain != good.Plain || r.Hash != good.Hash):
					t.Errorf("seed %d, damage %d (%s): not caught", seed, i, what)
				}
			}
		})
	}
}

// damage changes one byte, two times of three, or cuts off the end.
func damage(random *rand.Rand, data []byte) (what string, damaged []byte) {
	if random.IntN(3) == 0 {
		n := random.IntN(len(data))
		if random.IntN(2) == 0 { // where the trailer is
			n = len(data) - 1 - random.IntN(min(600, len(data)))
		}
		return fmt.Sprintf("cut to %d of %d bytes", n, len(data)), data[:n]
	}
	at := random.IntN(len(data))
	if random.IntN(4) == 0 { // headers and trailer are where it is hard
		at = []int{random.IntN(min(200, len(data))), len(data) - 1 - random.IntN(min(100, len(data)))}[random.IntN(2)]
	}
	damaged = bytes.Clone(data)
	damaged[at] ^= byte(1 + random.IntN(255))
	return fmt.Sprintf("byte %d of %d", at, len(data)), damaged
}

// TestDamagedDatabaseYieldsError has no trailer to rely on: it looks whether a damaged database can do anything but
// be read or yield an error.
func TestDamagedDatabaseYieldsError(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	plain, err := os.ReadFile(small(t))
	if err != nil {
		t.Fatal(err)
	}
	raw := plain[:len(plain)-snapshot.TrailerSize]
	path := filepath.Join(t.TempDir(), "db")
	caught := 0
	for i := range damages {
		what, data := damage(random, raw)
		write(t, path, data)
		if _, err := verify.File(t.Context(), path, verify.Options{Raw: true}); err != nil {
			caught++
			if !typed(err) {
				t.Errorf("seed %d, damage %d (%s): error is of no kind: %v", seed, i, what, err)
			}
		}
	}
	t.Logf("%d of %d caught without a trailer", caught, damages)
}

func typed(err error) bool {
	for _, kind := range []error{verify.ErrEmpty, verify.ErrNotFile, verify.ErrNotSnapshot, verify.ErrTruncated, verify.ErrTrailer,
		verify.ErrNoTrailer, verify.ErrLonger, verify.ErrCompressed, verify.ErrCorrupt, verify.ErrSidecar} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

func pack(t testing.TB, data []byte) []byte {
	t.Helper()
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()
	return enc.EncodeAll(data, nil)
}

func write(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// sidecarOf is the sidecar that a backup with full proof writes.
func sidecarOf(r *verify.Report) snapshot.Sidecar {
	content := r.Content
	return snapshot.Sidecar{
		File: filepath.Base(r.File), Size: r.Size, SHA256: r.SHA256, Compression: r.Compression, Raw: r.Raw,
		Proof: snapshot.ProofFull, Plain: r.Plain, Created: time.Now(), Tool: "test",
		Cluster:        snapshot.Cluster{StorageVersion: r.StorageVersion, KubeSystemUID: r.KubeSystemUID},
		RevisionBefore: r.Revision, RevisionAfter: r.Revision, Content: &content,
	}
}

func writeSidecar(t testing.TB, path string, r *verify.Report) {
	t.Helper()
	if err := snapshot.WriteSidecar(path, sidecarOf(r)); err != nil {
		t.Fatal(err)
	}
}
