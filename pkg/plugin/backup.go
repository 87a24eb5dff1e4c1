package plugin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plugin/backups"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plugin/cli"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plugin/stores"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/kubectl-etcd/kubectl-etcd/manifests"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/backup"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
)

// maxTimeout is also how long a utility pod may live.
const maxTimeout = 7 * 24 * time.Hour

type backupOptions struct {
	app          *app
	cmd          *cobra.Command
	out          cli.Output
	target       string
	cfg          backup.Config
	compress     string
	prove        string
	dryRun       string
	timeout      time.Duration
	startTimeout time.Duration
	printRBAC    bool
	way          wayFlags
	limitRate    string
	sealing      stores.Sealing
}

func (a *app) backupCommand() *cobra.Command {
	o := &backupOptions{app: a}
	cmd := &cobra.Command{
		Use:   "backup [TARGET]",
		Short: "Take a proven snapshot of a control plane's etcd",
		Long: `Take a snapshot of one member, prove every byte of it, and put it into a file here, or into an object store.

All members are asked first. A healthy follower is the source; a member whose data differs from the others' never is.
It appears under its name only when it is complete and proven; beside it a .json says what it holds. In a store its name is made of
control plane and time where --to ends in a slash. See "kubectl etcd backup list", and docs/storage.md.

TARGET is NAMESPACE/NAME of a control plane (see: kubectl etcd list -A). Without it, the cluster's own etcd.

Exit codes:
  0    done
  1    failed; there is no file
  2    usage, or the target is not one control plane
  3    done, but members hold different data
  130  interrupted; no pod was left behind`,
		Example: `  # The cluster's own etcd, into the current folder, with a name made from context, control plane and time
  kubectl etcd backup

  # A hosted control plane, compressed, into a folder
  kubectl etcd backup team-a/kube-etcd --to /backups/ --compress zstd

  # Into a bucket, encrypted; see what is there; remove what need not be kept
  kubectl etcd backup --to s3://backups/prod/ --encrypt-to age1…
  kubectl etcd backup list s3://backups/prod/
  kubectl etcd backup prune s3://backups/prod/ --keep-last 7 --keep-daily 14

  # A member that does not run any more, but its data is there
  kubectl etcd backup --raw --member etcd-node-2

  # Without a cluster: an endpoint this machine reaches
  kubectl etcd backup --via direct --endpoint https://10.0.0.1:2379 --cacert ca.crt --cert client.crt --key client.key`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.completeTargets,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.complete(cmd, args)
			if err := o.validate(); err != nil {
				return err
			}
			return o.run(cmd.Context())
		},
	}
	o.addFlags(cmd)
	cmd.AddCommand(backups.Commands(shared{&reporter{app: a}})...)
	return cmd
}

func (o *backupOptions) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.cfg.To, "to", ".", "Destination: a file, a folder, - for standard output, or s3://, gs://, oss://BUCKET/PREFIX/")
	f.StringVar(&o.cfg.Member, "member", "", "Take this member (its name or pod) instead of a healthy follower")
	f.StringVar(&o.compress, "compress", "auto", "zstd on the wire (auto), nowhere (none), or on the wire and in the file (zstd); with auto a file named .zst is compressed too")
	o.way.addFlags(cmd)
	f.StringVar(&o.prove, "prove", "auto", "stream: length, sha256 and etcd's trailer; full: also read every page and key; auto: full for files")
	f.BoolVar(&o.cfg.Raw, "raw", false, "Copy the database file of a member that does not run; such a copy cannot be proven")
	f.BoolVar(&o.cfg.Force, "force", false, "Replace an existing file")
	f.DurationVar(&o.timeout, "timeout", 2*time.Hour, "Give up after this long")
	f.DurationVar(&o.startTimeout, "pod-timeout", 90*time.Second, "Give up on a utility pod that does not start")
	f.StringVar(&o.dryRun, "dry-run", "none", "none or client: say what would be done, create nothing")
	f.Lookup("dry-run").NoOptDefVal = "client"
	f.BoolVar(&o.printRBAC, "print-rbac", false, "Print the least rights that a backup needs, and do nothing else")
	f.StringVar(&o.limitRate, "limit-rate", "", "Bound the transfer, in bytes on the wire per second: 500Ki, 10Mi")
	f.BoolVar(&o.cfg.WithKeys, "with-keys", false, "Save beside it, encrypted, what decrypts and identifies: PKI, EncryptionConfiguration, manifests; see: kubectl etcd keys")
	f.BoolVar(&o.cfg.Scheduled, "scheduled", false, "Say in the .json that a schedule takes this: pruning counts those apart")
	o.sealing.Add(cmd)
	o.out.AddFlag(cmd, "name")
	for name, values := range map[string][]string{"compress": {"auto", "none", "zstd"}, "prove": {"auto", "stream", "full"}, "dry-run": {"none", "client"}} {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	}
	_ = cmd.RegisterFlagCompletionFunc("member", o.app.completeMembers)
}

