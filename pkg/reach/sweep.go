package reach

import (
	"context"
	"fmt"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
)

// Leftover is an object that a way made and that is still there: of a backup
// that runs, or of a client that was killed.
type Leftover struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Operation string `json:"operation"`
	// OperationID is a restore's, whose journal says how far it is.
	OperationID string    `json:"operationID,omitempty"`
	Member      string    `json:"member"`
	Created     time.Time `json:"created"`
	// Running: a pod whose container runs, so perhaps a backup of somebody else.
	Running bool `json:"running"`
	// Revision is etcd's when it was last written; 0: not known.
	Revision int64 `json:"-"`
}

// goesBy is how long an object that is being deleted may take; after that it is
// stuck, and left behind like any other.
const goesBy = time.Minute

// Leftovers lists them in a namespace; "" is all namespaces. What is being
// deleted just now is not left behind.
func Leftovers(ctx context.Context, c *Clients, namespace string) ([]Leftover, error) {
	sel := metav1.ListOptions{LabelSelector: controlplane.ManagedByLabel + "=" + controlplane.ManagedByValue}
	var out []Leftover
	add := func(kind string, o metav1.ObjectMeta, running bool) {
		if o.DeletionTimestamp != nil && time.Since(o.DeletionTimestamp.Time) < goesBy {
			return
		}
		revision, _ := strconv.ParseInt(o.ResourceVersion, 10, 64)
		out = append(out, Leftover{Revision: revision, Kind: kind, Namespace: o.Namespace, Name: o.Name, Operation: o.Labels[labelOperation], OperationID: o.Labels[labelOperationID],
			Member: o.Labels[labelMember], Created: o.CreationTimestamp.UTC(), Running: running})
	}
	pods, err := c.Core.Pods(namespace).List(ctx, sel)
	if err != nil {
		return nil, fmt.Errorf("list utility pods: %w", err)
	}
	running := map[string]bool{}
	for _, p := range pods.Items {
		r := p.DeletionTimestamp == nil && (p.Status.Phase == corev1.PodRunning || p.Status.Phase == corev1.PodPending && begins(p.ObjectMeta))
		running[p.Namespace+"/"+p.Name] = r
		add("Pod", p.ObjectMeta, r)
	}
	cms, err := c.Core.ConfigMaps(namespace).List(ctx, sel)
	if err != nil {
		return nil, fmt.Errorf("list ConfigMaps: %w", err)
	}
	for _, cm := range cms.Items {
		r, pod := running[cm.Namespace+"/"+cm.Name]
		add("ConfigMap", cm.ObjectMeta, r || !pod && begins(cm.ObjectMeta))
	}
	return out, nil
}

// begins says that an object is so young that its client may still be at it.
func begins(o metav1.ObjectMeta) bool { return time.Since(o.CreationTimestamp.Time) < startsWithin }

// startsWithin is longer than any pod is waited for by default.
const startsWithin = 3 * time.Minute
