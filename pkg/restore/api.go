package restore

import (
	"context"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/userapi"
)

// API is how the restored cluster's own API servers are asked.
type API interface {
	// Cached asks one pod of an API server for the revisions of its caches, by kind.
	Cached(ctx context.Context, a userapi.Access, namespace, pod string, port int) (map[string]int64, error)
	// Ready asks it whether it serves.
	Ready(ctx context.Context, a userapi.Access, namespace, pod string, port int) error
	// Objects asks it how many objects of some kinds there were at a revision.
	Objects(ctx context.Context, a userapi.Access, namespace, pod string, port int, rev int64, kinds []string) (map[string]int64, error)
}

// kubeAPI asks those of the cluster that a kubeconfig names.
type kubeAPI struct{ site.Deps }

func (k kubeAPI) Cached(ctx context.Context, a userapi.Access, namespace, pod string, port int) (map[string]int64, error) {
	u, err := userapi.Open(ctx, k.Clients, a, namespace, pod, port)
	if err != nil {
		return nil, err
	}
	defer u.Close()
	return u.Cached(ctx)
}

func (k kubeAPI) Ready(ctx context.Context, a userapi.Access, namespace, pod string, port int) error {
	u, err := userapi.Open(ctx, k.Clients, a, namespace, pod, port)
	if err != nil {
		return err
	}
	defer u.Close()
	return u.Ready(ctx)
}

func (k kubeAPI) Objects(ctx context.Context, a userapi.Access, namespace, pod string, port int, rev int64, kinds []string) (map[string]int64, error) {
	u, err := userapi.Open(ctx, k.Clients, a, namespace, pod, port)
	if err != nil {
		return nil, err
	}
	defer u.Close()
	return u.Count(ctx, rev, kinds)
}
