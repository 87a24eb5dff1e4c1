// Package look are the commands that look into a snapshot: open, diff, extract, space; and restore objects.
package look

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/rest"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/inside"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/objects"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plugin/cli"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plugin/stores"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/stored"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify"
)

// App is what the command line gives to its commands.
type App interface {
	stores.Terminal
	In() io.Reader
	Out() io.Writer
	ErrOut() io.Writer
	Stores() *stores.Flags
	Say(format string, args ...any)
	Warn(format string, args ...any)
	// Cluster is how the API server is reached that the kubeconfig names.
	Cluster() (*rest.Config, error)
	Confirm(ctx context.Context, question, unchanged string) error
	Asks() bool
	// SameCluster says why the cluster of the kubeconfig is not the one that a snapshot is of; nil: it is.
	SameCluster(ctx context.Context, r *verify.Report) error
	// Plane is the control plane that a target names.
	Plane(ctx context.Context, target string) (*reach.Clients, controlplane.ControlPlane, error)
}

// Commands are all of them.
func Commands(a App) []*cobra.Command {
	return []*cobra.Command{openCommand(a), diffCommand(a), extractCommand(a), spaceCommand(a)}
}

const exitCodes = `Exit codes:
  0    done
  1    failed
  2    usage
  130  interrupted; nothing was left behind`

// podTimeout is how long a utility pod may take to start, by default.
const podTimeout = 90 * time.Second

// reading are the flags of every command that reads a snapshot, wherever it is.
type reading struct {
	stores.Reading
	opts verify.Options
	from *stored.Snapshot // what was brought here; nil: it is a file
}

func (r *reading) add(cmd *cobra.Command) {
	r.Add(cmd)
	f := cmd.Flags()
	f.BoolVar(&r.opts.Raw, "raw", false, "Accept a database that cannot be proven: a copy of member/snap/db, which has no trailer")
	f.StringVar(&r.opts.TempDir, "temp-dir", "", "Folder for what is unpacked (default: the snapshot's, or the system's where that cannot be written)")
}

// prove brings a snapshot here and reads it from end to end.
func (r *reading) prove(ctx context.Context, cmd *cobra.Command, a App, text string) (*verify.Report, error) {
	defer a.Done()
	r.opts.Progress = func(p verify.Progress) { a.Progress(p.Done, p.Total, -1) }
	if !stores.Elsewhere(text) {
		return verify.File(ctx, text, r.opts)
	}
	var err error
	if r.from, err = r.Fetch(ctx, cmd, a.Stores(), text, nil, a); err != nil {
		return nil, err
	}
	return verify.Opened(ctx, r.from.File, r.from.URL, r.from.Sidecar, r.opts)
}

// path is where the proven snapshot can be opened again.
func (r *reading) path(text string) (string, error) {
	if r.from == nil {
		return text, nil
	}
	path, ok := r.from.Path()
	if !ok {
		return "", &inside.Error{Reason: "open " + r.from.URL + ": this system cannot open a file without a name again", Way: "copy it to a folder first: kubectl etcd backup copy " + r.from.URL + " FOLDER"}
	}
	return path, nil
}

func (r *reading) close() {
	if r.from != nil {
		_ = r.from.Close()
	}
}

// opening are the flags of every command that opens a snapshot.
type opening struct {
	reading
	config  inside.Config
	in      string // auto, local or pod
	target  string
	podTime time.Duration
	keep    time.Duration // how long it is open; 0: until it is ended
}

func (o *opening) add(cmd *cobra.Command) {
	o.reading.add(cmd)
	f := cmd.Flags()
	f.StringVar(&o.config.Etcd.Etcd, "etcd", "", "Path of etcd (default: from the PATH)")
	f.StringVar(&o.config.Etcd.Etcdutl, "etcdutl", "", "Path of etcdutl (default: from the PATH)")
	f.StringVar(&o.config.APIServer, "kube-apiserver", "", "Path of kube-apiserver (default: from the PATH)")
	f.StringVar(&o.config.Prefix, "etcd-prefix", "", "What the keys of the control plane start with, where the snapshot holds several")
	f.StringVar(&o.config.EncryptionConfig, "encryption-config", "", "File of the API servers' EncryptionConfiguration")
	f.StringVar(&o.in, "in", "auto", "Where etcd and the API server run: local, pod (a utility pod of the cluster, with its images), or auto: local where the programs are, else a pod of the cluster that the snapshot is of")
	f.StringVar(&o.target, "target", "", "With --in=pod: control plane whose node and images to use (default: the cluster's own)")
	f.DurationVar(&o.podTime, "pod-timeout", podTimeout, "Give up on a utility pod that does not start")
	_ = cmd.RegisterFlagCompletionFunc("in", cobra.FixedCompletions([]string{"auto", "local", "pod"}, cobra.ShellCompDirectiveNoFileComp))
}

