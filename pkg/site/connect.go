package site

import (
	"fmt"

	appsv1client "k8s.io/client-go/kubernetes/typed/apps/v1"
	coordv1client "k8s.io/client-go/kubernetes/typed/coordination/v1"
	policyv1client "k8s.io/client-go/kubernetes/typed/policy/v1"
	restclient "k8s.io/client-go/rest"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/operation"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
)

// Connect adds to d what a restore needs of a cluster. All of it is behind the fence of operations.
func Connect(cfg *restclient.Config, d Deps) (Deps, error) {
	cfg = operation.Fenced(fresh(cfg))
	var err error
	if d.Clients, err = reach.NewClients(cfg); err != nil {
		return d, err
	}
	if d.Apps, err = appsv1client.NewForConfig(cfg); err != nil {
		return d, fmt.Errorf("make apps client: %w", err)
	}
	if d.Policy, err = policyv1client.NewForConfig(cfg); err != nil {
		return d, fmt.Errorf("make policy client: %w", err)
	}
	coord, err := coordv1client.NewForConfig(cfg)
	if err != nil {
		return d, fmt.Errorf("make coordination client: %w", err)
	}
	d.Place = operation.Cluster{Core: d.Clients.Core, Coord: coord}
	return d, nil
}

// Place is where the journals of a cluster's control planes are, for who only reads them.
func Place(c *reach.Clients) operation.Place { return operation.Cluster{Core: c.Core} }
