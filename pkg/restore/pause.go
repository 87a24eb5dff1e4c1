package restore

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/await"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
)

// HyperShift's operators put back whatever is scaled. They let go of a hosted
// control plane while its HostedCluster says so in spec.pausedUntil: see
// https://hypershift-docs.netlify.app/how-to/pause-reconciliation/.

// hostedCluster names a HostedCluster, and the HostedControlPlane in the control plane's own namespace that follows it.
type hostedCluster struct {
	Cluster      string `json:"cluster"`      // NAMESPACE/NAME
	ControlPlane string `json:"controlPlane"` // NAMESPACE/NAME
}

// paused is what pausing has to bring back.
type paused struct {
	hostedCluster
	// Until is spec.pausedUntil as it was; nil where there was none.
	Until *string `json:"until"`
}

const (
	hyperShiftGroup = "hypershift.openshift.io"
	hyperShiftAPI   = "/apis/" + hyperShiftGroup + "/v1beta1/namespaces/"
	// clusterAnnotation is on a HostedControlPlane, and names its HostedCluster.
	clusterAnnotation = "hypershift.openshift.io/cluster"
)

// hyperShift is as much of both kinds as is looked at.
type hyperShift struct {
	Metadata struct {
		Name        string            `json:"name"`
		Namespace   string            `json:"namespace"`
		Annotations map[string]string `json:"annotations"`
	} `json:"metadata"`
	Spec struct {
		PausedUntil *string `json:"pausedUntil"`
	} `json:"spec"`
}

// Hosted finds the HostedCluster of a control plane; nil when there is none.
func (k kube) Hosted(ctx context.Context, p controlplane.ControlPlane) (*hostedCluster, error) {
	b, err := k.Clients.Core.RESTClient().Get().AbsPath(hyperShiftAPI + p.Namespace + "/hostedcontrolplanes").DoRaw(ctx)
	if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) && p.Layout != controlplane.HyperShift {
		return nil, nil // no HyperShift, or none that this one looks like
	}
	if err != nil {
		return nil, fmt.Errorf("list hosted control planes in %s: %w", p.Namespace, err)
	}
	var list struct {
		Items []hyperShift `json:"items"`
	}
	if err := json.Unmarshal(b, &list); err != nil {
		return nil, fmt.Errorf("read hosted control planes in %s: %w", p.Namespace, err)
	}
	for _, h := range list.Items {
		if of := h.Metadata.Annotations[clusterAnnotation]; strings.Count(of, "/") == 1 {
			return &hostedCluster{Cluster: of, ControlPlane: p.Namespace + "/" + h.Metadata.Name}, nil
		}
	}
	return nil, nil
}

func (k kube) PausedUntil(ctx context.Context, resource, id string) (*string, error) {
	b, err := k.Clients.Core.RESTClient().Get().AbsPath(hyperShiftPath(resource, id)).DoRaw(ctx)
	if err != nil {
		return nil, fmt.Errorf("read %s %s: %w", resource, id, err)
	}
	h := hyperShift{}
	if err := json.Unmarshal(b, &h); err != nil {
		return nil, fmt.Errorf("read %s %s: %w", resource, id, err)
	}
	return h.Spec.PausedUntil, nil
}

func (k kube) SetPausedUntil(ctx context.Context, id string, until *string) error {
	body, err := json.Marshal(map[string]any{"spec": map[string]any{"pausedUntil": until}})
	if err != nil {
		return err
	}
	_, err = k.Clients.Core.RESTClient().Patch(types.MergePatchType).AbsPath(hyperShiftPath(hostedClusters, id)).Body(body).DoRaw(ctx)
	if err != nil {
		return fmt.Errorf("set spec.pausedUntil of hosted cluster %s: %w", id, err)
	}
	return nil
}

const (
	hostedClusters      = "hostedclusters"
	hostedControlPlanes = "hostedcontrolplanes"
)

func hyperShiftPath(resource, id string) string {
	ns, name := splitName(id)
	return hyperShiftAPI + ns + "/" + resource + "/" + name
}

// pause stops HyperShift's operators, and waits until that has reached the one beside the control plane.
func (r *run) pause(ctx context.Context, t *plan.Task) error {
	rec := paused{hostedCluster: *r.sh.Hosted}
	known, err := t.Recall(&rec)
	if err != nil {
		return err
	}
	if !known {
		if rec.Until, err = r.c.PausedUntil(ctx, hostedClusters, rec.Cluster); err != nil {
			return err
		}
		if err := t.Remember(ctx, rec); err != nil {
			return err
		}
	}
	yes := "true"
	if err := r.c.SetPausedUntil(ctx, rec.Cluster, &yes); err != nil {
		return err
	}
	return await.Until(ctx, r.cfg.Timeout, "hosted control plane "+rec.ControlPlane+" is paused", func(ctx context.Context) (string, bool, error) {
		until, err := r.c.PausedUntil(ctx, hostedControlPlanes, rec.ControlPlane)
		if err != nil || until == nil || *until != yes {
			return "its spec.pausedUntil is not \"true\"; is HyperShift's operator running?", false, err
		}
		return "", true, nil
	})
}

func (r *run) unpause(ctx context.Context, step *plan.Step) error {
	if step == nil {
		return nil
	}
	var rec paused
	if known, err := step.Recall(&rec); err != nil || !known {
		return err
	}
	return r.c.SetPausedUntil(ctx, rec.Cluster, rec.Until)
}
