package plugin

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plugin/cli"

	"github.com/spf13/cobra"
)

// completeScript is what kubectl runs to complete a plugin's arguments.
const completeScript = `#!/usr/bin/env sh
# Completion of "kubectl etcd": kubectl runs this when it is on the PATH.
exec kubectl etcd __complete "$@"
`

const completeName = "kubectl_complete-etcd"

func (a *app) completionCommand() *cobra.Command {
	var install bool
	cmd := &cobra.Command{
		Use:   "completion [FOLDER]",
		Short: "Print or install the script by which kubectl completes this plugin",
		Long: `kubectl completes a plugin's arguments by a program kubectl_complete-NAME on the PATH. This prints that script, or with --install writes it to FOLDER (default: the folder on the PATH in which this plugin is found).

kubectl's own completion has to be set up: see kubectl completion --help.`,
		Example: `  # Beside the plugin
  kubectl etcd completion --install

  # Elsewhere on the PATH
  kubectl etcd completion --install ~/.local/bin`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !install {
				if len(args) > 0 {
					return cli.Usagef(cmd, "FOLDER goes with --install")
				}
				_, err := fmt.Fprint(a.Out, completeScript)
				return err
			}
			return a.installCompletion(firstArg(args))
		},
	}
	cmd.Flags().BoolVar(&install, "install", false, "Write the script instead of printing it")
	return cmd
}

// installCompletion writes the script to dir, or where this plugin was found. kubectl looks on the PATH only.
func (a *app) installCompletion(dir string) error {
	asked := dir != ""
	if !asked {
		var err error
		if dir, err = calledIn(os.Args[0]); err != nil {
			return fmt.Errorf("find own folder: %w", err)
		}
	}
	found := onPath(dir)
	if !found && !asked {
		return &notOnPath{dir}
	}
	path := filepath.Join(dir, completeName)
	if err := os.WriteFile(path, []byte(completeScript), 0o755); err != nil { //nolint:gosec // a program is for all
		return fmt.Errorf("install completion: %w", err)
	}
	a.say("installed %s", path)
	if !found {
		a.warn("%v: kubectl does not find it there; %s", &notOnPath{dir}, (&notOnPath{dir}).Hint())
	}
	return nil
}

// calledIn is the folder of the name by which a program was called. Package managers (krew) put a link there, and the
// program itself where nobody looks for others.
func calledIn(arg0 string) (string, error) {
	name, err := exec.LookPath(arg0)
	if err != nil {
		return "", err
	}
	name, err = filepath.Abs(name)
	return filepath.Dir(name), err
}

func onPath(dir string) bool {
	at, err := os.Stat(dir)
	return err != nil || slices.ContainsFunc(filepath.SplitList(os.Getenv("PATH")), func(p string) bool { // a folder that is not there is the next error
		info, err := os.Stat(p)
		return err == nil && os.SameFile(at, info)
	})
}

// notOnPath says that kubectl would not find a program in a folder.
type notOnPath struct{ dir string }

func (e *notOnPath) Error() string { return "install completion: " + e.dir + " is not on the PATH" }

func (e *notOnPath) Hint() string {
	if abs, err := filepath.Abs(e.dir); err == nil {
		e.dir = abs
	}
	return fmt.Sprintf(`add it: export PATH="%s:$PATH"; or name a folder that is: kubectl etcd completion --install FOLDER`, e.dir)
}