func (o *backupOptions) complete(cmd *cobra.Command, args []string) {
	o.cmd, o.target = cmd, firstArg(args)
	o.cfg.Via, o.cfg.Compress, o.cfg.Prove = o.way.way(), backup.Compress(o.compress), backup.Prove(o.prove)
	o.cfg.DryRun = o.dryRun == "client"
	o.cfg.Reach.Lifetime = o.timeout + 5*time.Minute
	o.cfg.Reach.StartTimeout = o.startTimeout
	o.cfg.Reach.Log = o.app.explain
}

func (o *backupOptions) validate() error {
	if err := o.way.validate(o.cmd, o.target); err != nil {
		return err
	}
	direct := o.cfg.Via == reach.Direct
	for _, c := range []struct {
		bad bool
		msg string
	}{
		{!slices.Contains([]string{"auto", "none", "zstd"}, o.compress), fmt.Sprintf("unknown compression --compress=%s; there are: auto, none, zstd", o.compress)},
		{!slices.Contains([]string{"auto", "stream", "full"}, o.prove), fmt.Sprintf("unknown proof --prove=%s; there are: auto, stream, full", o.prove)},
		{!slices.Contains([]string{"none", "client"}, o.dryRun), fmt.Sprintf("unknown dry run --dry-run=%s; there are: none, client", o.dryRun)},
		{direct && o.cfg.WithKeys, "--with-keys reads nodes and Secrets of a cluster; it does not go with --via=direct"},
		{o.cfg.To == store.Stdout && o.cfg.WithKeys, "--with-keys stores two files; it does not go with --to=-"},
		{direct && o.cfg.Raw, "--raw reads a volume in the cluster; it does not go with --via=direct"},
		{o.cfg.Raw && o.cfg.Via != reach.Auto && o.cfg.Via != reach.Agent, "--raw reads the member's volume, so it goes with --via=agent only"},
		{o.cfg.To == "", "--to is empty"},
		{o.cfg.To == store.Stdout && o.out.Format != "", "--to=- writes the snapshot to standard output; it does not go with -o"},
		{o.cfg.To == store.Stdout && o.cfg.Prove == backup.ProveFull, "--prove=full reads a file; it does not go with --to=-"},
		{o.timeout <= 0, "--timeout must be more than 0"},
		{o.timeout > maxTimeout, fmt.Sprintf("--timeout must not be more than %s", maxTimeout)},
		{o.startTimeout <= 0, "--pod-timeout must be more than 0"},
	} {
		if c.bad {
			return cli.Usagef(o.cmd, "%s", c.msg)
		}
	}
	var err error
	if o.cfg.LimitRate, err = parseRate(o.cmd, o.limitRate); err != nil {
		return err
	}
	if o.cfg.To == store.Stdout && !o.cfg.DryRun && !o.printRBAC && cli.IsTerminal(o.app.Out) {
		return cli.Usagef(o.cmd, "will not write a snapshot to a terminal; redirect standard output, or name a file with --to")
	}
	return o.out.Validate(o.cmd)
}

