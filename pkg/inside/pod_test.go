//go:build unix

package inside

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/snapshot"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify"
)

// TestPack: what makes it smaller is sent, and not what has changed since it was proven.
func TestPack(t *testing.T) {
	t.Parallel()
	random := make([]byte, 100000)
	if _, err := rand.Read(random); err != nil {
		t.Fatal(err)
	}
	text := bytes.Repeat([]byte("a page "), 20000)
	for name, c := range map[string]struct {
		data            []byte
		form            snapshot.Compression
		changed, packed bool
	}{
		"a database":               {data: text, packed: true},
		"random bytes":             {data: random},
		"compressed already":       {data: text, form: snapshot.Gzip},
		"changed since":            {data: text, changed: true},
		"compressed, then changed": {data: text, form: snapshot.Gzip, changed: true}, // it is unpacked in the pod, and found there
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "a.db")
			sum := sha256.Sum256(c.data)
			if c.changed {
				sum[0]++
			}
			if err := os.WriteFile(path, c.data, 0o600); err != nil {
				t.Fatal(err)
			}
			f, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			size := int64(len(c.data))
			r := &verify.Report{Size: size, Compression: c.form, Plain: snapshot.Plain{Size: size, SHA256: hex.EncodeToString(sum[:])}}
			x := &inPod{dir: t.TempDir()}
			packed, err := x.pack(t.Context(), f, r)
			if left, _ := os.ReadDir(x.dir); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
			if c.changed && c.form == snapshot.None {
				if err == nil || !strings.Contains(err.Error(), "not any more what was proven") {
					t.Errorf("what has changed: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if (packed != nil) != c.packed || packed != nil && packed.size >= size/10 {
				t.Errorf("packed %+v of %d bytes", packed, size)
			}
			if packed != nil {
				_ = packed.Close()
			}
		})
	}
}
