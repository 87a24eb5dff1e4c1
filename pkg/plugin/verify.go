package plugin

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/rehearse"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify"
)

type verifyOptions struct {
	app       *app
	cmd       *cobra.Command
	out       output
	file      string
	opts      verify.Options
	rehearse  string
	target    string
	etcd      string
	etcdutl   string
	imageTime time.Duration
}

// verified is what verify prints as JSON.
type verified struct {
	*verify.Report
	Rehearsal *rehearse.Result `json:"rehearsal,omitempty"`
}

func (a *app) verifyCommand() *cobra.Command {
	o := &verifyOptions{app: a}
	cmd := &cobra.Command{
		Use:   "verify FILE",
		Short: "Prove a snapshot file: trailer, structure, every key, and a rehearsed restore",
		Long: `Read a snapshot from end to end without trusting a byte of it: compression, etcd's sha256 trailer, the pages of the database, every key, and what the .json beside it says.

With --rehearse it is also restored into a temporary folder, and a real etcd is started on it and asked for its revision, hash and number of keys: with etcd and etcdutl from the PATH (local), or in a utility pod with the image of the cluster's etcd (pod), for which the snapshot, all Secrets in it, is uploaded into that cluster. auto takes the PATH where it has them, and otherwise the pod, but only in the cluster that the snapshot is of.

Exit codes:
  0    the snapshot is good
  1    it is not, or that cannot be proven
  2    usage
  130  interrupted; no pod was left behind`,
		Example: `  # Is this file good?
  kubectl etcd verify prod_kube-system_etcd_20260102T150405Z.db

  # Does an etcd start on it, and how long does a restore take?
  kubectl etcd verify backup.db --rehearse

  # The same with the etcd image of a hosted control plane
  kubectl etcd verify backup.db --rehearse=pod --target team-a/kube-etcd`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.cmd, o.file = cmd, args[0]
			if err := o.validate(); err != nil {
				return err
			}
			return o.run(cmd.Context())
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.opts.Raw, "raw", false, "Accept a database that cannot be proven: a copy of member/snap/db, which has no trailer, or a snapshot that another program has written to")
	f.BoolVar(&o.opts.NoSidecar, "no-sidecar", false, "Do not compare with the .json beside the file")
	f.StringVar(&o.opts.TempDir, "temp-dir", "", "Folder for unpacking and for --rehearse=local (default: the file's, or the system's where that cannot be written)")
	f.StringVar(&o.rehearse, "rehearse", "no", "Restore it and start an etcd on it: auto, local or pod")
	f.Lookup("rehearse").NoOptDefVal = "auto"
	f.StringVar(&o.target, "target", "", "With --rehearse=pod: control plane whose node and etcd image to use (default: the cluster's own)")
	f.StringVar(&o.etcd, "etcd", "", "With --rehearse=local: path of etcd (default: from the PATH)")
	f.StringVar(&o.etcdutl, "etcdutl", "", "With --rehearse=local: path of etcdutl (default: from the PATH)")
	f.DurationVar(&o.imageTime, "pod-timeout", 90*time.Second, "Give up on a utility pod that does not start")
	o.out.addFlag(cmd)
	_ = cmd.RegisterFlagCompletionFunc("rehearse", cobra.FixedCompletions([]string{"auto", "local", "pod"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (o *verifyOptions) validate() error {
	switch o.rehearse {
	case "no", "auto", "local", "pod":
	default:
		return usagef(o.cmd, "unknown rehearsal --rehearse=%s; there are: auto, local, pod", o.rehearse)
	}
	if o.target != "" && o.rehearse != "pod" && o.rehearse != "auto" {
		return usagef(o.cmd, "--target goes with --rehearse=pod")
	}
	if (o.etcd != "" || o.etcdutl != "") && o.rehearse != "local" && o.rehearse != "auto" {
		return usagef(o.cmd, "--etcd and --etcdutl go with --rehearse=local")
	}
	return o.out.validate(o.cmd)
}

func (o *verifyOptions) run(ctx context.Context) error {
	bar := &reporter{app: o.app}
	o.opts.Progress = func(p verify.Progress) { bar.Progress(p.Done, p.Total, -1) }
	report, err := verify.File(ctx, o.file, o.opts)
	bar.Done()
	if err != nil {
		return err
	}
	v := verified{Report: report}
	if o.rehearse != "no" {
		if v.Rehearsal, err = o.rehearsal(ctx, report); err != nil {
			return err
		}
	}
	if o.out.data() {
		return o.out.print(o.app.Out, v)
	}
	return o.print(v)
}

// rehearsal rehearses where the programs are.
func (o *verifyOptions) rehearsal(ctx context.Context, report *verify.Report) (*rehearse.Result, error) {
	local := o.rehearse == "local" || o.etcd != "" || o.etcdutl != ""
	if o.rehearse == "auto" && !local {
		_, e1 := exec.LookPath("etcd")
		_, e2 := exec.LookPath("etcdutl")
		local = e1 == nil && e2 == nil
		o.app.explain("etcd and etcdutl on the PATH: %t", local)
	}
	step := func(s string) { o.app.say("rehearsing: %s", s) }
	if local {
		return rehearse.Run(ctx, rehearse.Config{Snapshot: o.file, Raw: report.Raw, Etcd: o.etcd, Etcdutl: o.etcdutl, Dir: o.opts.TempDir, Report: report, Progress: step})
	}
	if o.rehearse == "auto" {
		if err := o.mayUpload(ctx, report); err != nil {
			return nil, err
		}
	}
	return o.inPod(ctx, report, step)
}

// mayUpload refuses to send a whole snapshot where nobody said it should go: unasked, it goes only into the cluster that
// it is of, beside the etcd that holds the same Secrets. What is wrong is an ErrNoBinary, since the way out is the same.
func (o *verifyOptions) mayUpload(ctx context.Context, report *verify.Report) error {
	refuse := func(format string, args ...any) error {
		return fmt.Errorf("%w: etcd and etcdutl are not both on the PATH, and --rehearse=auto uploads a snapshot only into the cluster that it is of: %s",
			rehearse.ErrNoBinary, fmt.Sprintf(format, args...))
	}
	switch {
	case o.target != "" || o.app.namespace() != "":
		return refuse("--target or -n name another etcd")
	case report.KubeSystemUID == "":
		return refuse("this one does not tell, having no kube-system namespace or an encrypted one")
	}
	c, _, err := o.app.connect()
	if err != nil {
		return refuse("%v", err)
	}
	ns, err := c.Core.Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return refuse("%v", err)
	case string(ns.UID) != report.KubeSystemUID:
		return refuse("its kube-system has the UID %s, that of the context %q has %s", report.KubeSystemUID, o.app.contextName(), ns.UID)
	}
	o.app.say("etcd and etcdutl are not both on the PATH; the snapshot is uploaded into the cluster that it is of (context %q)", o.app.contextName())
	return nil
}

func (o *verifyOptions) inPod(ctx context.Context, report *verify.Report, step func(string)) (*rehearse.Result, error) {
	c, plane, err := o.app.resolve(ctx, o.target)
	if err != nil {
		return nil, fmt.Errorf("find an etcd image to rehearse with: %w", err)
	}
	if len(plane.Members) == 0 {
		return nil, fmt.Errorf("find an etcd image to rehearse with: %s has no members", plane.ID())
	}
	m := plane.Members[0]
	for _, x := range plane.Members {
		if x.Ready {
			m = x
			break
		}
	}
	f, err := os.Open(o.file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	// The snapshot as it is, unpacked, and restored; then etcd's log besides.
	room := report.Size + 2*report.Plain.Size + 512<<20
	o.app.say("rehearsing on node %s with image %s", m.Node, m.Image)
	return reach.Rehearse(ctx, c, m, reach.Options{StartTimeout: o.imageTime, Log: o.app.explain}, f, report.Size, room, report.Raw, step)
}
