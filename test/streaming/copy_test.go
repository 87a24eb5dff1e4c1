package streaming

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/frame"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/podexec"
)

// cutter cuts one link of a bed a few times, at offsets from a seed.
type cutter struct {
	link   *link
	up     bool
	points []int64
}

func newCutter(b *bed, seed uint64, size int64, up bool) *cutter {
	random := rand.New(rand.NewPCG(seed, 0))
	c := &cutter{link: b.front, up: up}
	if random.IntN(2) == 1 {
		c.link = b.back
	}
	for range 1 + random.IntN(3) {
		c.points = append(c.points, random.Int64N(size/4)) // so that there is enough left for each
	}
	return c
}

// next arms the next cut; it is called at the start and after each failure.
func (c *cutter) next() {
	if len(c.points) > 0 {
		c.link.cutAfter(c.points[0], c.up)
		c.points = c.points[1:]
	}
}

func TestCopyFromResumesAfterCuts(t *testing.T) {
	t.Parallel()
	const size = 12<<20 + 1
	for seed := range uint64(5) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			transports(t, func(t *testing.T, opts bedOptions) {
				b := newBed(t, opts)
				path, data := randomFile(t, size)
				dst, err := os.Create(filepath.Join(t.TempDir(), "copy"))
				if err != nil {
					t.Fatal(err)
				}
				defer dst.Close()
				cuts := newCutter(b, seed, size, false)
				want := len(cuts.points)
				cuts.next()
				var done, total int64
				copied, err := b.client.Talk(target, []string{agentPath}, agentSum(t)).CopyFrom(deadline(t, 90*time.Second), path, dst, podexec.CopyOptions{
					Retried:  func(err error) { t.Logf("at %d: %v", done, err); cuts.next() },
					Progress: func(d, n int64) { done, total = d, n },
				})
				if err != nil {
					t.Fatal(err)
				}
				got, err := os.ReadFile(dst.Name())
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got, data) || copied.SHA256 != sum(data) || copied.Size != size || copied.Mode != 0o640 {
					t.Errorf("%d bytes, %+v", len(got), copied)
				}
				if copied.Retries != want || done != size || total != size {
					t.Errorf("%d retries for %d cuts, progress %d of %d", copied.Retries, want, done, total)
				}
			})
		})
	}
}

func TestCopyToResumesAfterCuts(t *testing.T) {
	t.Parallel()
	const size = 12<<20 + 1
	for seed := range uint64(5) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			transports(t, func(t *testing.T, opts bedOptions) {
				b := newBed(t, opts)
				_, data := randomFile(t, size)
				path := filepath.Join(t.TempDir(), "uploaded")
				cuts := newCutter(b, seed, size, true)
				cuts.next()
				copied, err := b.client.Talk(target, []string{agentPath}, agentSum(t)).CopyTo(deadline(t, 90*time.Second), bytes.NewReader(data), size, path, podexec.CopyOptions{
					Mode:    0o640,
					Retried: func(err error) { t.Log(err); cuts.next() },
				})
				if err != nil {
					t.Fatal(err)
				}
				if copied.SHA256 != sum(data) || copied.Size != size || copied.Retries == 0 {
					t.Errorf("%+v", copied)
				}
				mustHold(t, path, data)
			})
		})
	}
}

func mustHold(t *testing.T, path string, data []byte) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, data) {
		t.Errorf("%d bytes of %d, and they differ", len(got), len(data))
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o640 {
		t.Errorf("mode %v, error %v", info.Mode(), err)
	}
	if _, err := os.Stat(path + ".part"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a part is left: %v", err)
	}
}

// TestCopyToKnowsThatItIsDone loses only the answer.
func TestCopyToKnowsThatItIsDone(t *testing.T) {
	t.Parallel()
	b := newBed(t, bedOptions{mangle: func(n int, in io.Reader, out io.Writer) (io.Reader, io.Writer) {
		if n > 0 {
			return in, out
		}
		return in, writerFunc(func(p []byte) (int, error) {
			if bytes.Contains(p, []byte(`"sha256"`)) && bytes.Contains(p, []byte(`"extra"`)) {
				return 0, io.ErrClosedPipe
			}
			return out.Write(p)
		})
	}})
	_, data := randomFile(t, 1<<20)
	path := filepath.Join(t.TempDir(), "uploaded")
	copied, err := b.client.Talk(target, []string{agentPath}, "").CopyTo(deadline(t, 60*time.Second), bytes.NewReader(data), int64(len(data)), path, podexec.CopyOptions{Mode: 0o640})
	if err != nil {
		t.Fatal(err)
	}
	if copied.SHA256 != sum(data) || copied.Retries != 1 {
		t.Errorf("%+v", copied)
	}
	mustHold(t, path, data)
	if b.execs() != 3 { // write, stat, stat with checksum
		t.Errorf("%d execs: it was sent again", b.execs())
	}
}

