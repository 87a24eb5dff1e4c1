package restore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/backup"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/operation"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/survey"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/userapi"
)

// kube is the cluster that a kubeconfig names.
type kube struct {
	Deps
	reach reach.Options
}

// scaler is what StatefulSets and Deployments have alike.
type scaler interface {
	GetScale(ctx context.Context, name string, o metav1.GetOptions) (*autoscalingv1.Scale, error)
	UpdateScale(ctx context.Context, name string, s *autoscalingv1.Scale, o metav1.UpdateOptions) (*autoscalingv1.Scale, error)
}

func (k kube) scaler(w workload) (scaler, error) {
	switch w.kind {
	case "StatefulSet":
		return k.Apps.StatefulSets(w.namespace), nil
	case "Deployment":
		return k.Apps.Deployments(w.namespace), nil
	}
	return nil, fmt.Errorf("scale %s: not a kind that is scaled here", w)
}

func (k kube) Replicas(ctx context.Context, w workload) (int32, error) {
	s, err := k.scaler(w)
	if err != nil {
		return 0, err
	}
	got, err := s.GetScale(ctx, w.name, metav1.GetOptions{})
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", w, err)
	}
	return got.Spec.Replicas, nil
}

func (k kube) Scale(ctx context.Context, w workload, n int32) error {
	s, err := k.scaler(w)
	if err != nil {
		return err
	}
	for tries := 0; ; tries++ {
		got, err := s.GetScale(ctx, w.name, metav1.GetOptions{})
		if err == nil && got.Spec.Replicas != n {
			got.Spec.Replicas = n
			_, err = s.UpdateScale(ctx, w.name, got, metav1.UpdateOptions{})
		}
		if err == nil {
			return nil
		}
		if !apierrors.IsConflict(err) || tries == 5 {
			return fmt.Errorf("scale %s to %d: %w", w, n, err)
		}
	}
}

func (k kube) Pods(ctx context.Context, w workload) ([]pod, error) {
	s, err := k.scaler(w)
	if err != nil {
		return nil, err
	}
	scale, err := s.GetScale(ctx, w.name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", w, err)
	}
	list, err := k.Clients.Core.Pods(w.namespace).List(ctx, metav1.ListOptions{LabelSelector: scale.Status.Selector})
	if err != nil {
		return nil, fmt.Errorf("list pods of %s: %w", w, err)
	}
	var out []pod
	for _, p := range list.Items {
		if p.Labels[controlplane.ManagedByLabel] == controlplane.ManagedByValue {
			continue
		}
		state := string(p.Status.Phase)
		if p.DeletionTimestamp != nil {
			state = "terminating"
		}
		ready := slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
		})
		out = append(out, pod{Name: p.Name, UID: p.UID, State: state, Ready: ready && p.DeletionTimestamp == nil, Backoff: backoff(slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses))})
	}
	return out, nil
}

// backoff is by container. Only the kubelet's words tell it: "back-off 10s restarting failed container".
func backoff(containers []corev1.ContainerStatus) map[string]time.Duration {
	out := map[string]time.Duration{}
	for _, c := range containers {
		w := c.State.Waiting
		if w == nil || w.Reason != "CrashLoopBackOff" {
			continue
		}
		_, rest, _ := strings.Cut(w.Message, "back-off ")
		text, _, _ := strings.Cut(rest, " ")
		d, err := time.ParseDuration(text)
		if err != nil {
			d = 5 * time.Minute // the most there is
		}
		out[c.Name] = d
	}
	return out
}

func (k kube) DeletePod(ctx context.Context, w workload, p pod, grace *int64) error {
	err := k.Clients.Core.Pods(w.namespace).Delete(ctx, p.Name, metav1.DeleteOptions{GracePeriodSeconds: grace, Preconditions: &metav1.Preconditions{UID: &p.UID}})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("delete pod %s of %s: %w", p.Name, w, err)
	}
	return nil
}

