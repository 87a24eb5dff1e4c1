package podexec

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"
)

// putAttempts bounds how often Put starts anew.
const putAttempts = 3

// Put writes content to the path remote by means of the loader, a program too small for frames: "LOADER put PATH" prints
// "ready", then a dot per read so that its exec is never silent, and at the end of its stdin the number of bytes it got.
// An upload whose number is not size, which happens when a runtime truncates stdin, is begun again, three times in all.
// The number proves the length only: whoever starts the program must compare its checksum, as Call does.
func (c *Client) Put(ctx context.Context, t Target, loader, remote string, content io.ReadSeeker, size int64) error {
	var failures []error
	backoff := newBackoff(c.Timing)
	for attempt := 1; ; attempt++ {
		if _, err := content.Seek(0, io.SeekStart); err != nil {
			return fmt.Errorf("put %s: %w", remote, err)
		}
		err := c.put(ctx, t, []string{loader, "put", remote}, content, size)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("put %s: %w", remote, context.Cause(ctx))
		}
		failures = append(failures, err)
		if attempt == putAttempts || !retryable(err) {
			return fmt.Errorf("put %s, attempt %d: %w", remote, attempt, errors.Join(failures...))
		}
		if err := backoff.wait(ctx); err != nil {
			return fmt.Errorf("put %s: %w", remote, err)
		}
	}
}

func (c *Client) put(parent context.Context, t Target, argv []string, content io.Reader, size int64) error {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	answer := &loaderAnswer{ready: make(chan struct{})}
	stdin, feed := io.Pipe()
	defer feed.Close()
	answer.alive = time.AfterFunc(c.Timing.Silence, func() {
		cancel(&StallError{Silence: c.Timing.Silence, Waiting: "the loader", Last: answer.lastLine()})
	})
	defer answer.alive.Stop()
	answer.patience = c.Timing.Silence

	fed := make(chan error, 1)
	go func() {
		select {
		case <-answer.ready:
			_, err := io.Copy(feed, content)
			_ = feed.Close()
			fed <- err
		case <-ctx.Done():
			fed <- nil
		}
	}()
	err := c.Run(ctx, t, Cmd{Args: argv, Stdin: stdin, Stdout: answer})
	stdin.CloseWithError(io.ErrClosedPipe)
	if cause := context.Cause(ctx); cause != nil && err != nil {
		err = cause
	}
	cancel(nil)
	// The content is in use until its reader returns; the next attempt must not seek in it before.
	if feedErr := <-fed; feedErr != nil && !errors.Is(feedErr, io.ErrClosedPipe) {
		return &localError{fmt.Errorf("read what to send: %w", feedErr)}
	}
	if err != nil {
		return err
	}
	return answer.check(size)
}

// loaderAnswer reads what the loader prints.
type loaderAnswer struct {
	ready    chan struct{}
	alive    *time.Timer
	patience time.Duration

	mu   sync.Mutex
	line []byte
	all  []string
}

func (a *loaderAnswer) Write(p []byte) (int, error) {
	a.alive.Reset(a.patience)
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, b := range p {
		switch {
		case b == '.': // one for each read
		case b != '\n':
			if len(a.line) < 256 {
				a.line = append(a.line, b)
			}
		case len(a.line) > 0:
			a.endLine()
		}
	}
	return len(p), nil
}

func (a *loaderAnswer) endLine() {
	if len(a.all) == 0 && bytes.Equal(a.line, []byte("ready")) {
		close(a.ready)
	}
	if len(a.all) < 3 {
		a.all = append(a.all, string(a.line))
	}
	a.line = a.line[:0]
}

func (a *loaderAnswer) lastLine() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.all) == 0 {
		return "nothing at all"
	}
	return strconv.Quote(a.all[len(a.all)-1])
}

func (a *loaderAnswer) check(size int64) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.all) < 2 {
		return fmt.Errorf("%w: the loader did not say how much it got (said %q)", ErrCut, a.all)
	}
	got, err := strconv.ParseInt(a.all[1], 10, 64)
	if err != nil {
		return fmt.Errorf("%w: the loader said %q", ErrCut, a.all)
	}
	if got != size {
		return fmt.Errorf("%w: the loader got %d bytes of %d", ErrCut, got, size)
	}
	return nil
}
