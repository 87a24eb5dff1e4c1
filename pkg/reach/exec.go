package reach

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/rand"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/agentapi"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/answer"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/podexec"
)

// execLink uses the tools in the member's own container: etcdctl for
// questions; a shell besides for a snapshot.
type execLink struct {
	clients *Clients
	member  controlplane.Member
	opts    Options
	tls     int // which of clientTLS is used; a link is asked one thing at a time
	tries   etcd.Tries
	refused error // what the first of its TLS files came to, until some serve
	clearing
	named map[string]bool                          // variables that etcdctl would not have beside a flag
	run   func(context.Context, podexec.Cmd) error // changed by tests only, to run the same programs without a container
}

// exec runs a command in the member's container.
func (l *execLink) exec(ctx context.Context, cmd podexec.Cmd) error {
	if l.run != nil {
		return l.run(ctx, cmd)
	}
	return l.clients.Exec.Run(ctx, l.target(), cmd)
}

func (l *execLink) target() podexec.Target {
	return podexec.Target{Namespace: l.member.Namespace, Pod: l.member.Pod, Container: l.member.Container}
}

func (l *execLink) Way() Way                    { return Exec }
func (l *execLink) Close(context.Context) error { return nil }

// HasShell asks the container for a shell. An error means that it could not be
// asked, not that there is none.
func HasShell(ctx context.Context, c *Clients, m controlplane.Member) (bool, error) {
	l := &execLink{clients: c, member: m}
	err := l.try(ctx, ErrNoShell, "sh", "-c", "exit 0")
	if errors.Is(err, ErrNoShell) {
		return false, nil
	}
	return err == nil, err
}

// ErrNoShell says that exec alone cannot take a snapshot.
var ErrNoShell = errors.New("the member's image has no shell")

// try runs a harmless command; missing is returned when there is no such program.
func (l *execLink) try(ctx context.Context, missing error, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	err := l.exec(ctx, podexec.Cmd{Args: args, Stdout: io.Discard})
	if err != nil && notFound(err) {
		return missing
	}
	return err
}

// notFound recognises the words of the container runtimes (runc, crun, gVisor)
// for a program that does not exist.
func notFound(err error) bool {
	var exit *podexec.ExitError
	if errors.As(err, &exit) { // a program that ran may miss files of its own
		return exit.Code == 126 || exit.Code == 127 || strings.Contains(exit.Stderr, "executable file not found")
	}
	s := err.Error()
	return strings.Contains(s, "executable file not found") || strings.Contains(s, "no such file or directory") || strings.Contains(s, "not found in $PATH")
}

// execCan says what keeps etcdctl in the member's container from being told what the user gave.
func execCan(o Options) error {
	switch {
	case o.Username != "":
		return notPossible("etcdctl would want the password in its command line")
	case o.ServerName != "":
		return notPossible("etcdctl cannot be told which name to verify")
	case o.TLS != nil:
		return notPossible("etcdctl in the member's pod has not the TLS files that are here")
	}
	return nil
}

func openExec(ctx context.Context, c *Clients, m controlplane.Member, o Options) (Link, error) {
	if err := execCan(o); err != nil {
		return nil, err
	}
	if err := c.Require(ctx, m.Namespace, Rights(Exec)); err != nil {
		return nil, err
	}
	l := &execLink{clients: c, member: m, opts: o, clearing: byShell} // there is one, or the next question says that there is not
	for _, t := range []struct {
		missing error
		args    []string
	}{{ErrNoShell, []string{"sh", "-c", "exit 0"}}, {errNoTool, []string{"etcdctl", "version"}}} {
		err := l.try(ctx, t.missing, t.args...)
		if errors.Is(err, t.missing) {
			return nil, &NotPossible{Err: err}
		}
		if err != nil {
			return nil, fmt.Errorf("exec in pod %s: %w", m.Pod, err)
		}
	}
	return l, nil
}

// snapshotScript saves a snapshot to a file, prints it and removes it: $1 is the
// file, the rest the command that saves. Its stdin is held open by the client;
// when that ends, so does all of this, which an exec alone would outlive. Some
// images have a shell and a cp but no cat; where there is no rm the file is emptied.
const snapshotScript = `f=$1; shift
clean() { for x in "$f" "$f.part"; do rm -f "$x" 2>/dev/null || { [ -e "$x" ] && : >"$x"; }; done; }
stop() { kill $p 2>/dev/null; wait $p 2>/dev/null; clean; exit 1; }
trap stop TERM INT HUP
exec 3<&0
(while read -r x <&3; do :; done; kill -TERM $$) >/dev/null 2>&1 & w=$!
exec 3<&-
"$@" </dev/null >/dev/null & p=$!
wait $p; rc=$?
if [ $rc = 0 ]; then
  if command -v cat >/dev/null; then cat "$f" & else cp "$f" /dev/stdout & fi
  p=$!; wait $p; rc=$?
fi
clean
kill $w 2>/dev/null
exit $rc`

// Snapshot saves to a file in the member's container and reads it out. etcd's
// trailer proves that all of it came: neither exec nor cat would say.
func (l *execLink) Snapshot(ctx context.Context, compress bool, w io.Writer, progress func(agentapi.SnapshotProgress)) (*agentapi.SnapshotReply, error) {
	before, err := l.Query(ctx, Question{Status: true})
	if err != nil {
		return nil, err
	}
	path := "/tmp/kubectl-etcd-" + rand.String(8) + ".db"
	reply, err := answer.Pump(compress, w, func(w io.Writer) error {
		return l.saveAndRead(ctx, path, w, func(done int64) {
			progress(agentapi.SnapshotProgress{Done: done, Total: max(before.Status.DBSize, done)})
		})
	})
	if err != nil {
		return nil, err
	}
	if !reply.Plain.Trailer {
		return nil, fmt.Errorf("read %s in pod %s: %w after %d bytes", path, l.member.Pod, podexec.ErrCut, reply.Plain.Size)
	}
	after, err := l.Query(ctx, Question{Status: true})
	if err != nil {
		return nil, err
	}
	reply.Before, reply.After = before.Status, after.Status
	return reply, nil
}

func (l *execLink) saveAndRead(ctx context.Context, path string, w io.Writer, progress func(done int64)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := podexec.DefaultTiming.Silence
	watch := time.AfterFunc(time.Hour, func() {
		cancel(fmt.Errorf("%w: no data for %s", podexec.ErrStalled, silence))
	})
	watch.Stop() // until the first byte: saving is silent
	defer watch.Stop()
	hold, release := io.Pipe() // stdin stays open for as long as this runs
	defer func() { _ = release.Close() }()
	args := slices.Concat([]string{"sh", "-c", snapshotScript, "sh", path}, l.etcdctlArgs(0), []string{"snapshot", "save", path})
	out := &watchedWriter{w: w, report: progress, watch: watch, silence: silence}
	if err := l.exec(ctx, podexec.Cmd{Args: args, Stdin: hold, Stdout: out}); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return fmt.Errorf("save and read a snapshot in pod %s: %w", l.member.Pod, plainExit(err))
	}
	return nil
}

// watchedWriter counts, and is watched for silence between its writes: not in
// one, where it is the destination that is slow.
type watchedWriter struct {
	w       io.Writer
	done    int64
	report  func(int64)
	watch   *time.Timer
	silence time.Duration
}

func (p *watchedWriter) Write(b []byte) (int, error) {
	p.watch.Stop()
	n, err := p.w.Write(b)
	p.done += int64(n)
	p.report(p.done)
	p.watch.Reset(p.silence)
	return n, err
}
