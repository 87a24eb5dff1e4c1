package plugin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plugin/cli"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/backup"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plugin/hint"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/survey"
)

// TestReport: every error is one line with a way out, and has its exit code.
func TestReport(t *testing.T) {
	t.Parallel()
	planes := []controlplane.ControlPlane{{Namespace: "team-a", Name: "etcd"}, {Namespace: "team-b", Name: "etcd"}}
	cmd := &cobra.Command{Use: "kubectl-etcd"}
	sub := &cobra.Command{Use: "backup"}
	cmd.AddCommand(sub)
	for _, c := range []struct {
		err   error
		code  int
		words []string
	}{
		{nil, exitOK, nil},
		{cli.ExitCode(7), 7, nil},
		{errors.Join(errInterrupted, errors.New("exec: context canceled")), exitInterrupted, []string{"error: interrupted\n"}},
		{errors.New("first\nsecond"), exitFailed, []string{"error: first; second\n"}},
		{cli.Usagef(sub, "wrong"), exitUsage, []string{"error: wrong\n", "See 'kubectl etcd backup --help'."}},
		{&controlplane.AmbiguousError{Candidates: planes}, exitUsage, []string{"hint: name one: kubectl etcd backup team-a/etcd, kubectl etcd backup team-b/etcd"}},
		{&controlplane.NotFoundError{}, exitUsage, []string{"kubectl etcd list -A"}},
		{&controlplane.NotFoundError{Candidates: planes}, exitUsage, []string{"hint: choose one that there is: kubectl etcd backup team-a/etcd"}},
		{&backup.ErrNoMember{Name: "x", Have: []string{"a", "b"}}, exitUsage, []string{`no member "x"; there are: a, b`}},
		{fmt.Errorf("take snapshot: %w", &backup.ErrOtherMember{Member: "a", Endpoint: "https://lb:2379", Answers: "b"}), exitFailed,
			[]string{"take snapshot: another member answers at https://lb:2379: b instead of a\n", "hint: a load balancer, ", "--endpoint URL --endpoint URL"}},
		{&backup.DifferError{Note: "the note", Majority: true}, exitDiffers, []string{"members hold different data: the note", "hint: the file is good: it holds what most members agree on"}},
		{fmt.Errorf("back up: %w", &backup.DifferError{Note: "the note"}), exitDiffers, []string{"hint: the file is good, but it is one member's word"}},
		{(&site.Shared{Outcome: site.Outcome{Late: []string{"StatefulSet a/b"}}}).Flaw(), 1, []string{"start what was stopped: not ready in time: StatefulSet a/b", "hint: the data is restored; "}},
		{(&site.Shared{Outcome: site.Outcome{Miscounted: "1 pods of 2"}}).Flaw(), exitDiffers, []string{"count objects: the API does not show what the snapshot has: 1 pods of 2", "hint: everything serves; do the API servers "}},
		{(&site.Shared{Outcome: site.Outcome{Differs: "the note"}}).Flaw(), exitDiffers, []string{"compare members: the members' data differs: the note", "hint: everything serves; "}},
		{&reach.NotPossible{Err: &reach.MissingRightsError{Namespace: "n", Missing: []reach.Right{{Verb: "create", Resource: "pods"}}}}, exitFailed,
			[]string{`forbidden in namespace "n": create pods`, "--print-rbac"}},
		{fmt.Errorf("list pods: %w", apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "", errors.New(`User "u" cannot list resource "pods"`))), exitFailed, []string{"--print-rbac"}},
		{apierrors.NewUnauthorized("expired"), exitFailed, []string{"log in to the cluster again"}},
		{&backup.ErrNoSpace{Folder: "/backups", Need: 2 << 30, Have: 1 << 20}, exitFailed, []string{"folder /backups has 1.0 MiB free, the snapshot needs about 2.0 GiB", "--compress=zstd"}},
		{&fs.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}, exitFailed, []string{"free some space"}},
		{fmt.Errorf("create x: %w", store.ErrExists), exitFailed, []string{"--force"}},
		{fmt.Errorf("create x: %w", store.ErrBusy), exitFailed, []string{"wait for it"}},
		{&backup.ErrNoSource{Survey: &survey.Survey{}, Reason: "all down"}, exitFailed, []string{"choose a member: all down", "--raw --member NAME"}},
		{fmt.Errorf("ask: %w", &etcd.Error{Code: 7, Message: "permission denied"}), exitFailed, []string{"role root"}},
		{&site.Stopped{Err: &url.Error{Op: "Get", URL: "https://x", Err: syscall.ECONNREFUSED}, Next: "etcd is down; type this"}, exitFailed, []string{"error: reach the API server: ", "hint: etcd is down; type this\n"}},
		{errors.Join(errInterrupted, &site.Stopped{Err: context.Canceled, Next: "etcd is down; type this"}), exitInterrupted, []string{"error: interrupted\nhint: etcd is down; type this\n"}},
		{fmt.Errorf("wait for the agent: %w", context.DeadlineExceeded), exitFailed, []string{"error: wait for the agent: context deadline exceeded\n"}},
	} {
		var out bytes.Buffer
		a := &app{IOStreams: genericiooptions.IOStreams{ErrOut: &out}, color: "never"}
		if code := a.report(sub, c.err); code != c.code {
			t.Errorf("%v: exit code %d, want %d", c.err, code, c.code)
		}
		for _, w := range c.words {
			if !strings.Contains(out.String(), w) {
				t.Errorf("%v: it says\n%swhich lacks %q", c.err, &out, w)
			}
		}
		if len(c.words) == 0 && out.Len() > 0 {
			t.Errorf("%v: it says %q", c.err, &out)
		}
	}
}

