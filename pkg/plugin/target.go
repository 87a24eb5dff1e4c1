package plugin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	appsv1client "k8s.io/client-go/kubernetes/typed/apps/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plugin/hint"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
)

// callTimeout bounds one call to the API server where --request-timeout does
// not: a server whose etcd hangs accepts connections and answers nothing.
const callTimeout = 30 * time.Second

// restConfig is how the cluster is reached that the flags name.
func (a *app) restConfig() (*rest.Config, error) {
	cfg, err := a.config.ToRESTConfig()
	if clientcmd.IsEmptyConfig(err) || err == nil && a.noCluster(cfg.Host) {
		err = hint.ErrNoKubeconfig
	}
	if err != nil {
		return nil, fmt.Errorf("load kubeconfig: %w", err)
	}
	// Client-side throttling would only slow down a survey; the server has its own.
	cfg.QPS = -1
	cfg.WarningHandler = nil
	if cfg.Timeout == 0 {
		cfg.Timeout = callTimeout
	}
	return cfg, nil
}

// connect makes the clients of that cluster.
func (a *app) connect() (*reach.Clients, controlplane.Client, error) {
	cfg, err := a.restConfig()
	if err != nil {
		return nil, controlplane.Client{}, err
	}
	c, err := reach.NewClients(cfg)
	if err != nil {
		return nil, controlplane.Client{}, err
	}
	apps, err := appsv1client.NewForConfig(cfg)
	if err != nil {
		return nil, controlplane.Client{}, fmt.Errorf("make apps client: %w", err)
	}
	return c, controlplane.Client{Core: c.Core, Apps: apps}, nil
}

// noCluster tells whether host is what client-go makes up where nothing names a
// cluster. A refused connection to it would say nothing to anybody.
func (a *app) noCluster(host string) bool {
	raw, err := a.config.ToRawKubeConfigLoader().RawConfig()
	return err == nil && len(raw.Clusters) == 0 && *a.config.APIServer == "" && os.Getenv("KUBERNETES_MASTER") == "" && strings.HasPrefix(host, "http://localhost")
}

// resolve finds the control plane that the user means: the cluster's own
// without a target, another by -n NS, NAME or NS/NAME.
func (a *app) resolve(ctx context.Context, target string) (*reach.Clients, controlplane.ControlPlane, error) {
	return a.resolveIn(ctx, target, a.namespace())
}

// resolveIn looks in one namespace; empty: -n was not given, or says something else.
func (a *app) resolveIn(ctx context.Context, target, namespace string) (*reach.Clients, controlplane.ControlPlane, error) {
	c, cp, err := a.connect()
	if err != nil {
		return nil, controlplane.ControlPlane{}, err
	}
	if ns, _, ok := strings.Cut(target, "/"); ok && namespace != "" && namespace != ns {
		return nil, controlplane.ControlPlane{}, fmt.Errorf("find %s: %w, %s", target, errNamespace, namespace)
	}
	planes, err := find(ctx, cp, target, namespace)
	if err != nil {
		return nil, controlplane.ControlPlane{}, err
	}
	p, err := controlplane.Resolve(planes, target, namespace)
	if err == nil && p.External() {
		err = &externalError{p}
	}
	var none *controlplane.NotFoundError
	if errors.As(err, &none) && len(none.Candidates) == 0 && target == "" && namespace == "" {
		err = elsewhere(ctx, cp, none)
	}
	return c, p, err
}

// find looks only where the target can be, so that rights in one namespace are enough.
func find(ctx context.Context, c controlplane.Client, target, namespace string) ([]controlplane.ControlPlane, error) {
	ns, _, qualified := strings.Cut(target, "/")
	switch {
	case qualified:
		return controlplane.Find(ctx, c, controlplane.Query{Namespace: ns})
	case namespace != "":
		return controlplane.Find(ctx, c, controlplane.Query{Namespace: namespace})
	case target == "":
		return controlplane.FindOwn(ctx, c)
	}
	return controlplane.Find(ctx, c, controlplane.Query{})
}

// completeTargets offers the control planes that can be seen.
func (a *app) completeTargets(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	_, c, err := a.connect()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	planes, err := controlplane.Find(cmd.Context(), c, controlplane.Query{Namespace: a.namespace()})
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var out []string
	for _, p := range planes {
		out = append(out, p.ID()+"\t"+string(p.Layout))
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

func (a *app) completeMembers(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	target := ""
	if len(args) > 0 {
		target = args[0]
	}
	_, p, err := a.resolve(cmd.Context(), target)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var out []string
	for _, m := range p.Members {
		out = append(out, m.Name)
	}
	slices.Sort(out)
	return out, cobra.ShellCompDirectiveNoFileComp
}

func firstArg(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}
