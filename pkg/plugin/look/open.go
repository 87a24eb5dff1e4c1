package look

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/inside"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plugin/cli"
)

type openOptions struct {
	opening
	app     App
	cmd     *cobra.Command
	command []string
}

func openCommand(a App) *cobra.Command {
	o := &openOptions{app: a}
	cmd := &cobra.Command{
		Use:   "open SNAPSHOT [-- COMMAND [ARG…]]",
		Short: "Open a snapshot for kubectl: a real API server on it, to be read",
		Long: `Start a real etcd and a real API server on a snapshot, so that kubectl can read it: every kind, custom resources too. A COMMAND after -- is run with a KUBECONFIG that leads there, and its exit code is returned. Without one, the path of that kubeconfig is printed, and Ctrl-C ends it all.

Where etcd, etcdutl and kube-apiserver are on the PATH, or named, both run on this machine. Otherwise they run in a utility pod of the cluster that the snapshot is of, with the images that its control plane has on a node: the snapshot is uploaded there, and a port of this machine leads to it (--in).

Both are for you alone, with a certificate and a token made for this one time; they run on a copy, and nothing that they had is left behind. They can be read only: kubectl delete is refused there. They ask nobody else: no webhook, no aggregated API, no kubelet.

What is encrypted at rest takes the API servers' EncryptionConfiguration too; without it everything else can be read.

SNAPSHOT is what verify takes: a file, a URL in a store, PLACE/latest; compressed or encrypted.

Exit codes:
  0    ended by Ctrl-C or --keep; or that of COMMAND
  1    failed
  2    usage
  130  interrupted before it was open; nothing was left behind`,
		Example: `  # What did the namespace shop have?
  kubectl etcd open backup.db -- kubectl -n shop get deployments,configmaps

  # Look around: prints a KUBECONFIG for another terminal
  kubectl etcd open s3://backups/prod/latest --identity key.txt

  # Without any program here: in a pod, with the images of a hosted control plane
  kubectl etcd open backup.db --in=pod --target team-a/kube-etcd -- kubectl get namespaces

  # Secrets that are encrypted at rest
  kubectl etcd open backup.db --encryption-config encryption.yaml -- kubectl get secret -n shop db -o yaml`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.parse(cmd, args); err != nil {
				return err
			}
			defer o.close()
			return o.run(cmd.Context(), args[0])
		},
	}
	o.add(cmd)
	cmd.Flags().DurationVar(&o.keep, "keep", 0, "End it after this time (default: with Ctrl-C)")
	return cmd
}

func (o *openOptions) parse(cmd *cobra.Command, args []string) error {
	o.cmd = cmd
	dash := cmd.ArgsLenAtDash()
	if dash >= 0 {
		o.command, args = args[dash:], args[:dash]
	}
	switch {
	case len(args) == 0:
		return cli.Usagef(cmd, "name a snapshot")
	case len(args) > 1:
		return cli.Usagef(cmd, "one snapshot, not %d; put -- before a command", len(args))
	case dash >= 0 && len(o.command) == 0:
		return cli.Usagef(cmd, "name a command after --")
	case o.keep < 0:
		return cli.Usagef(cmd, "--keep is a time to come")
	case len(o.command) > 0 && o.keep > 0:
		return cli.Usagef(cmd, "a command ends when it is done: leave out --keep")
	}
	if len(o.command) > 0 {
		if _, err := exec.LookPath(o.command[0]); err != nil {
			return fmt.Errorf("run %s: %w", o.command[0], err)
		}
	}
	return nil
}

func (o *openOptions) run(ctx context.Context, text string) error {
	return o.with(ctx, o.cmd, o.app, text, o.use)
}

// use runs the command, or waits until it is ended.
func (o *openOptions) use(ctx context.Context, s *inside.Server) error {
	if len(o.command) > 0 {
		return o.runCommand(ctx, s)
	}
	o.app.Say("in another terminal, use kubectl with this; Ctrl-C here ends it:")
	if _, err := fmt.Fprintf(o.app.Out(), "export KUBECONFIG=%s KUBECACHEDIR=%s\n", quoted(s.Kubeconfig), quoted(s.CacheDir())); err != nil {
		return fmt.Errorf("print result: %w", err)
	}
	if o.keep > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.keep)
		defer cancel()
	}
	<-ctx.Done()
	return nil
}

// runCommand runs the command beside both, and returns its exit code.
func (o *openOptions) runCommand(ctx context.Context, s *inside.Server) error {
	cmd := exec.CommandContext(ctx, o.command[0], o.command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = o.app.In(), o.app.Out(), o.app.ErrOut()
	cmd.Env = append(os.Environ(), "KUBECONFIG="+s.Kubeconfig, "KUBECACHEDIR="+s.CacheDir())
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &exit) && exit.ExitCode() > 0:
		return cli.ExitCode(exit.ExitCode())
	}
	return fmt.Errorf("run %s: %w", o.command[0], err)
}

// quoted is a word of a shell.
func quoted(s string) string {
	if !strings.ContainsAny(s, " '\"$`\\&;()<>|*?[]{}#~!\n\t") {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
