package plugin

import (
	"context"
	"errors"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify"
)

// sameCluster says why the cluster at hand is not known to be the one that a snapshot is of. Nobody said that the snapshot should go
// anywhere else: unasked, it is sent only there, beside the etcd that holds the same Secrets.
func (a *app) sameCluster(ctx context.Context, report *verify.Report) error {
	if report.KubeSystemUID == "" {
		return errors.New("this one does not tell, having no kube-system namespace or an encrypted one")
	}
	c, _, err := a.connect()
	if err != nil {
		return err
	}
	ns, err := c.Core.Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return err
	case string(ns.UID) != report.KubeSystemUID:
		return fmt.Errorf("its kube-system has the UID %s, that of the context %q has %s", report.KubeSystemUID, a.contextName(), ns.UID)
	}
	return nil
}
