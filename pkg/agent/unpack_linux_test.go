package agent

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/agentapi"
)

func TestUnpack(t *testing.T) {
	plain := make([]byte, 40<<20) // more than is left to the disk at a time
	if _, err := rand.Read(plain[:1<<20]); err != nil {
		t.Fatal(err)
	}
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	packed, sum := enc.EncodeAll(plain, nil), sha256.Sum256(plain)
	size, hash := int64(len(plain)), hex.EncodeToString(sum[:])
	other := sha256.Sum256(nil)
	for name, c := range map[string]struct {
		packed []byte
		size   int64
		sha256 string
		ok     bool
	}{
		"as announced":       {packed, size, hash, true},
		"larger than told":   {packed, size - 1, hash, false},
		"smaller than told":  {packed, size + 1, hash, false},
		"another one":        {packed, size, hex.EncodeToString(other[:]), false},
		"summed elsewhere":   {packed, size, "", true},
		"that, but larger":   {packed, size - 1, "", false},
		"cut":                {packed[:len(packed)-3], size, hash, false},
		"not compressed":     {plain, size, hash, true},
		"nothing of a zstd":  {packed[:3], size, hash, false},
		"what follows it is": {append(bytes.Clone(packed), 1), size, hash, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			r := agentapi.UnpackRequest{From: filepath.Join(dir, "s.zst"), To: filepath.Join(dir, "s"), Size: c.size, SHA256: c.sha256}
			if err := os.WriteFile(r.From, c.packed, 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := unpackFile(t.Context(), r, nil)
			if (err == nil) != c.ok {
				t.Fatalf("%v", err)
			}
			if _, serr := os.Stat(r.To); (serr == nil) != c.ok {
				t.Errorf("after %v: %v", err, serr)
			}
			if !c.ok {
				return
			}
			b, err := os.ReadFile(r.To)
			if err != nil || !bytes.Equal(b, plain) {
				t.Errorf("%d bytes, %v", len(b), err)
			}
			if _, err := unpackFile(t.Context(), r, nil); err != nil {
				t.Errorf("again: %v", err)
			}
			if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != 1 {
				t.Errorf("left: %v", left)
			}
		})
	}
}