func (o *backupOptions) run(ctx context.Context) error {
	if o.printRBAC {
		return o.app.printRBAC(manifests.RBAC, o.target)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, o.timeout, fmt.Errorf("not done after --timeout=%s", o.timeout))
	defer cancel()
	err := o.way.options(&o.cfg.Reach)
	if err != nil {
		return err
	}
	if o.cfg.Encrypt, err = o.sealing.Recipients(); err != nil {
		return cli.Usage(o.cmd, err)
	}
	if o.cfg.WithKeys && !o.cfg.Encrypt.Any() {
		return cli.Usagef(o.cmd, "--with-keys needs --encrypt-to or --passphrase-file: keys are stored encrypted only")
	}
	if strings.Contains(o.cfg.To, "://") {
		p, err := o.app.stores.Open(ctx, o.cmd, o.cfg.To, o.app.explain)
		if err != nil {
			return err
		}
		o.cfg.Store, o.cfg.To = p.Store, p.Name
	}
	d := backup.Deps{Stdout: o.app.Out, Report: &reporter{app: o.app}, Now: time.Now, Tool: "kubectl-etcd " + Version}
	if o.cfg.Via == reach.Direct {
		o.cfg.Plane, o.cfg.Direct, err = o.way.direct(o.cmd, o.cfg.Reach)
	} else {
		o.cfg.Context = o.app.contextName()
		d.Clients, o.cfg.Plane, err = o.app.resolve(ctx, o.target)
	}
	if err != nil {
		return err
	}
	result, err := backup.Run(ctx, d, o.cfg)
	if cause := context.Cause(ctx); err != nil && cause != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) && !errors.Is(err, cause) {
		err = fmt.Errorf("%w: %w", cause, err)
	}
	if result == nil {
		return err
	}
	if perr := o.print(result); err == nil {
		err = perr
	}
	return err
}

// printRBAC prints rights for the target's namespace.
func (a *app) printRBAC(text, target string) error {
	ns := a.namespace()
	if t, _, ok := strings.Cut(target, "/"); ok {
		ns = t
	}
	if ns != "" {
		text = strings.ReplaceAll(text, "namespace: kube-system", "namespace: "+ns)
	}
	_, err := fmt.Fprint(a.Out, text)
	return err
}

func (o *backupOptions) print(r *backup.Result) error {
	switch {
	case o.out.Data():
		return o.out.Print(o.app.Out, r)
	case r.Plan != nil:
		return o.printPlan(r.Plan)
	case o.out.Format == "name":
		_, err := fmt.Fprintln(o.app.Out, r.File)
		return err
	case r.File == "":
		o.app.say("%s to standard output, sha256 %s", humanize.IBytes(uint64(r.Snapshot.Size)), r.Snapshot.SHA256)
		return nil
	}
	o.app.say("%s", summary(r))
	_, err := fmt.Fprintf(o.app.Out, "%s\n", r.File)
	return err
}

func summary(r *backup.Result) string {
	s := r.Snapshot
	out := fmt.Sprintf("%s of member %s in %.1f s (%s on the wire), proof: %s", humanize.IBytes(uint64(s.Plain.Size)), cli.Printable(s.Source.Member), r.TotalSeconds, humanize.IBytes(uint64(r.WireBytes)), s.Proof)
	if s.Keys != nil {
		out += fmt.Sprintf("\n%d keys beside it: %s", len(s.Keys.Items), r.Keys)
	}
	if s.Content != nil {
		out += fmt.Sprintf("\nrevision %d, %d keys, hash %x, sha256 %s", s.Revision, s.LiveKeys, s.Hash, s.SHA256)
	}
	return out
}

func (o *backupOptions) printPlan(p *backup.Plan) error {
	rows := [][]string{{"target", p.Target}, {"member", p.Member + " (" + p.Why + ")"}, {"node", p.Node}, {"via", string(p.Via)},
		{"file", p.File}, {"size", "about " + humanize.IBytes(uint64(p.Size))}}
	for _, k := range p.Keys {
		rows = append(rows, []string{"keys", k})
	}
	for _, c := range p.Creates {
		rows = append(rows, []string{"creates", c + " (deleted again)"})
	}
	if err := cli.Table(o.app.Out, []string{"WHAT", "VALUE"}, rows); err != nil {
		return err
	}
	_, err := fmt.Fprintln(o.app.Out, "backup not taken (dry run)")
	return err
}

// parseRate reads --limit-rate, in bytes per second; 0 where it is not given.
func parseRate(cmd *cobra.Command, text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	q, err := resource.ParseQuantity(text)
	if err != nil || q.Sign() <= 0 {
		return 0, cli.Usagef(cmd, "--limit-rate=%s is not a number of bytes like 500Ki or 10Mi", text)
	}
	return q.Value(), nil
}