func TestStatusTable(t *testing.T) {
	t.Parallel()
	s := &survey.Survey{Members: []survey.Member{
		{Name: "a", ID: 0xabc, Healthy: true, Leader: true, Quota: 8 << 30, Endpoint: "https://10.0.0.1:2379", Node: "n1",
			Status: &etcd.Status{Version: "3.6.8", DBSize: 2 << 30, DBSizeInUse: 1 << 30, Revision: 42, RaftIndex: 50, RaftTerm: 3, Latency: 1234567 * time.Nanosecond},
			Hash:   &etcd.HashKV{Hash: 0xbeef, Revision: 42}},
		{Name: "b", ID: 0xdef, Healthy: true, Differs: true, Alarms: []string{"NOSPACE", "CORRUPT"}, Status: &etcd.Status{Version: "3.6.8", DBSize: 1 << 30}},
		{Name: "c", ID: 1, Learner: true, Healthy: true, Status: &etcd.Status{}},
		{Name: "d", Status: &etcd.Status{}, Error: "no leader"},
		{Name: "e", Error: "connection refused"},
	}}
	var b bytes.Buffer
	o := &statusOptions{out: cli.Output{Format: "wide", Also: []string{"wide"}}}
	if err := cli.Table(&b, o.head(), o.rows(s)); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	for i, want := range []string{
		"MEMBER ID HEALTH ROLE VERSION DB SIZE IN USE QUOTA REVISION RAFT INDEX LATENCY ALARMS ERRORS ENDPOINT NODE RAFT TERM HASH",
		"a abc healthy leader 3.6.8 2.0 GiB 1.0 GiB 25 % 42 50 1.2ms - - https://10.0.0.1:2379 n1 3 beef@42",
		"b def differs follower 3.6.8 1.0 GiB 0 B 50 % 0 0 - NOSPACE,CORRUPT - - - 0 -",
		"c 1 healthy learner",
		"d - unhealthy follower",
		"e - down - - - - - - - - - connection refused - - - -",
	} {
		if got := strings.Join(strings.Fields(lines[i]), " "); !strings.HasPrefix(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestListTable(t *testing.T) {
	t.Parallel()
	items := []listed{{ImageShell: "no", Volume: "hostPath:/var/lib/etcd", Ready: 1, Version: "3.6.8",
		ControlPlane: controlplane.ControlPlane{Namespace: "kube-system", Name: "etcd", Layout: controlplane.Kubeadm, Owner: controlplane.Owner{Kind: "StaticPod", Name: "etcd"},
			Members: []controlplane.Member{{Node: "n1", Image: "etcd:3.6.8"}, {}}, Notes: []string{"a note"}}}}
	for format, want := range map[string]string{
		"":     "kube-system etcd kubeadm 2 1/2 3.6.8 no hostPath:/var/lib/etcd",
		"wide": "kube-system etcd kubeadm 2 1/2 3.6.8 no hostPath:/var/lib/etcd StaticPod/etcd n1,- etcd:3.6.8 a note",
		"name": "kube-system/etcd",
		"json": `"imageShell": "no"`,
	} {
		var b bytes.Buffer
		o := &listOptions{app: &app{IOStreams: genericiooptions.IOStreams{Out: &b, ErrOut: &b}}, out: cli.Output{Format: format, Also: []string{"wide", "name"}}}
		if err := o.print(items); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(strings.Fields(b.String()), " "); !strings.Contains(got, want) {
			t.Errorf("-o %q: %s", format, &b)
		}
	}
	var b bytes.Buffer
	o := &listOptions{app: &app{IOStreams: genericiooptions.IOStreams{ErrOut: &b}}}
	if err := o.print(nil); err != nil || b.String() != "No etcd found. Look in all namespaces with -A.\n" {
		t.Errorf("%q, %v", &b, err)
	}
}

func TestCleanupTable(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	o := &cleanupOptions{app: &app{IOStreams: genericiooptions.IOStreams{Out: &b, ErrOut: &b}}}
	if err := o.print([]reach.Leftover{{Kind: "Pod", Namespace: "kube-system", Name: "kubectl-etcd-x", Operation: "backup", Member: "etcd-n1", Created: time.Now().Add(-time.Hour), Running: true}}); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(strings.Fields(b.String()), " "); !strings.HasSuffix(got, "kube-system Pod kubectl-etcd-x backup etcd-n1 60m yes") {
		t.Errorf("%s", got)
	}
	b.Reset()
	if err := o.print(nil); err != nil || b.String() != "nothing was left behind\n" {
		t.Errorf("%q, %v", &b, err)
	}
}

// TestAPIServersCertificate: no hint about etcd's certificate when it is the API server's that is wrong.
func TestAPIServersCertificate(t *testing.T) {
	t.Parallel()
	err := errors.New("x509: certificate is valid for a, not b")
	backup, _, ferr := Command().Find([]string{"backup"})
	if ferr != nil {
		t.Fatal(ferr)
	}
	if h := hint.For(backup, fmt.Errorf("dial etcd: %w", err)); !strings.Contains(h, "--server-name") {
		t.Errorf("etcd's: %q", h)
	}
	if h := hint.For(&cobra.Command{}, fmt.Errorf("list pods: %w", &url.Error{Op: "Get", URL: "https://x", Err: err})); h != "" {
		t.Errorf("the API server's: %q", h)
	}
}

// TestPrintable: what others choose, in names and messages, neither reaches the terminal as commands nor forges lines.
func TestPrintable(t *testing.T) {
	t.Parallel()
	const evil = "a\x1b[2J\x1b]0;x\a\r\u009b31m\u202e\tb\xff\x7fü🔥"
	const shown = `a\x1b[2J\x1b]0;x\a\r\u009b31m\u202e\tb\ufffd\x7fü🔥`
	var out, errOut bytes.Buffer
	a := &app{IOStreams: genericiooptions.IOStreams{Out: &out, ErrOut: &errOut}, color: "never", verbose: 1}
	if err := cli.Table(&out, []string{"NAME"}, [][]string{{evil + "\nforged   healthy"}}); err != nil {
		t.Fatal(err)
	}
	if want := "NAME\n" + shown + `\nforged   healthy` + "\n"; out.String() != want {
		t.Errorf("table: got %q, want %q", out.String(), want)
	}
	a.say("%s", evil)
	a.explain("%s", evil)
	a.warn("%s", evil)
	a.report(&cobra.Command{}, errors.New(evil))
	(&reporter{app: a}).Step("member %s", evil+"\nforged")
	want := shown + "\n" + shown + "\nwarning: " + shown + "\nerror: " + shown + "\nmember " + shown + `\nforged` + "\n"
	if errOut.String() != want {
		t.Errorf("got\n%s\nwant\n%s", errOut.String(), want)
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

// TestListNotWritten: names that could not be written are an error, as a table's are.
func TestListNotWritten(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"", "name", "json"} {
		o := &listOptions{app: &app{IOStreams: genericiooptions.IOStreams{Out: fullDisk{}}}, out: cli.Output{Format: format, Also: []string{"name"}}}
		if err := o.print([]listed{{}}); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("-o %q: got %v", format, err)
		}
	}
}