// validate refuses flags that do not go together.
func (o *opening) validate(cmd *cobra.Command) error {
	switch {
	case o.in != "auto" && o.in != "local" && o.in != "pod":
		return cli.Usagef(cmd, "unknown place --in=%s; there are: auto, local, pod", o.in)
	case o.in == "pod" && o.named():
		return cli.Usagef(cmd, "--etcd, --etcdutl and --kube-apiserver go with --in=local")
	case o.in != "pod" && o.target != "":
		return cli.Usagef(cmd, "--target goes with --in=pod")
	}
	if o.config.EncryptionConfig == "" {
		return nil
	}
	if _, err := os.Stat(o.config.EncryptionConfig); err != nil {
		return fmt.Errorf("read --encryption-config: %w", err)
	}
	return nil
}

// named tells whether programs of this machine were named.
func (o *opening) named() bool {
	return o.config.Etcd.Etcd != "" || o.config.Etcd.Etcdutl != "" || o.config.APIServer != ""
}

// place chooses where it is opened: the bench stays nil for this machine.
func (o *opening) place(ctx context.Context, a App, report *verify.Report) error {
	if o.in == "local" || o.in == "auto" && (o.named() || cli.HasPrograms("etcd", "etcdutl", "kube-apiserver")) {
		return nil
	}
	if o.in == "auto" {
		if err := a.SameCluster(ctx, report); err != nil {
			return &inside.Error{Reason: "open snapshot: etcd, etcdutl and kube-apiserver are not all on the PATH, and --in=auto uploads a snapshot only into the cluster that it is of", Cause: err, Way: "put the programs on the PATH, name them, or name the cluster and the control plane whose images to use: --in=pod --target NAMESPACE/NAME"}
		}
		a.Say("the programs are not all on the PATH; the snapshot is uploaded into the cluster that it is of")
	}
	clients, plane, err := a.Plane(ctx, o.target)
	if err != nil {
		return fmt.Errorf("find images to open a snapshot with: %w", err)
	}
	m, server, err := inside.ChooseBench(plane)
	if err != nil {
		return err
	}
	if server.Node != m.Node {
		a.Warn("no API server runs on node %s, which may have to pull %s", m.Node, server.Image)
	}
	// Its programs end with their client, and the pod five minutes later: the deadline is for what is looked at for long.
	opts := reach.Options{StartTimeout: o.podTime, Lifetime: o.keep + 24*time.Hour, Log: a.Explain, Warn: a.Warn}
	o.config.Bench = &inside.Bench{Clients: clients, Member: m, APIServer: server, Options: opts}
	return nil
}

// with opens a snapshot and has it used. Its ctx ends also when what is open has ended by itself, and the error says why.
func (o *opening) with(ctx context.Context, cmd *cobra.Command, a App, text string, use func(context.Context, *inside.Server) error) error {
	s, err := o.open(ctx, cmd, a, text)
	if err != nil {
		return err
	}
	defer shut(a, s)
	while, end := context.WithCancelCause(ctx)
	defer end(nil)
	ended := make(chan error, 1)
	go func() {
		err := s.Wait(while)
		if err != nil {
			end(err)
		}
		ended <- err
	}()
	err = use(while, s)
	end(nil)
	if why := <-ended; why != nil {
		return why
	}
	return err
}

