package site

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/operation"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
)

// hostPID is in the words of Pod Security and of most others that refuse such a pod.
var hostPID = regexp.MustCompile(`(?i)hostpid|host ?namespaces|podsecurity`)

func (k Kube) Stage(ctx context.Context, m controlplane.Member, op string) (Stage, error) {
	if err := k.free(ctx, m); err != nil {
		return nil, err
	}
	return k.utility(ctx, m, op, reach.OpenStage)
}

func (k Kube) Asker(ctx context.Context, m controlplane.Member, op string) (Stage, error) {
	return k.utility(ctx, m, op, reach.OpenAsker)
}

func (k Kube) utility(ctx context.Context, m controlplane.Member, op string,
	open func(context.Context, *reach.Clients, controlplane.Member, reach.Options) (*reach.Stage, error)) (Stage, error) {
	o := k.reach
	o.Operation, o.OperationID = "restore", op
	o.Lifetime = max(o.Lifetime, stageLifetime)
	st, err := open(operation.Unfenced(ctx), k.Clients, m, o)
	var admission *reach.NotPossible
	if o.HostPID && errors.As(err, &admission) && apierrors.IsForbidden(err) && hostPID.MatchString(err.Error()) {
		hint := "a hot restore's utility pods see the node's processes (hostPID), which is not admitted here: leave out --hot"
		if controlplane.IsStatic(m.Object) {
			hint = "utility pods of static pods see the node's processes (hostPID): let whoever refuses them admit them in namespace " + m.Namespace + " meanwhile"
		}
		return nil, Refuse(hint, "start utility pod for member %s: %v", m.Name, err)
	}
	if err != nil {
		return nil, fmt.Errorf("start utility pod for member %s: %w", m.Name, err)
	}
	return st, nil
}

// Exclusive names the claim that holds a member's data, if only one pod at a time can have it (ReadWriteOncePod).
func (k Kube) Exclusive(ctx context.Context, m controlplane.Member) (claim string, err error) {
	if m.DataVolume == nil || m.DataVolume.Kind != "pvc" {
		return "", nil
	}
	list, err := k.Clients.Core.PersistentVolumeClaims(m.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", fmt.Errorf("list volume claims: %w", err)
	}
	for _, c := range list.Items {
		if slices.Contains(m.DataVolume.Source, c.Name) && slices.Contains(c.Spec.AccessModes, corev1.ReadWriteOncePod) {
			return c.Name, nil
		}
	}
	return "", nil
}

// free refuses at once where a utility pod would wait for a volume that etcd's pod has for itself.
func (k Kube) free(ctx context.Context, m controlplane.Member) error {
	claim, err := k.Exclusive(ctx, m)
	if err != nil || claim == "" {
		return err
	}
	_, err = k.Clients.Core.Pods(m.Namespace).Get(ctx, m.PodName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read pod of member %s: %w", m.Name, err)
	}
	return Refuse("scale etcd to 0 for as long as that takes", "start utility pod for member %s: its volume claim %s is ReadWriteOncePod, and pod %s has it", m.Name, claim, m.PodName)
}

func (k Kube) Unstage(ctx context.Context, namespace, operation string) error {
	return reach.RemoveOperation(ctx, k.Clients, namespace, operation)
}
