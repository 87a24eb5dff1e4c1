package plugin

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plugin/cli"
)

// etcdUser is a user of etcd's own authentication, as commands that ask etcd take it. The password is in a file: command
// lines can be read by everyone on the machine.
type etcdUser struct{ name, passwordFile string }

func (u *etcdUser) addFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&u.name, "etcd-user", "", "User of etcd's own authentication; it needs the root role")
	cmd.Flags().StringVar(&u.passwordFile, "etcd-password-file", "", "File with that user's password")
}

func (u *etcdUser) validate(cmd *cobra.Command) error {
	if (u.name == "") != (u.passwordFile == "") {
		return cli.Usagef(cmd, "--etcd-user and --etcd-password-file go together")
	}
	return nil
}

// read returns name and password; both are empty where no user was given.
func (u *etcdUser) read() (name, password string, err error) {
	if u.name == "" {
		return "", "", nil
	}
	b, err := os.ReadFile(u.passwordFile)
	if err != nil {
		return "", "", fmt.Errorf("read password: %w", err)
	}
	return u.name, strings.TrimRight(string(b), "\r\n"), nil
}
