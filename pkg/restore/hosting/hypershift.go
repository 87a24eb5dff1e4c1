package hosting

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
)

// HyperShift's operators put back whatever is scaled. They let go of a hosted
// control plane while its HostedCluster says so in spec.pausedUntil: see
// https://hypershift-docs.netlify.app/how-to/pause-reconciliation/.

const (
	hyperShiftGroup = "hypershift.openshift.io"
	hyperShiftAPI   = "/apis/" + hyperShiftGroup + "/v1beta1/namespaces/"
	// clusterAnnotation is on a HostedControlPlane, and names its HostedCluster.
	clusterAnnotation = "hypershift.openshift.io/cluster"
)

// HyperShift is as much of both kinds as is looked at.
type HyperShift struct {
	Metadata struct {
		Name        string            `json:"name"`
		Namespace   string            `json:"namespace"`
		Annotations map[string]string `json:"annotations"`
	} `json:"metadata"`
	Spec struct {
		PausedUntil *string `json:"pausedUntil"`
	} `json:"spec"`
}

// hyperShiftOf finds the HostedCluster of a control plane; nil when there is none.
func hyperShiftOf(ctx context.Context, d site.Deps, p controlplane.ControlPlane) (*site.HostedCluster, error) {
	b, err := d.Clients.Core.RESTClient().Get().AbsPath(hyperShiftAPI + p.Namespace + "/hostedcontrolplanes").DoRaw(ctx)
	if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) && p.Layout != controlplane.HyperShift {
		return nil, nil // no HyperShift, or none that this one looks like
	}
	if err != nil {
		return nil, fmt.Errorf("list hosted control planes in %s: %w", p.Namespace, err)
	}
	var list struct {
		Items []HyperShift `json:"items"`
	}
	if err := json.Unmarshal(b, &list); err != nil {
		return nil, fmt.Errorf("read hosted control planes in %s: %w", p.Namespace, err)
	}
	for _, h := range list.Items {
		if of := h.Metadata.Annotations[clusterAnnotation]; strings.Count(of, "/") == 1 {
			return &site.HostedCluster{Cluster: of, ControlPlane: p.Namespace + "/" + h.Metadata.Name}, nil
		}
	}
	return nil, nil
}

const (
	HostedClusters      = "hostedclusters"
	HostedControlPlanes = "hostedcontrolplanes"
)

// HyperShiftPath is where the API server has one of HyperShift's objects; id is NAMESPACE/NAME.
func HyperShiftPath(resource, id string) string {
	ns, name, _ := strings.Cut(id, "/")
	return hyperShiftAPI + ns + "/" + resource + "/" + name
}
