package streaming

import (
	"bytes"
	"io"
	"testing"
	"time"
)

// delayLine passes bytes on after a delay; those still in it when the process has exited are lost with the connection.
type delayLine struct{ queue chan delayed }

type delayed struct {
	due  time.Time
	data []byte
}

func newDelayLine(t *testing.T, w io.Writer, delay time.Duration) io.Writer {
	d := &delayLine{queue: make(chan delayed, 10000)}
	go func() {
		for {
			select {
			case <-t.Context().Done():
				return
			case next := <-d.queue:
				<-time.After(time.Until(next.due) + delay)
				_, _ = w.Write(next.data)
			}
		}
	}()
	return d
}

func (d *delayLine) Write(p []byte) (int, error) {
	d.queue <- delayed{time.Now(), bytes.Clone(p)}
	return len(p), nil
}

// loseAfter is a runtime that stops passing output on after n bytes.
func loseAfter(n int64) func(int, io.Reader, io.Writer) (io.Reader, io.Writer) {
	return func(_ int, in io.Reader, out io.Writer) (io.Reader, io.Writer) {
		left := n
		return in, writerFunc(func(p []byte) (int, error) {
			pass := min(int64(len(p)), left)
			left -= pass
			if pass > 0 {
				if _, err := out.Write(p[:pass]); err != nil {
					return 0, err
				}
			}
			return len(p), nil
		})
	}
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// truncateStdin is a runtime that closes stdin after n bytes.
func truncateStdin(n int64) func(int, io.Reader, io.Writer) (io.Reader, io.Writer) {
	return func(_ int, in io.Reader, out io.Writer) (io.Reader, io.Writer) {
		return io.LimitReader(in, n), out
	}
}

// flip changes one byte of the output at an offset.
func flip(at int64) func(int, io.Reader, io.Writer) (io.Reader, io.Writer) {
	return func(_ int, in io.Reader, out io.Writer) (io.Reader, io.Writer) {
		return in, &editor{w: out, at: at, edit: flipFirst}
	}
}

func flipFirst(p []byte) []byte {
	p[0] ^= 1
	return p
}

// skip loses n bytes in the middle.
func skip(at int64, n int) func(int, io.Reader, io.Writer) (io.Reader, io.Writer) {
	return func(_ int, in io.Reader, out io.Writer) (io.Reader, io.Writer) {
		return in, &editor{w: out, at: at, edit: func(p []byte) []byte { return p[min(n, len(p)):] }}
	}
}

// editor changes the output once, from an offset on.
type editor struct {
	w    io.Writer
	at   int64
	seen int64
	edit func([]byte) []byte
}

func (e *editor) Write(p []byte) (int, error) {
	from := e.at - e.seen
	e.seen += int64(len(p))
	if from < 0 || from >= int64(len(p)) {
		return e.w.Write(p)
	}
	edited := e.edit(bytes.Clone(p[from:]))
	if _, err := e.w.Write(p[:from]); err != nil {
		return 0, err
	}
	if _, err := e.w.Write(edited); err != nil {
		return 0, err
	}
	return len(p), nil
}
