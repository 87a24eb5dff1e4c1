package plugin

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plugin/hint"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
)

// TestHintsFit: a way out is one that the command takes with the flags in use.
func TestHintsFit(t *testing.T) {
	t.Parallel()
	otherName := fmt.Errorf("ask member m: x509: certificate is valid for a, not b")
	plain := fmt.Errorf("ask member m: does it speak no TLS?")
	wanted := fmt.Errorf("ask member m: etcdserver: user name is empty")
	impossible := fmt.Errorf("reach m: %w", &reach.NotPossible{Err: fmt.Errorf("no")})
	for name, c := range map[string]struct {
		args      []string
		err       error
		says, not string
	}{
		"backup, another name":           {[]string{"backup"}, otherName, "--server-name", ""},
		"restore, another name":          {[]string{"restore"}, otherName, "it has to be renewed", "--"},
		"by exec, another name":          {[]string{"backup", "--via=exec"}, otherName, "not with --via=exec", ""},
		"by exec, a user":                {[]string{"status", "--via=exec"}, wanted, "not with --via=exec", ""},
		"a TARGET without TLS":           {[]string{"status", "--cacert=x"}, plain, "leave out --cacert", "http://"},
		"an endpoint without TLS":        {[]string{"status", "--endpoint=https://a:2379"}, plain, "http://", ""},
		"auto has tried all":             {[]string{"backup"}, impossible, "", "--via"},
		"forward, then another":          {[]string{"backup", "--via=forward"}, impossible, "--via=exec", ""},
		"forward with files, no exec":    {[]string{"backup", "--via=forward", "--cacert=x"}, impossible, "--via=agent", "--via=exec"},
		"raw is by agent only":           {[]string{"backup", "--via=agent", "--raw"}, impossible, "", "--via"},
		"a full disk while it is proven": {[]string{"verify"}, fmt.Errorf("unpack: %w", syscall.ENOSPC), "--temp-dir", "--to"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd, flags, err := Command().Find(c.args)
			if err == nil {
				err = cmd.ParseFlags(flags)
			}
			if err != nil {
				t.Fatal(err)
			}
			got := hint.For(cmd, c.err)
			if !strings.Contains(got, c.says) || c.not != "" && strings.Contains(got, c.not) {
				t.Errorf("%q; want %q, and not %q", got, c.says, c.not)
			}
		})
	}
}