func (k kube) Reverted(ctx context.Context, w workload) string {
	var meta metav1.ObjectMeta
	if w.kind == "StatefulSet" {
		if s, err := k.Apps.StatefulSets(w.namespace).Get(ctx, w.name, metav1.GetOptions{}); err == nil {
			meta = s.ObjectMeta
		}
	} else if d, err := k.Apps.Deployments(w.namespace).Get(ctx, w.name, metav1.GetOptions{}); err == nil {
		meta = d.ObjectMeta
	}
	who := "somebody"
	var when *metav1.Time
	for _, f := range meta.ManagedFields {
		if f.FieldsV1 != nil && strings.Contains(f.FieldsV1.GetRawString(), `"f:replicas"`) && f.Subresource != "status" && (when == nil || f.Time != nil && when.Before(f.Time)) {
			who, when = "manager "+f.Manager, f.Time
		}
	}
	if owner := metav1.GetControllerOf(&meta); owner != nil {
		who += fmt.Sprintf(", owned by %s %s", owner.Kind, owner.Name)
	}
	return who
}

func (k kube) Budget(ctx context.Context, namespace, name string) (*policyv1.PodDisruptionBudget, error) {
	b, err := k.Policy.PodDisruptionBudgets(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read disruption budget %s/%s: %w", namespace, name, err)
	}
	return b, nil
}

func (k kube) DeleteBudget(ctx context.Context, b *policyv1.PodDisruptionBudget) error {
	err := k.Policy.PodDisruptionBudgets(b.Namespace).Delete(ctx, b.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &b.UID}})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete disruption budget %s/%s: %w", b.Namespace, b.Name, err)
	}
	return nil
}

func (k kube) CreateBudget(ctx context.Context, b *policyv1.PodDisruptionBudget) error {
	_, err := k.Policy.PodDisruptionBudgets(b.Namespace).Create(ctx, b, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		there, err := k.Budget(ctx, b.Namespace, b.Name)
		switch {
		case err != nil:
			return err
		case there == nil || there.DeletionTimestamp != nil:
			return &leavingError{there}
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("create disruption budget %s/%s: %w", b.Namespace, b.Name, err)
	}
	return nil
}

func (k kube) Set(ctx context.Context, w workload) (*appsv1.StatefulSet, error) {
	s, err := k.Apps.StatefulSets(w.namespace).Get(ctx, w.name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", w, err)
	}
	return s, nil
}

func (k kube) DeleteSet(ctx context.Context, s *appsv1.StatefulSet) error {
	orphan := metav1.DeletePropagationOrphan
	err := k.Apps.StatefulSets(s.Namespace).Delete(ctx, s.Name, metav1.DeleteOptions{PropagationPolicy: &orphan, Preconditions: &metav1.Preconditions{UID: &s.UID}})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete StatefulSet %s/%s without its pods: %w", s.Namespace, s.Name, err)
	}
	return nil
}

func (k kube) CreateSet(ctx context.Context, s *appsv1.StatefulSet) error {
	_, err := k.Apps.StatefulSets(s.Namespace).Create(ctx, s, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create StatefulSet %s/%s: %w", s.Namespace, s.Name, err)
	}
	return nil
}

func (k kube) Retention(ctx context.Context, w workload) (*appsv1.StatefulSetPersistentVolumeClaimRetentionPolicy, error) {
	s, err := k.Apps.StatefulSets(w.namespace).Get(ctx, w.name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", w, err)
	}
	return s.Spec.PersistentVolumeClaimRetentionPolicy, nil
}

func (k kube) SetRetention(ctx context.Context, w workload, scaled appsv1.PersistentVolumeClaimRetentionPolicyType) error {
	for tries := 0; ; tries++ {
		s, err := k.Apps.StatefulSets(w.namespace).Get(ctx, w.name, metav1.GetOptions{})
		if err == nil {
			p := s.Spec.PersistentVolumeClaimRetentionPolicy
			if p == nil || p.WhenScaled == scaled {
				return nil
			}
			p.WhenScaled = scaled
			_, err = k.Apps.StatefulSets(w.namespace).Update(ctx, s, metav1.UpdateOptions{})
		}
		if err == nil {
			return nil
		}
		if !apierrors.IsConflict(err) || tries == 5 {
			return fmt.Errorf("set retention policy of %s: %w", w, err)
		}
	}
}

