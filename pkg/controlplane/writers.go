package controlplane

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/program"
)

// Writer is a workload whose pods use an etcd: its API servers, and whatever
// else was told its client URLs.
type Writer struct {
	Kind      string `json:"kind"` // StatefulSet or Deployment
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Replicas  int32  `json:"replicas"`
	// Why says what gave it away: the URL in its pod template, mostly.
	Why string `json:"why"`
	// Prefix is the API server's --etcd-prefix; "" for every other program, and where it is not known.
	Prefix string `json:"prefix,omitempty"`
	// Selector is of its pods.
	Selector *metav1.LabelSelector `json:"-"`
	// Manager is the controller that owns the workload, if any.
	Manager *Owner `json:"manager,omitempty"`
	// Template is what its pods are made from.
	Template corev1.PodTemplateSpec `json:"-"`
}

// ID names a writer within its namespace, Path everywhere.
func (w Writer) ID() string   { return w.Kind + "/" + w.Name }
func (w Writer) Path() string { return w.Namespace + "/" + w.ID() }

// Owns tells that a pod is one of the workload's.
func (w Writer) Owns(pod *corev1.Pod) bool {
	selector, err := metav1.LabelSelectorAsSelector(w.Selector)
	return err == nil && !selector.Empty() && pod.Namespace == w.Namespace && selector.Matches(labels.Set(pod.Labels))
}

// Pod is what the template makes, without a name.
func (w Writer) Pod() *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: *w.Template.ObjectMeta.DeepCopy(), Spec: *w.Template.Spec.DeepCopy()}
	pod.Namespace = w.Namespace
	return pod
}

// apiServer is the program in a command line; its port is the flag's, or the program's own.
var (
	apiServer  = regexp.MustCompile(`\bkube-apiserver(\s|$)`)
	securePort = regexp.MustCompile(`--secure-port[=\s]+(\d+)`)
)

// APIServerPort is where the pods of a kube-apiserver serve; false for every other program.
func (w Writer) APIServerPort() (int, bool) {
	for _, c := range program.Containers(&w.Template.Spec) {
		line := strings.Join(words(c), " ")
		if !apiServer.MatchString(line) && c.Name != "kube-apiserver" {
			continue
		}
		if m := securePort.FindStringSubmatch(line); m != nil {
			port, err := strconv.Atoi(m[1])
			return port, err == nil
		}
		return 6443, true
	}
	return 0, false
}

// Controllers are the workloads in the control plane's namespace that run a
// controller manager or a scheduler: they write through the API servers only, but
// what they remember has to be read anew after a restore.
func Controllers(ctx context.Context, c Client, p ControlPlane) ([]Writer, error) {
	found, err := workloads(ctx, c, p.Namespace)
	if err != nil {
		return nil, err
	}
	var out []Writer
	for _, w := range found {
		if program := controllerIn(&w.Template.Spec); program != "" {
			w.Why = "it runs " + program
			out = append(out, w)
		}
	}
	return out, nil
}

// StaticControllers are the static pods in the control plane's namespace that run a controller manager or a scheduler.
func StaticControllers(ctx context.Context, c Client, p ControlPlane) (out []*corev1.Pod, _ error) {
	pods, err := listPods(ctx, c, p.Namespace)
	for _, pod := range pods {
		if IsStatic(pod) && controllerIn(&pod.Spec) != "" {
			out = append(out, pod)
		}
	}
	return out, err
}

// controllerIn is which of these programs a pod runs; "" is none.
func controllerIn(spec *corev1.PodSpec) string {
	for _, c := range program.Containers(spec) {
		if found := controllerProgram.FindString(strings.Join(words(c), " ")); found != "" {
			return found
		}
	}
	return ""
}

var controllerProgram = regexp.MustCompile(`\b(kube-controller-manager|kube-scheduler)\b`)

func workloads(ctx context.Context, c Client, namespace string) ([]Writer, error) {
	var out []Writer
	sets, err := c.Apps.StatefulSets(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list statefulsets%s: %w", inNamespace(namespace), err)
	}
	for i := range sets.Items {
		s := &sets.Items[i]
		out = append(out, Writer{Kind: "StatefulSet", Namespace: s.Namespace, Name: s.Name, Replicas: replicas(s.Spec.Replicas),
			Selector: s.Spec.Selector, Template: s.Spec.Template, Manager: ControllerOf(s)})
	}
	deployments, err := c.Apps.Deployments(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list deployments%s: %w", inNamespace(namespace), err)
	}
	for i := range deployments.Items {
		d := &deployments.Items[i]
		out = append(out, Writer{Kind: "Deployment", Namespace: d.Namespace, Name: d.Name, Replicas: replicas(d.Spec.Replicas),
			Selector: d.Spec.Selector, Template: d.Spec.Template, Manager: ControllerOf(d)})
	}
	return out, nil
}

func replicas(n *int32) int32 {
	if n == nil {
		return 1
	}
	return *n
}

// ControllerOf is the controller that owns an object; nil where none does.
func ControllerOf(o metav1.Object) *Owner {
	ref := metav1.GetControllerOf(o)
	if ref == nil {
		return nil
	}
	return &Owner{ref.APIVersion, ref.Kind, ref.Name, string(ref.UID)}
}

func words(c *corev1.Container) []string {
	out := append(append([]string{}, c.Command...), c.Args...)
	for _, e := range c.Env {
		out = append(out, e.Value)
	}
	return out
}
