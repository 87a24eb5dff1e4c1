package backup

import (
	"context"
	"io"
)

// interruptible is a writer whose Write returns when ctx is over, also while w blocks: nothing can be done about a reader
// of standard output that neither reads nor goes away, but the pod must be removed and the command must end.
type interruptible struct {
	ctx context.Context
	w   io.Writer
	buf []byte // belongs to a write that was given up, if any was
}

func (i *interruptible) Write(p []byte) (int, error) {
	if i.ctx.Err() != nil {
		return 0, context.Cause(i.ctx)
	}
	i.buf = append(i.buf[:0], p...)
	type written struct {
		n   int
		err error
	}
	done := make(chan written, 1)
	go func(b []byte) {
		n, err := i.w.Write(b)
		done <- written{n, err}
	}(i.buf)
	select {
	case d := <-done:
		return d.n, d.err
	case <-i.ctx.Done():
		return 0, context.Cause(i.ctx)
	}
}