// open proves a snapshot and starts a real API server on it.
func (o *opening) open(ctx context.Context, cmd *cobra.Command, a App, text string) (*inside.Server, error) {
	if err := o.validate(cmd); err != nil {
		return nil, err
	}
	a.Say("proving: reading every page and key")
	report, err := o.prove(ctx, cmd, a, text)
	if err != nil {
		return nil, err
	}
	o.config.Etcd.Report, o.config.Etcd.Dir, o.config.Etcd.Raw = report, o.opts.TempDir, report.Raw
	if o.config.Etcd.Snapshot, err = o.path(text); err != nil {
		return nil, err
	}
	if o.from != nil && o.config.Etcd.Dir == "" {
		o.config.Etcd.Dir = os.TempDir() // it has no folder of its own
	}
	o.config.Etcd.Progress = func(step string) { a.Done(); a.Explain("starting: %s", step) }
	o.config.Uploaded = func(done, total int64) { a.Progress(done, total, -1) }
	if o.config.Prefix, err = inside.Prefix(report, o.config.Prefix); err != nil {
		return nil, err // before anything is asked of a cluster
	}
	if err := o.place(ctx, a, report); err != nil {
		return nil, err
	}
	if err := o.plugins(ctx); err != nil {
		return nil, err
	}
	config := o.config // what was saved with this snapshot is not for another
	forget, err := o.savedKeys(ctx, cmd, a, text, report, &config)
	if err != nil {
		return nil, err
	}
	defer forget() // the API server has read them when it is ready
	where := "here"
	if b := o.config.Bench; b != nil {
		where = fmt.Sprintf("in a pod on node %s, with %s and %s", b.Member.Node, b.Member.Image, b.APIServer.Image)
	}
	a.Say("starting etcd and an API server on a copy, %s: %s on disk, about %s of memory", where, humanize.IBytes(uint64(report.DBSize)), humanize.IBytes(uint64(inside.Memory(report))))
	s, err := inside.Open(ctx, config)
	if err != nil {
		return nil, err
	}
	a.Say("open after %.1f s, to be read only: etcd %s, Kubernetes %s, revision %d", s.Start.Seconds(), s.EtcdVersion, s.Version, s.Report.Revision)
	for _, w := range s.Warnings(ctx) {
		a.Warn("%s", w)
	}
	return s, nil
}

// memory bounds what is collected as garbage late: objects are held here, which takes more than the bytes that a backup passes on.
const memory = 1 << 30

// objects connects to what is open.
func (o *opening) objects(ctx context.Context, s *inside.Server) (*objects.Server, error) {
	cfg, err := s.REST()
	if err != nil {
		return nil, err
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memory)
	}
	return objects.Connect(ctx, cfg, objects.Options{Called: "the snapshot", Stored: s.Names, Revision: s.Report.Revision})
}

// cluster connects to the cluster that the kubeconfig names.
func cluster(ctx context.Context, a App) (*objects.Server, error) {
	cfg, err := a.Cluster()
	if err != nil {
		return nil, err
	}
	return objects.Connect(ctx, cfg, objects.Options{Called: "the cluster"})
}

// tellOther says when a snapshot is of another cluster than the one that it is brought to, or compared with.
func tellOther(ctx context.Context, a App, from, to *objects.Server) {
	was, err := from.UID(ctx)
	if err != nil {
		return
	}
	if is, err := to.UID(ctx); err == nil && is != was {
		a.Warn("the snapshot is of another cluster: its kube-system has the UID %s, and that of %s has %s", was, to.Called, is)
	}
}

// selecting are the flags that say which objects are meant.
type selecting struct{ sel objects.Selection }

func (s *selecting) add(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&s.sel.Labels, "selector", "l", "", "Only objects with these labels")
	cmd.Flags().BoolVar(&s.sel.Owned, "owned", false, "Also what controllers have made for others, and make again: ReplicaSets, Pods (a kind that is named is meant whole)")
}

// selected is what is meant: -n, and KIND or KIND/NAME.
func (s *selecting) selected(cmd *cobra.Command, names []string) (err error) {
	s.sel.Names = names
	if s.sel.Namespace, err = cmd.Flags().GetString("namespace"); err != nil {
		return err
	}
	if _, err := labels.Parse(s.sel.Labels); err != nil {
		return cli.Usagef(cmd, "read --selector: %w", err)
	}
	return nil
}

// unread notes kinds that cannot be read: the rest goes on, and the command fails in the end.
type unread struct {
	app   App
	kinds []string
}

func (u *unread) tell(what string, err error) {
	u.app.Warn("%s cannot be read: %v", what, err)
	u.kinds = append(u.kinds, what)
}

// err is an error where there are any.
func (u *unread) err(doing string) error {
	if len(u.kinds) == 0 {
		return nil
	}
	return fmt.Errorf("%s: %s could not be read, and the rest was done", doing, strings.Join(u.kinds, ", "))
}

// shut closes what is open. What it leaves behind is said, and the command's own end stays what it is.
func shut(a App, s *inside.Server) {
	if err := s.Close(); err != nil {
		var left *reach.CleanupError
		if errors.As(err, &left) {
			a.Warn("%v: it holds a copy of the cluster; remove it with: kubectl etcd cleanup -A --running", err)
			return
		}
		a.Warn("%v: it holds a copy of the cluster, delete it", err)
	}
}