func (k kube) Leaving(ctx context.Context, namespace string, pods []string) (string, error) {
	list, err := k.Clients.Core.PersistentVolumeClaims(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", fmt.Errorf("list volume claims: %w", err)
	}
	for _, c := range list.Items {
		for _, o := range c.OwnerReferences {
			if o.Kind == "Pod" && slices.Contains(pods, o.Name) {
				return "claim " + c.Name + " is owned by pod " + o.Name, nil
			}
		}
		if c.DeletionTimestamp != nil && slices.ContainsFunc(pods, func(p string) bool { return strings.HasSuffix(c.Name, "-"+p) }) {
			return "claim " + c.Name + " is being deleted", nil
		}
	}
	return "", nil
}

func (k kube) Plane(ctx context.Context, namespace, name string) (controlplane.ControlPlane, error) {
	planes, err := controlplane.Find(ctx, k.planes(), controlplane.Query{Namespace: namespace})
	if err != nil {
		return controlplane.ControlPlane{}, err
	}
	return controlplane.Resolve(planes, namespace+"/"+name, "")
}

func (k kube) Survey(ctx context.Context, p controlplane.ControlPlane, hashes bool) (*survey.Survey, error) {
	s, err := survey.Take(ctx, survey.Sources(k.Clients, p, k.reach), hashes)
	if err != nil {
		return nil, fmt.Errorf("ask members: %w", err)
	}
	return s, nil
}

func (k kube) Backup(ctx context.Context, p controlplane.ControlPlane, op, folder, member string, raw bool) (string, error) {
	how := k.reach
	how.OperationID, how.PreferAgent = op, true // a restore makes such pods anyway
	res, err := backup.Run(operation.Unfenced(ctx), backup.Deps{Clients: k.Clients, Report: quietReport{k.Report}, Now: k.Now, Tool: k.Tool},
		backup.Config{Plane: p, To: folder, Member: member, Raw: raw, Via: reach.Auto, Compress: backup.CompressAuto, Prove: backup.ProveAuto, Reach: how})
	if res != nil && res.File != "" && (err == nil || errors.Is(err, backup.ErrDiffers)) {
		return res.File, nil
	}
	return "", err
}

func (k kube) journal(namespace string, sh *Shared) plan.Journal {
	return &operation.Journal{Place: k.Place, Namespace: namespace, Data: sh, Warn: k.Report.Warn}
}

// quietReport keeps a backup's own words out of a restore's.
type quietReport struct{ Reporter }

func (q quietReport) Step(string, ...any) {}
func (q quietReport) Progress(done, total, _ int64) {
	q.Reporter.Progress("safety backup", done, total)
}
func (q quietReport) Done() {}

// logBytes is how much of a log is read.
const logBytes = 1 << 20

func (k kube) Log(ctx context.Context, namespace, pod, container string, since time.Time) (string, error) {
	o := &corev1.PodLogOptions{Container: container, TailLines: new(int64(2000)), LimitBytes: new(int64(logBytes))}
	if !since.IsZero() {
		o.SinceTime = new(metav1.NewTime(since))
	}
	b, err := k.Clients.Core.Pods(namespace).GetLogs(pod, o).DoRaw(ctx)
	return string(b), err
}

func (k kube) Cached(ctx context.Context, a userapi.Access, namespace, pod string, port int) (map[string]int64, error) {
	u, err := userapi.Open(ctx, k.Clients, a, namespace, pod, port)
	if err != nil {
		return nil, err
	}
	defer u.Close()
	return u.Cached(ctx)
}

func (k kube) Objects(ctx context.Context, a userapi.Access, namespace, pod string, port int, rev int64, kinds []string) (map[string]int64, error) {
	u, err := userapi.Open(ctx, k.Clients, a, namespace, pod, port)
	if err != nil {
		return nil, err
	}
	defer u.Close()
	return u.Count(ctx, rev, kinds)
}