// TestCopiesStartAnewWhenCorrupt flips a byte in the first attempt.
func TestCopiesStartAnewWhenCorrupt(t *testing.T) {
	t.Parallel()
	const size = 6 << 20
	t.Run("from", func(t *testing.T) {
		transports(t, func(t *testing.T, opts bedOptions) {
			opts.mangle = func(n int, in io.Reader, out io.Writer) (io.Reader, io.Writer) {
				if n > 0 {
					return in, out
				}
				return flip(size/2)(n, in, out)
			}
			b := newBed(t, opts)
			path, data := randomFile(t, size)
			dst, err := os.OpenFile(filepath.Join(t.TempDir(), "copy"), os.O_CREATE|os.O_RDWR, 0o640)
			if err != nil {
				t.Fatal(err)
			}
			defer dst.Close()
			copied, err := b.client.Talk(target, []string{agentPath}, "").CopyFrom(deadline(t, 60*time.Second), path, dst, podexec.CopyOptions{})
			if err != nil || copied.SHA256 != sum(data) || copied.Retries != 1 {
				t.Fatalf("%+v, %v", copied, err)
			}
			mustHold(t, dst.Name(), data)
		})
	})
	t.Run("to", func(t *testing.T) {
		transports(t, func(t *testing.T, opts bedOptions) {
			opts.mangle = func(n int, in io.Reader, out io.Writer) (io.Reader, io.Writer) {
				if n > 0 {
					return in, out
				}
				r, w := io.Pipe()
				go func() {
					_, err := io.Copy(&editor{w: w, at: size / 2, edit: flipFirst}, in)
					w.CloseWithError(err)
				}()
				return r, out
			}
			b := newBed(t, opts)
			_, data := randomFile(t, size)
			path := filepath.Join(t.TempDir(), "uploaded")
			copied, err := b.client.Talk(target, []string{agentPath}, "").CopyTo(deadline(t, 60*time.Second), bytes.NewReader(data), size, path, podexec.CopyOptions{Mode: 0o640})
			if err != nil || copied.SHA256 != sum(data) || copied.Retries != 1 {
				t.Fatalf("%+v, %v", copied, err)
			}
			mustHold(t, path, data)
		})
	})
}

func TestCopyToSurvivesTruncatedStdin(t *testing.T) {
	t.Parallel()
	b := newBed(t, bedOptions{mangle: func(n int, in io.Reader, out io.Writer) (io.Reader, io.Writer) {
		if n == 0 {
			in = io.LimitReader(in, 192<<10)
		}
		return in, out
	}})
	_, data := randomFile(t, 5<<20)
	path := filepath.Join(t.TempDir(), "uploaded")
	copied, err := b.client.Talk(target, []string{agentPath}, "").CopyTo(deadline(t, 60*time.Second), bytes.NewReader(data), int64(len(data)), path, podexec.CopyOptions{Mode: 0o640})
	if err != nil || copied.Retries != 1 {
		t.Fatalf("%+v, %v", copied, err)
	}
	mustHold(t, path, data)
}

func TestCopyGivesUp(t *testing.T) {
	t.Parallel()
	b := newBed(t, bedOptions{})
	attempts := 0
	b.front.close()
	_, err := b.client.Talk(target, []string{agentPath}, "").CopyFrom(deadline(t, 60*time.Second), "x", discardAt{}, podexec.CopyOptions{Retried: func(error) { attempts++ }})
	if err == nil || attempts != quick.Attempts-1 {
		t.Errorf("error %v after %d retries", err, attempts)
	}
}

