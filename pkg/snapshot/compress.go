package snapshot

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"

	"github.com/klauspost/compress/zstd"
)

// Compress writes a zstd stream of what it reads, quickly rather than small, and returns the SHA-256 (hex) of that: once here is less
// than once wherever it is sent.
func Compress(ctx context.Context, to io.Writer, from io.Reader) (sum string, err error) {
	enc, err := zstd.NewWriter(to, zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		return "", err
	}
	h := sha256.New()
	_, err = io.Copy(enc, io.TeeReader(WithContext(ctx, from), h))
	return hex.EncodeToString(h.Sum(nil)), errors.Join(err, enc.Close())
}
