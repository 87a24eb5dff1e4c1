package plugin

import (
	"fmt"
	"os"
	"path/filepath"

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
		Long: `kubectl completes a plugin's arguments by a program kubectl_complete-NAME on the PATH. This prints that script, or with --install writes it to FOLDER (default: the folder of this plugin).

kubectl's own completion has to be set up: see kubectl completion --help.`,
		Example: `  # Beside the plugin
  kubectl etcd completion --install

  # Elsewhere on the PATH
  kubectl etcd completion --install ~/.local/bin`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !install {
				if len(args) > 0 {
					return usagef(cmd, "FOLDER goes with --install")
				}
				_, err := fmt.Fprint(a.Out, completeScript)
				return err
			}
			dir := firstArg(args)
			if dir == "" {
				exe, err := os.Executable()
				if err != nil {
					return fmt.Errorf("find own folder: %w", err)
				}
				dir = filepath.Dir(exe)
			}
			path := filepath.Join(dir, completeName)
			if err := os.WriteFile(path, []byte(completeScript), 0o755); err != nil { //nolint:gosec // a program is for all
				return fmt.Errorf("install completion: %w", err)
			}
			a.say("installed %s", path)
			return nil
		},
	}
	cmd.Flags().BoolVar(&install, "install", false, "Write the script instead of printing it")
	return cmd
}
