package plugin

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plugin/cli"

	"github.com/cheggaaa/pb/v3"
	"github.com/dustin/go-humanize"
)

// confirm asks, and refuses everything but a yes; unchanged says what that leaves as it is. An interrupt ends it: the
// terminal goes on being read then, which nothing can end.
func (a *app) confirm(ctx context.Context, question, unchanged string) error {
	fmt.Fprint(a.ErrOut, cli.Printable(question)+" [y/N] ")
	answers := make(chan string, 1)
	go func() {
		answer, _ := bufio.NewReader(a.In).ReadString('\n') // at its end it is not a yes
		answers <- answer
	}()
	select {
	case <-ctx.Done():
		fmt.Fprintln(a.ErrOut)
		a.say("%s", unchanged)
		return context.Cause(ctx)
	case answer := <-answers:
		if s := strings.ToLower(strings.TrimSpace(answer)); s != "y" && s != "yes" {
			return errors.New(unchanged + ": not confirmed")
		}
		return nil
	}
}

// Where no bar can be drawn, a transfer says something soon after it has begun, so that it is seen to go on, and then every lineEvery.
var lineEvery = 10 * time.Second

const firstLine = 3 * time.Second

// reporter shows a backup to a person: steps as lines, a transfer as a bar on a
// terminal and as lines elsewhere: the first after 3 s, then one every 10 s.
type reporter struct {
	app  *app
	mu   sync.Mutex
	bar  *pb.ProgressBar
	from time.Time
	last time.Time
}

// Explain says what only -v shows.
func (r *reporter) Explain(format string, args ...any) { r.app.explain(format, args...) }

// Secret asks for a passphrase.
func (r *reporter) Secret(prompt string) ([]byte, error) {
	return cli.Secret(r.app.In, r.app.ErrOut, prompt)
}

func (r *reporter) Step(format string, args ...any) {
	r.app.say("%s", cli.Printable(fmt.Sprintf(format, args...)))
}

func (r *reporter) Warn(format string, args ...any) {
	r.Done()
	r.app.warn(format, args...)
}

const barTemplate pb.ProgressBarTemplate = `{{counters . }} {{bar . }} {{percent . }} {{speed . "%s/s"}} {{rtime . "ETA %s"}} {{string . "wire"}}`

func (r *reporter) Progress(done, total, wire int64) {
	if r.app.quiet {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if r.from.IsZero() {
		r.from, r.last = now, now.Add(min(firstLine-lineEvery, 0))
	}
	if cli.Draws(r.app.ErrOut) {
		if r.bar == nil {
			r.bar = barTemplate.New(0).Set(pb.Bytes, true).SetWriter(r.app.ErrOut).Set(pb.CleanOnFinish, true).Start()
		}
		r.bar.SetTotal(total).SetCurrent(done)
		if wire >= 0 {
			r.bar.Set("wire", "("+humanize.IBytes(uint64(wire))+" on the wire)")
		}
		return
	}
	if now.Sub(r.last) >= lineEvery {
		r.last = now
		writeLine(r.app.ErrOut, done, total, wire, now.Sub(r.from))
	}
}

func writeLine(w io.Writer, done, total, wire int64, took time.Duration) {
	rate := float64(done) / max(took.Seconds(), 0.001)
	s := humanize.IBytes(uint64(done))
	if total > 0 {
		s += fmt.Sprintf(" of %s (%d %%)", humanize.IBytes(uint64(total)), done*100/total)
	}
	s += fmt.Sprintf(", %s/s", humanize.IBytes(uint64(rate)))
	if total > done && rate > 0 {
		s += ", ETA " + (time.Duration(float64(total-done)/rate) * time.Second).Round(time.Second).String()
	}
	if wire >= 0 {
		s += ", " + humanize.IBytes(uint64(wire)) + " on the wire"
	}
	fmt.Fprintln(w, s)
}

func (r *reporter) Done() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.bar != nil {
		r.bar.Finish()
	}
	r.bar, r.from = nil, time.Time{}
}
