package plugin

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plugin/cli"

	"github.com/spf13/cobra"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
)

// wayFlags say how members are reached, as commands that ask etcd and change nothing take it.
type wayFlags struct {
	via       string
	endpoints []string
	files     reach.DirectConfig // its files and names; endpoints are apart
	user      etcdUser
}

func (w *wayFlags) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&w.via, "via", "auto", "How to reach the member: auto, agent, forward, exec or direct")
	f.StringSliceVar(&w.endpoints, "endpoint", nil, "With --via direct: client URL of etcd; repeat it for each member")
	f.StringVar(&w.files.CA, "cacert", "", "File with the CA certificate of etcd's server certificate; for a TARGET, instead of what its pods have")
	f.StringVar(&w.files.Cert, "cert", "", "File with the client certificate; for a TARGET, instead of what its pods have")
	f.StringVar(&w.files.Key, "key", "", "File with the client key")
	f.StringVar(&w.files.ServerName, "server-name", "", "Name to verify in etcd's certificate, instead of the one in its URL")
	w.user.addFlags(cmd)
	_ = cmd.RegisterFlagCompletionFunc("via", cobra.FixedCompletions([]string{"auto", "agent", "forward", "exec", "direct"}, cobra.ShellCompDirectiveNoFileComp))
}

// way is the one to take: an endpoint is reached directly.
func (w *wayFlags) way() reach.Way {
	if len(w.endpoints) > 0 && w.via == string(reach.Auto) {
		return reach.Direct
	}
	return reach.Way(w.via)
}

func (w *wayFlags) validate(cmd *cobra.Command, target string) error {
	way := w.way()
	direct := way == reach.Direct
	files := w.files.CA != "" || w.files.Cert != "" || w.files.Key != ""
	for _, c := range []struct {
		bad bool
		msg string
	}{
		{!slices.Contains(reach.Ways, way), fmt.Sprintf("unknown way --via=%s; there are: auto, agent, forward, exec, direct", w.via)},
		{direct && len(w.endpoints) == 0, "--via=direct needs --endpoint"},
		{!direct && len(w.endpoints) > 0, fmt.Sprintf("--endpoint goes with --via=direct, not with --via=%s", w.via)},
		{(w.files.Cert == "") != (w.files.Key == ""), "--cert and --key go together"},
		{direct && target != "", "a TARGET is found in a cluster; with --via=direct there is none"},
		{way == reach.Exec && files, "--via=exec runs etcdctl with the files in the member's pod; it does not go with --cacert, --cert and --key"},
		{way == reach.Exec && w.files.ServerName != "", "--via=exec runs etcdctl, which cannot be told which name to verify; it does not go with --server-name"},
		{way == reach.Exec && w.user.name != "", "--via=exec would put etcd's password into a command line; it does not go with --etcd-user"},
	} {
		if c.bad {
			return cli.Usagef(cmd, "%s", c.msg)
		}
	}
	return w.user.validate(cmd)
}

// options reads the files that are here, and puts into o what they and the flags say.
func (w *wayFlags) options(o *reach.Options) (err error) {
	o.ServerName = w.files.ServerName
	if o.Username, o.Password, err = w.user.read(); err != nil {
		return err
	}
	if w.way() != reach.Direct && (w.files.CA != "" || w.files.Cert != "") {
		o.TLS, err = etcd.ReadTLS(w.files.CA, w.files.Cert, w.files.Key)
	}
	return err
}

// direct makes a control plane of the endpoints.
func (w *wayFlags) direct(cmd *cobra.Command, o reach.Options) (controlplane.ControlPlane, []reach.DirectConfig, error) {
	p := controlplane.ControlPlane{Layout: controlplane.External}
	var configs []reach.DirectConfig
	for _, e := range w.endpoints {
		u, err := url.Parse(e)
		unix := err == nil && (u.Scheme == "unix" || u.Scheme == "unixs") && u.Path != ""
		if !unix && (err != nil || u.Host == "") {
			return p, nil, cli.Usagef(cmd, "endpoint %q is not a URL like https://10.0.0.1:2379", e)
		}
		if slices.ContainsFunc(p.Members, func(m controlplane.Member) bool { return m.Endpoint == e }) {
			return p, nil, cli.Usagef(cmd, "--endpoint %s is given twice", e)
		}
		d := w.files
		d.Endpoint, d.Username, d.Password = e, o.Username, o.Password
		configs = append(configs, d)
		p.Members = append(p.Members, controlplane.Member{Name: cmp.Or(u.Host, e), Endpoint: e})
		if p.Name == "" {
			p.Name = cmp.Or(u.Hostname(), "localhost")
		}
	}
	return p, configs, nil
}
