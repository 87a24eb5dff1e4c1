package backup

import (
	"context"
	"errors"
	"io"
	"testing"
)

// TestStdoutBlocks: a write that nobody takes ends with the context, and none is begun after it.
func TestStdoutBlocks(t *testing.T) {
	t.Parallel()
	r, w := io.Pipe()
	ctx, cancel := context.WithCancelCause(t.Context())
	out := &interruptible{ctx: ctx, w: w}
	read := make(chan string)
	go func() {
		b := make([]byte, 5)
		_, _ = io.ReadFull(r, b)
		read <- string(b)
		cancel(io.ErrNoProgress) // and reads no more
	}()
	if n, err := out.Write([]byte("hello")); n != 5 || err != nil || <-read != "hello" {
		t.Fatal(n, err)
	}
	for range 2 {
		if _, err := out.Write([]byte("world")); !errors.Is(err, io.ErrNoProgress) {
			t.Error(err)
		}
	}
}
