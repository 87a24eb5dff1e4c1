package plugin

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// optionsCommand lists the flags that all commands have, as kubectl's does: under each command they would be most of its help.
func optionsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "options",
		Short: "List the flags that all commands have",
		Example: `  # Which flags are there besides a command's own?
  kubectl etcd options`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "The following options can be passed to any command:\n\n%s", cmd.Root().PersistentFlags().FlagUsages())
			return err
		},
	}
}

// withoutGlobalFlags is cobra's template for a command's usage, with a pointer to them instead of the global flags.
func withoutGlobalFlags(template string) string {
	const global = `{{if .HasAvailableInheritedFlags}}

Global Flags:
{{.InheritedFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}`
	template = strings.Replace(template, global, "", 1)
	template = strings.Replace(template, "{{if .HasAvailableLocalFlags}}", "{{if and .HasParent .HasAvailableLocalFlags}}", 1)
	return strings.TrimRight(template, "\n") + "\n\nUse \"kubectl etcd options\" for a list of global command-line options (applies to all commands).\n"
}
