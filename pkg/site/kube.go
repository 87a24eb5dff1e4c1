package site

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/backup"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/operation"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/survey"
)

// Kube is the cluster that a kubeconfig names.
type Kube struct {
	Deps
	reach reach.Options
}

// NewKube reaches members by those options.
func NewKube(d Deps, o reach.Options) Kube { return Kube{d, o} }

// scaler is what StatefulSets and Deployments have alike.
type scaler interface {
	GetScale(ctx context.Context, name string, o metav1.GetOptions) (*autoscalingv1.Scale, error)
	UpdateScale(ctx context.Context, name string, s *autoscalingv1.Scale, o metav1.UpdateOptions) (*autoscalingv1.Scale, error)
}

func (k Kube) scaler(w Workload) (scaler, error) {
	switch w.Kind {
	case "StatefulSet":
		return k.Apps.StatefulSets(w.Namespace), nil
	case "Deployment":
		return k.Apps.Deployments(w.Namespace), nil
	}
	return nil, fmt.Errorf("scale %s: not a kind that is scaled here", w)
}

func (k Kube) Replicas(ctx context.Context, w Workload) (int32, error) {
	if w.Kind == StaticPods {
		pods, err := k.Pods(ctx, w)
		return int32(len(pods)), err
	}
	s, err := k.scaler(w)
	if err != nil {
		return 0, err
	}
	got, err := s.GetScale(ctx, w.Name, metav1.GetOptions{})
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", w, err)
	}
	return got.Spec.Replicas, nil
}

func (k Kube) Scale(ctx context.Context, w Workload, n int32) error {
	s, err := k.scaler(w)
	if err != nil {
		return err
	}
	for tries := 0; ; tries++ {
		got, err := s.GetScale(ctx, w.Name, metav1.GetOptions{})
		if err == nil && got.Spec.Replicas != n {
			got.Spec.Replicas = n
			_, err = s.UpdateScale(ctx, w.Name, got, metav1.UpdateOptions{})
		}
		if err == nil {
			return nil
		}
		if !apierrors.IsConflict(err) || tries == 5 {
			return fmt.Errorf("scale %s to %d: %w", w, n, err)
		}
	}
}

func (k Kube) Pods(ctx context.Context, w Workload) ([]Pod, error) {
	o := metav1.ListOptions{}
	if w.Kind != StaticPods {
		s, err := k.scaler(w)
		if err != nil {
			return nil, err
		}
		scale, err := s.GetScale(ctx, w.Name, metav1.GetOptions{})
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", w, err)
		}
		o.LabelSelector = scale.Status.Selector
	}
	list, err := k.Clients.Core.Pods(w.Namespace).List(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("list pods of %s: %w", w, err)
	}
	var out []Pod
	for i := range list.Items {
		p := &list.Items[i]
		if p.Labels[controlplane.ManagedByLabel] == controlplane.ManagedByValue || w.Kind == StaticPods && !controlplane.StaticOf(p, w.Name) {
			continue
		}
		state := string(p.Status.Phase)
		if p.DeletionTimestamp != nil {
			state = "terminating"
		}
		ready := slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
		})
		out = append(out, Pod{Name: p.Name, UID: p.UID, State: state, Ready: ready && p.DeletionTimestamp == nil, Backoff: backoff(slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses))})
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

func (k Kube) DeletePod(ctx context.Context, w Workload, p Pod, grace *int64) error {
	err := k.Clients.Core.Pods(w.Namespace).Delete(ctx, p.Name, metav1.DeleteOptions{GracePeriodSeconds: grace, Preconditions: &metav1.Preconditions{UID: &p.UID}})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("delete pod %s of %s: %w", p.Name, w, err)
	}
	return nil
}

func (k Kube) Reverted(ctx context.Context, w Workload) string {
	var meta metav1.ObjectMeta
	if w.Kind == "StatefulSet" {
		if s, err := k.Apps.StatefulSets(w.Namespace).Get(ctx, w.Name, metav1.GetOptions{}); err == nil {
			meta = s.ObjectMeta
		}
	} else if d, err := k.Apps.Deployments(w.Namespace).Get(ctx, w.Name, metav1.GetOptions{}); err == nil {
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

func (k Kube) Plane(ctx context.Context, namespace, name string) (controlplane.ControlPlane, error) {
	planes, err := controlplane.Find(ctx, k.Planes(), controlplane.Query{Namespace: namespace})
	if err != nil {
		return controlplane.ControlPlane{}, err
	}
	return controlplane.Resolve(planes, namespace+"/"+name, "")
}

func (k Kube) Survey(ctx context.Context, p controlplane.ControlPlane, hashes bool) (*survey.Survey, error) {
	s, err := survey.Take(ctx, survey.Sources(k.Clients, p, k.reach), hashes)
	if err != nil {
		return nil, fmt.Errorf("ask members: %w", err)
	}
	return s, nil
}

func (k Kube) Backup(ctx context.Context, p controlplane.ControlPlane, op, folder, member string, raw bool) (string, error) {
	how := k.reach
	how.OperationID, how.PreferAgent = op, true // a restore makes such pods anyway
	res, err := backup.Run(operation.Unfenced(ctx), backup.Deps{Clients: k.Clients, Report: quietReport{k.Report}, Now: k.Now, Tool: k.Tool},
		backup.Config{Plane: p, To: folder, Member: member, Raw: raw, Via: reach.Auto, Compress: backup.CompressAuto, Prove: backup.ProveAuto, Reach: how})
	if res != nil && res.File != "" && (err == nil || errors.Is(err, backup.ErrDiffers)) {
		return res.File, nil
	}
	return "", err
}

func (k Kube) Journal(namespace string, sh *Shared) plan.Journal {
	warn := k.Report.Warn
	if sh.Static != nil { // it goes with the etcd that is exchanged, and is written again
		warn = func(string, ...any) {}
	}
	return &operation.Journal{Place: k.Place, Namespace: namespace, Data: sh, Warn: warn}
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

func (k Kube) Log(ctx context.Context, namespace, pod, container string, since time.Time) (string, error) {
	o := &corev1.PodLogOptions{Container: container, TailLines: new(int64(2000)), LimitBytes: new(int64(logBytes))}
	if !since.IsZero() {
		o.SinceTime = new(metav1.NewTime(since))
	}
	b, err := k.Clients.Core.Pods(namespace).GetLogs(pod, o).DoRaw(ctx)
	return string(b), err
}
