// pack compresses a file with zstd: pack FROM TO. The same input gives the same output.
package main

import (
	"fmt"
	"os"

	"github.com/klauspost/compress/zstd"
)

func main() {
	if err := pack(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "pack:", err)
		os.Exit(1)
	}
}

func pack(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("want FROM TO, got %q", args)
	}
	b, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	// One worker: the output must not depend on the number of processors.
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return err
	}
	return os.WriteFile(args[1], enc.EncodeAll(b, nil), 0o644) //nolint:gosec // not a secret
}
