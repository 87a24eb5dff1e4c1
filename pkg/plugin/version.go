package plugin

import (
	"fmt"
	"runtime"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plugin/cli"

	"github.com/spf13/cobra"
)

// Version, Commit and Date are set by the linker; Date is the commit's, so that builds are reproducible.
var (
	Version = "dev"
	Commit  = "unknown"
	Date    = "unknown"
)

type versionInfo struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Version    string `json:"version"`
	Commit     string `json:"commit"`
	Date       string `json:"date"`
	GoVersion  string `json:"goVersion"`
	Platform   string `json:"platform"`
}

func (a *app) versionCommand() *cobra.Command {
	var out cli.Output
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  kubectl etcd version -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.Validate(cmd); err != nil {
				return err
			}
			v := versionInfo{"kubectl-etcd.io/v1", "Version", Version, Commit, Date, runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
			if out.Data() {
				return out.Print(a.Out, v)
			}
			_, err := fmt.Fprintf(a.Out, "kubectl-etcd %s (commit %s, %s, %s)\n", v.Version, v.Commit, v.GoVersion, v.Platform)
			return err
		},
	}
	out.AddFlag(cmd)
	return cmd
}
