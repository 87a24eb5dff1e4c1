// Package plugin is the command line of kubectl etcd: flags become typed
// configurations, results become tables or JSON, errors become one line with a
// hint. It is the only package that knows cobra.
package plugin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plugin/backups"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plugin/cli"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plugin/look"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plugin/stores"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/klog/v2"
)

// app is what all commands share.
type app struct {
	genericiooptions.IOStreams
	config  *genericclioptions.ConfigFlags
	color   string
	quiet   bool
	verbose int
	stores  stores.Flags // of places that URLs name
}

// Execute runs the command line and returns the exit code.
func Execute(ctx context.Context, streams genericiooptions.IOStreams, args []string) int {
	klog.SetLogger(klog.Logger{}) // client-go's own log lines are said better by errors
	a := &app{IOStreams: streams, config: genericclioptions.NewConfigFlags(true)}
	root := a.root()
	root.SetArgs(verbosity(args))
	root.SetOut(streams.Out)
	root.SetErr(streams.ErrOut)
	cmd, err := root.ExecuteContextC(ctx)
	if ctx.Err() != nil && err != nil {
		err = errors.Join(errInterrupted, err)
	}
	return a.report(cmd, err)
}

// Command is the command line as it is, for the reference pages that are made from it.
func Command() *cobra.Command {
	return (&app{config: genericclioptions.NewConfigFlags(true)}).root()
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "kubectl-etcd",
		Short: "Back up, prove, inspect and operate the etcd of Kubernetes control planes",
		Long: `Back up, prove, inspect and operate the etcd of Kubernetes control planes, with nothing but a kubeconfig.

No image is pulled and no shell is needed in etcd's image. Every byte is proven from end to end.

` + exitCodes,
		Example: `  # Back up the cluster's own etcd into the current folder
  kubectl etcd backup

  # Back up a hosted control plane
  kubectl etcd backup -n team-a --to /backups/

  # Is it good? Does it start?
  kubectl etcd verify prod_kube-system_etcd_20260102T150405Z.db --rehearse

  # How is it now?
  kubectl etcd status`,
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl etcd"},
		SilenceErrors: true, SilenceUsage: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if !slices.Contains([]string{"auto", "always", "never"}, a.color) {
				return cli.Usagef(cmd, "unknown colour --color=%s; there are: auto, always, never", a.color)
			}
			a.logRequests()
			return nil
		},
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(cmd, args[0])
			}
			return cmd.Help()
		},
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.SuggestionsMinimumDistance = 2
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		if args := cmd.Flags().Args(); cmd == root && len(args) > 0 { // its flags are no wonder
			return unknownCommand(cmd, args[0])
		}
		return cli.Usage(cmd, err)
	})
	f := root.PersistentFlags()
	a.stores.Add(f)
	a.config.AddFlags(f)
	f.StringVar(&a.color, "color", "auto", "Colour: auto, always or never")
	f.BoolVarP(&a.quiet, "quiet", "q", false, "Print results, warnings and errors only")
	f.CountVarP(&a.verbose, "verbose", "v", "Say what is chosen and why; -v 6 also each request to the API server, -v 7 its headers")
	a.completeGlobal(root)
	root.SetUsageTemplate(withoutGlobalFlags(root.UsageTemplate()))
	root.AddCommand(look.Commands(shared{&reporter{app: a}})...)
	root.AddCommand(a.backupCommand(), a.verifyCommand(), a.listCommand(), a.statusCommand(), a.restoreCommand(), backups.Keys(shared{&reporter{app: a}}), a.cleanupCommand(), a.versionCommand(), a.completionCommand(), optionsCommand())
	tellUsage(root.Commands())
	return root
}

func unknownCommand(cmd *cobra.Command, name string) error {
	err := fmt.Errorf("unknown command %q", name)
	s := cmd.SuggestionsFor(name)
	for _, group := range cmd.Commands() {
		for _, c := range group.Commands() {
			if c.Name() == name {
				s = append(s, group.Name()+" "+name)
			}
		}
	}
	if len(s) > 0 {
		err = fmt.Errorf("unknown command %q; did you mean %s?", name, strings.Join(s, " or "))
	}
	return cli.Usage(cmd, err)
}

// tellUsage makes wrong arguments an error of usage, for every command.
func tellUsage(commands []*cobra.Command) {
	for _, c := range commands {
		if check := c.Args; check != nil {
			c.Args = func(cmd *cobra.Command, args []string) error {
				if err := check(cmd, args); err != nil {
					return cli.Usage(cmd, err)
				}
				return nil
			}
		}
		tellUsage(c.Commands())
	}
}

// contextName is the kubeconfig context in use; empty when there is none.
func (a *app) contextName() string {
	if c := *a.config.Context; c != "" {
		return c
	}
	raw, err := a.config.ToRawKubeConfigLoader().RawConfig()
	if err != nil {
		return ""
	}
	return raw.CurrentContext
}

// namespace is what -n says; empty when it was not given. The namespace of the
// kubeconfig's context is not taken: etcd is not where one's applications are.
func (a *app) namespace() string { return *a.config.Namespace }

// say prints a line for people on stderr.
func (a *app) say(format string, args ...any) {
	if !a.quiet {
		fmt.Fprintln(a.ErrOut, cli.PrintableLines(fmt.Sprintf(format, args...)))
	}
}

// explain prints what -v asks for.
func (a *app) explain(format string, args ...any) {
	if a.verbose > 0 {
		fmt.Fprintln(a.ErrOut, cli.PrintableLines(fmt.Sprintf(format, args...)))
	}
}

func (a *app) warn(format string, args ...any) {
	fmt.Fprintln(a.ErrOut, a.paint("33", "warning:")+" "+cli.Printable(strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", "; ")))
}

// paint colours s, if standard error is for people who want that.
func (a *app) paint(code, s string) string {
	on := a.color == "always" || a.color == "auto" && os.Getenv("NO_COLOR") == "" && cli.Draws(a.ErrOut)
	if !on {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}
