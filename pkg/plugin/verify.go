package plugin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plugin/cli"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plugin/stores"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/snapshot"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/stored"

	"github.com/spf13/cobra"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/rehearse"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify"
)

type verifyOptions struct {
	reading   stores.Reading
	stored    *stored.Snapshot // what was brought here; nil: it is a file
	app       *app
	cmd       *cobra.Command
	out       cli.Output
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
	o.reading.Add(cmd)
	f.StringVar(&o.target, "target", "", "With --rehearse=pod: control plane whose node and etcd image to use (default: the cluster's own)")
	f.StringVar(&o.etcd, "etcd", "", "With --rehearse=local: path of etcd (default: from the PATH)")
	f.StringVar(&o.etcdutl, "etcdutl", "", "With --rehearse=local: path of etcdutl (default: from the PATH)")
	f.DurationVar(&o.imageTime, "pod-timeout", 90*time.Second, "Give up on a utility pod that does not start")
	o.out.AddFlag(cmd)
	_ = cmd.RegisterFlagCompletionFunc("rehearse", cobra.FixedCompletions([]string{"auto", "local", "pod"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (o *verifyOptions) validate() error {
	switch o.rehearse {
	case "no", "auto", "local", "pod":
	default:
		return cli.Usagef(o.cmd, "unknown rehearsal --rehearse=%s; there are: auto, local, pod", o.rehearse)
	}
	if o.target != "" && o.rehearse != "pod" && o.rehearse != "auto" {
		return cli.Usagef(o.cmd, "--target goes with --rehearse=pod")
	}
	if (o.etcd != "" || o.etcdutl != "") && o.rehearse != "local" && o.rehearse != "auto" {
		return cli.Usagef(o.cmd, "--etcd and --etcdutl go with --rehearse=local")
	}
	return o.out.Validate(o.cmd)
}

func (o *verifyOptions) run(ctx context.Context) error {
	bar := &reporter{app: o.app}
	o.opts.Progress = func(p verify.Progress) { bar.Progress(p.Done, p.Total, -1) }
	report, err := o.verify(ctx, bar)
	bar.Done()
	if o.stored != nil {
		defer func() { _ = o.stored.Close() }()
	}
	if err != nil {
		return err
	}
	v := verified{Report: report}
	if o.rehearse != "no" {
		if v.Rehearsal, err = o.rehearsal(ctx, report); err != nil {
			return err
		}
	}
	if o.out.Data() {
		return o.out.Print(o.app.Out, v)
	}
	return o.print(v)
}

// verify proves what is named; what is not a plain file is brought here first.
func (o *verifyOptions) verify(ctx context.Context, bar *reporter) (_ *verify.Report, err error) {
	if !stores.Elsewhere(o.file) {
		return verify.File(ctx, o.file, o.opts)
	}
	if o.stored, err = o.reading.Fetch(ctx, o.cmd, &o.app.stores, o.file, nil, bar); err != nil {
		return nil, err
	}
	if o.opts.TempDir == "" {
		o.opts.TempDir = os.TempDir()
	}
	sidecar := o.stored.Sidecar
	if o.opts.NoSidecar {
		sidecar = nil
	}
	report, err := verify.Opened(ctx, o.stored.File, o.stored.URL, sidecar, o.opts)
	if err == nil && sidecar != nil {
		report.Sidecar = snapshot.SidecarPath(o.stored.URL)
	}
	if err != nil || o.rehearse == "no" {
		return report, err
	}
	var ok bool
	if o.file, ok = o.stored.Path(); !ok {
		return nil, fmt.Errorf("rehearse %s: this system cannot open a file without a name again; copy it to a folder first", o.stored.URL)
	}
	return report, nil
}

// rehearsal rehearses where the programs are.
func (o *verifyOptions) rehearsal(ctx context.Context, report *verify.Report) (*rehearse.Result, error) {
	local := o.rehearse == "local" || o.etcd != "" || o.etcdutl != ""
	if o.rehearse == "auto" && !local {
		local = cli.HasPrograms("etcd", "etcdutl")
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

// mayUpload refuses to send a snapshot unasked where it is not from. What is wrong is an ErrNoBinary, since the way out is the same.
func (o *verifyOptions) mayUpload(ctx context.Context, report *verify.Report) error {
	err := errors.New("--target or -n name another etcd")
	if o.target == "" && o.app.namespace() == "" {
		err = o.app.sameCluster(ctx, report)
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return fmt.Errorf("%w: etcd and etcdutl are not both on the PATH, and --rehearse=auto uploads a snapshot only into the cluster that it is of: %v", rehearse.ErrNoBinary, err)
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
	o.app.say("rehearsing on node %s with image %s", m.Node, m.Image)
	return reach.Rehearse(ctx, c, m, reach.Options{StartTimeout: o.imageTime, Log: o.app.explain}, f, report.Size, report.Room(), report.Raw, step)
}
