package snapshot_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"testing"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/snapshot"
)

// TestCompress: what is compressed comes out as it was, and the sum is of that.
func TestCompress(t *testing.T) {
	plain := bytes.Repeat([]byte("a page of a database "), 10000)
	var packed bytes.Buffer
	sum, err := snapshot.Compress(t.Context(), &packed, bytes.NewReader(plain))
	want := sha256.Sum256(plain)
	if err != nil || sum != hex.EncodeToString(want[:]) || packed.Len() > len(plain)/10 {
		t.Fatalf("%d of %d bytes, sum %s, %v", packed.Len(), len(plain), sum, err)
	}
	r, form, err := snapshot.Open(bytes.NewReader(packed.Bytes()), int64(packed.Len()))
	if err != nil || form != snapshot.Zstd {
		t.Fatalf("form %q, %v", form, err)
	}
	defer r.Close()
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := snapshot.Compress(ended, io.Discard, bytes.NewReader(plain)); !errors.Is(err, context.Canceled) {
		t.Errorf("it goes on when its context is over: %v", err)
	}
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("%d bytes of %d come out, %v", len(got), len(plain), err)
	}
}