func TestCopyDoesNotRetryWhatIsFinal(t *testing.T) {
	t.Parallel()
	b := newBed(t, bedOptions{})
	retried := podexec.CopyOptions{Retried: func(err error) { t.Errorf("retried after %v", err) }}
	_, err := b.client.Talk(target, []string{agentPath}, "").CopyFrom(deadline(t, 20*time.Second), filepath.Join(t.TempDir(), "no"), discardAt{}, retried)
	var refusal *frame.Error
	if !errors.As(err, &refusal) || refusal.Code != frame.CodeNotFound {
		t.Errorf("error = %v", err)
	}
	_, err = b.client.Talk(target, []string{agentPath}, "").CopyTo(deadline(t, 20*time.Second), bytes.NewReader(nil), 0, filepath.Join(t.TempDir(), "no", "such"), retried)
	if !errors.As(err, &refusal) || refusal.Code != frame.CodeNotFound {
		t.Errorf("error = %v", err)
	}
	_, err = b.client.Talk(target, []string{"/no/such/agent"}, "").CopyFrom(deadline(t, 20*time.Second), "x", discardAt{}, podexec.CopyOptions{})
	if err == nil {
		t.Error("no error for an agent that is not there")
	}
}

type discardAt struct{}

func (discardAt) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }

// TestCopyFromOutlastsAStall stalls the link for 90 s with the real patience: an attempt ends after 30 s, later ones
// cannot connect, and when the link is back the copy goes on where it was.
func TestCopyFromOutlastsAStall(t *testing.T) {
	transports(t, func(t *testing.T, opts bedOptions) {
		opts.timing = &podexec.DefaultTiming
		b := newBed(t, opts)
		path, data := randomFile(t, 40<<20)
		dst, err := os.OpenFile(filepath.Join(t.TempDir(), "copy"), os.O_CREATE|os.O_RDWR, 0o640)
		if err != nil {
			t.Fatal(err)
		}
		defer dst.Close()
		stalled := false
		started := time.Now()
		copied, err := b.client.Talk(target, []string{agentPath}, "").CopyFrom(deadline(t, 240*time.Second), path, dst, podexec.CopyOptions{
			Progress: func(done, _ int64) {
				if !stalled && done > 10<<20 {
					stalled = true
					b.front.stall(true)
					time.AfterFunc(90*time.Second, func() { b.front.stall(false) })
				}
			},
			Retried: func(err error) { t.Logf("after %v: %v", time.Since(started).Round(time.Second), err) },
		})
		if err != nil {
			t.Fatal(err)
		}
		if copied.SHA256 != sum(data) || copied.Retries == 0 || time.Since(started) < 90*time.Second {
			t.Errorf("%+v after %v", copied, time.Since(started))
		}
		mustHold(t, dst.Name(), data)
	})
}

func TestPut(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile(agentPath)
	if err != nil {
		t.Fatal(err)
	}
	truncated := func(times int) func(int, io.Reader, io.Writer) (io.Reader, io.Writer) {
		return func(n int, in io.Reader, out io.Writer) (io.Reader, io.Writer) {
			if n < times {
				in = io.LimitReader(in, 192<<10)
			}
			return in, out
		}
	}
	for name, c := range map[string]struct {
		truncations int
		fails       bool
	}{"whole": {0, false}, "stdin truncated twice": {2, false}, "stdin always truncated": {3, true}} {
		t.Run(name, func(t *testing.T) {
			transports(t, func(t *testing.T, opts bedOptions) {
				opts.mangle = truncated(c.truncations)
				b := newBed(t, opts)
				path := filepath.Join(t.TempDir(), "agent")
				err := b.client.Put(deadline(t, 60*time.Second), target, loaderPath, path, bytes.NewReader(content), int64(len(content)))
				if (err != nil) != c.fails || c.fails && !errors.Is(err, podexec.ErrCut) {
					t.Fatalf("error = %v", err)
				}
				if c.fails {
					return
				}
				got, err := os.ReadFile(path)
				if err != nil || !bytes.Equal(got, content) {
					t.Fatalf("%d bytes of %d, error %v", len(got), len(content), err)
				}
				// And it is the agent, to be started.
				if _, err := b.client.Talk(target, []string{path}, sum(content)).Call(deadline(t, 20*time.Second),
					podexec.Request{Name: frame.RequestStat, Body: frame.StatRequest{Path: path}}, podexec.CallOptions{}); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
