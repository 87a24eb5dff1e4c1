package reach

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/rand"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/agent"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/podexec"
)

// execLink uses the tools in the member's own container: etcdctl for
// questions; a shell besides for a snapshot.
type execLink struct {
	clients *Clients
	member  controlplane.Member
	opts    Options
	tls     int                                      // which of clientTLS is used; a link is asked one thing at a time
	run     func(context.Context, podexec.Cmd) error // changed by tests only, to run the same programs without a container
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
	err := l.try(ctx, errNoShell, "sh", "-c", "exit 0")
	if errors.Is(err, errNoShell) {
		return false, nil
	}
	return err == nil, err
}

var errNoShell = errors.New("the member's image has no shell")

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

func openExec(ctx context.Context, c *Clients, m controlplane.Member, o Options) (Link, error) {
	if o.Username != "" {
		return nil, notPossible("the exec way would put the password into a command line")
	}
	if err := c.require(ctx, m.Namespace, rights(Exec)); err != nil {
		return nil, err
	}
	l := &execLink{clients: c, member: m, opts: o}
	for _, t := range []struct {
		missing error
		args    []string
	}{{errNoShell, []string{"sh", "-c", "exit 0"}}, {errNoTool, []string{"etcdctl", "version"}}} {
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

// save runs etcdctl with its stdin held by the shell: when the client goes
// away stdin ends, and with it etcdctl, which an exec alone would outlive.
const save = `exec 3<&0
"$@" </dev/null 3<&- & p=$!
(while read -r x <&3; do :; done; kill $p 2>/dev/null) & w=$!
exec 3<&-
wait $p; rc=$?
kill $w 2>/dev/null
exit $rc`

// read prints a file: images with a shell but no cat have a cp.
const read = `if command -v cat >/dev/null; then exec cat "$1"; else exec cp "$1" /dev/stdout; fi`

// remove empties what it cannot delete: the static bash of some images comes without rm.
const remove = `for f in "$1" "$1.part"; do rm -f "$f" 2>/dev/null || { [ -e "$f" ] && : > "$f"; }; done; exit 0`

// Snapshot saves to a file in the member's container, reads it out and removes
// it. etcd's trailer proves that all of it came: neither exec nor cat would say.
func (l *execLink) Snapshot(ctx context.Context, compress bool, w io.Writer, progress func(agent.SnapshotProgress)) (*agent.SnapshotReply, error) {
	before, err := l.Query(ctx, Question{Status: true})
	if err != nil {
		return nil, err
	}
	path := "/tmp/kubectl-etcd-" + rand.String(8) + ".db"
	defer l.removeFile(ctx, path)
	if err := l.saveTo(ctx, path); err != nil {
		return nil, err
	}
	after, err := l.Query(ctx, Question{Status: true})
	if err != nil {
		return nil, err
	}
	reply, err := agent.Pump(compress, w, func(w io.Writer) error {
		total := before.Status.DBSize
		counted := &progressWriter{w: w, report: func(done int64) { progress(agent.SnapshotProgress{Done: done, Total: max(total, done)}) }}
		err := l.exec(ctx, podexec.Cmd{Args: []string{"sh", "-c", read, "sh", path}, Stdout: counted})
		if err != nil {
			return fmt.Errorf("read %s in pod %s: %w", path, l.member.Pod, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if !reply.Plain.Trailer {
		return nil, fmt.Errorf("read %s in pod %s: the copy was cut after %d bytes", path, l.member.Pod, reply.Plain.Size)
	}
	reply.Before, reply.After = before.Status, after.Status
	return reply, nil
}

func (l *execLink) saveTo(ctx context.Context, path string) error {
	hold, release := io.Pipe() // stdin stays open for as long as this runs
	defer func() { _ = release.Close() }()
	args := append([]string{"sh", "-c", save, "sh"}, l.etcdctlArgs()...)
	args = append(args, "snapshot", "save", path)
	for i, a := range args { // the snapshot takes as long as it takes; ctx bounds it
		if strings.HasPrefix(a, "--command-timeout=") {
			args = append(args[:i], args[i+1:]...)
			break
		}
	}
	err := l.exec(ctx, podexec.Cmd{Args: args, Stdin: hold, Stdout: io.Discard})
	if err != nil {
		return fmt.Errorf("etcdctl snapshot save in pod %s: %w", l.member.Pod, err)
	}
	return nil
}

func (l *execLink) removeFile(ctx context.Context, path string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	err := l.exec(ctx, podexec.Cmd{Args: []string{"sh", "-c", remove, "sh", path}, Stdout: io.Discard})
	if err != nil {
		l.opts.log("warning: could not remove %s in pod %s: %v", path, l.member.Pod, err)
	}
}

type progressWriter struct {
	w      io.Writer
	done   int64
	report func(int64)
}

func (p *progressWriter) Write(b []byte) (int, error) {
	n, err := p.w.Write(b)
	p.done += int64(n)
	p.report(p.done)
	return n, err
}
