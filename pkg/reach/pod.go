package reach

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
)

// Labels and annotations of what a way creates. Cleanup finds it by the first.
const (
	labelOperation   = "kubectl-etcd.io/operation"
	labelOperationID = "kubectl-etcd.io/operation-id"
	labelMember      = "kubectl-etcd.io/member"

	container  = "agent"
	loaderDir  = "/kubectl-etcd/loader"
	agentDir   = "/kubectl-etcd/bin"
	agentPath  = agentDir + "/agent"
	loaderPath = loaderDir + "/loader"
)

// objectName is unique for each run, so that two backups at once never share a pod.
func objectName(m controlplane.Member) string {
	base := strings.ReplaceAll(m.PodName, ".", "-")
	if len(base) > 40 {
		base = strings.Trim(base[:40], "-")
	}
	return "kubectl-etcd-" + base + "-" + rand.String(5)
}

func objectLabels(m controlplane.Member, o Options) map[string]string {
	labels := map[string]string{
		controlplane.ManagedByLabel: controlplane.ManagedByValue,
		labelOperation:              o.Operation,
		labelMember:                 strings.Trim(m.PodName[:min(len(m.PodName), 63)], "-."),
	}
	if o.OperationID != "" {
		labels[labelOperationID] = o.OperationID
	}
	return labels
}

// loaderConfigMap carries the loader: a program small enough for a ConfigMap,
// so that no image of ours has to be pulled.
func loaderConfigMap(name string, m controlplane.Member, o Options, loader []byte) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: m.Namespace, Labels: objectLabels(m, o)},
		BinaryData: map[string][]byte{"loader": loader},
	}
}

// utilityPod is a pod on the member's node, with the member's own image and
// the least of its rights: its user, its TLS files read-only, its data only
// when asked for, and read-only unless a restore is staged. No service account
// token, no capabilities, no environment.
func utilityPod(name string, cm *corev1.ConfigMap, m controlplane.Member, o Options) *corev1.Pod {
	mounts := memberMounts(m, o)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: m.Namespace, Labels: objectLabels(m, o),
			Annotations: map[string]string{"kubernetes.io/description": "Utility pod of kubectl etcd; remove with: kubectl etcd cleanup"},
			// The pod goes when its ConfigMap goes, so one deletion is enough.
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: cm.Name, UID: cm.UID}},
		},
		Spec: corev1.PodSpec{
			NodeName: m.Node, HostNetwork: m.HostNetwork,
			RestartPolicy:                 corev1.RestartPolicyNever,
			ActiveDeadlineSeconds:         ptr(int64(o.Lifetime / time.Second)),
			TerminationGracePeriodSeconds: ptr(int64(1)),
			AutomountServiceAccountToken:  ptr(false),
			EnableServiceLinks:            ptr(false),
			SecurityContext:               podSecurity(m),
			Tolerations:                   []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
			Containers: []corev1.Container{{
				Name: container, Image: m.Image, ImagePullPolicy: corev1.PullIfNotPresent,
				Command:      []string{loaderPath, "hold"},
				VolumeMounts: append(mounts.mounts, ownMounts()...),
				SecurityContext: &corev1.SecurityContext{
					AllowPrivilegeEscalation: ptr(false), ReadOnlyRootFilesystem: ptr(true),
					Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
				},
				Resources: corev1.ResourceRequirements{
					Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse("64Mi")},
					Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("192Mi")},
				},
			}},
			Volumes: append(mounts.volumes, ownVolumes(cm.Name)...),
		},
	}
	if len(o.hostPaths) > 0 { // some distributions give etcd's files to a user of its own
		pod.Spec.Containers[0].SecurityContext.Capabilities.Add = []corev1.Capability{"DAC_READ_SEARCH"}
	}
	if pod.Spec.HostNetwork {
		pod.Spec.DNSPolicy = corev1.DNSClusterFirstWithHostNet
	}
	if o.scratch > 0 {
		withScratch(pod, o.scratch)
	}
	if o.apiServer != nil {
		withAPIServer(pod, o.apiServer)
	}
	if o.stage {
		pod.Spec.Containers[0].Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse(stageMemory)}
		pod.Spec.HostPID = o.HostPID
	}
	if m.RuntimeClass != "" {
		pod.Spec.RuntimeClassName = ptr(m.RuntimeClass)
	}
	for _, s := range m.ImagePullSecrets {
		pod.Spec.ImagePullSecrets = append(pod.Spec.ImagePullSecrets, corev1.LocalObjectReference{Name: s})
	}
	return pod
}

// podSecurity copies what decides whether the member's files can be read.
func podSecurity(m controlplane.Member) *corev1.PodSecurityContext {
	s := &corev1.PodSecurityContext{
		RunAsUser: m.RunAsUser, RunAsGroup: m.RunAsGroup, RunAsNonRoot: m.RunAsNonRoot,
		FSGroup: m.FSGroup, SupplementalGroups: m.SupplementalGroups, SELinuxOptions: m.SELinux,
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
	if m.RunAsUser != nil && *m.RunAsUser != 0 {
		s.RunAsNonRoot = ptr(true) // it is so already; said, it passes the strictest Pod Security
	}
	if m.FSGroupChangePolicy != "" {
		s.FSGroupChangePolicy = ptr(corev1.PodFSGroupChangePolicy(m.FSGroupChangePolicy))
	}
	return s
}

type mountSet struct {
	volumes []corev1.Volume
	mounts  []corev1.VolumeMount
}

// memberMounts takes over the volumes that hold the client's TLS files, and the
// data when asked for, each at the path where the member has it. Only what a
// restore is staged on can be written.
func memberMounts(m controlplane.Member, o Options) mountSet {
	if len(o.hostPaths) > 0 {
		return hostMounts(o.hostPaths)
	}
	var set mountSet
	seen := map[string]bool{}
	add := func(v controlplane.VolumeRef, write bool) {
		if !v.Shareable() || seen[v.MountPath] {
			return
		}
		seen[v.MountPath] = true
		mount := v.Mount
		mount.ReadOnly, mount.MountPropagation = !write, nil
		set.mounts = append(set.mounts, mount)
		if !seen["volume "+v.Name] {
			seen["volume "+v.Name] = true
			set.volumes = append(set.volumes, existing(v.Volume))
		}
	}
	// The data first: where the same mount holds the TLS files too, it is written.
	if o.stage {
		add(*m.DataVolume, true)
		if m.WALVolume != nil {
			add(*m.WALVolume, false) // it is looked at only
		}
	}
	for _, t := range clientTLS(m) {
		for _, v := range m.TLSVolumes {
			if holdsAny(v.MountPath, needed(t, o.TLS)) {
				add(v, false)
			}
		}
	}
	if o.Data && m.DataVolume != nil {
		add(*m.DataVolume, false)
	}
	if v := m.SocketVolume(); v != nil && o.scratch == 0 {
		add(*v, false) // which does not keep a client from connecting
	}
	return set
}

// clientTLS is what a client may use, best first.
func clientTLS(m controlplane.Member) []controlplane.TLSFiles {
	return append([]controlplane.TLSFiles{m.ClientTLS}, m.ClientTLSAlternatives...)
}

func holdsAny(dir string, t controlplane.TLSFiles) bool {
	for _, p := range []string{t.CA, t.Cert, t.Key} {
		if p != "" && (p == dir || strings.HasPrefix(p, strings.TrimSuffix(dir, "/")+"/")) {
			return true
		}
	}
	return false
}

// existing keeps the kubelet from making an empty folder on the host where the
// member's is gone: that must be an error, not an empty mount.
func existing(v corev1.Volume) corev1.Volume {
	v = *v.DeepCopy()
	if h := v.HostPath; h != nil && h.Type != nil && *h.Type == corev1.HostPathDirectoryOrCreate {
		h.Type = ptr(corev1.HostPathDirectory)
	}
	return v
}

func ownVolumes(configMap string) []corev1.Volume {
	return []corev1.Volume{
		{Name: "kubectl-etcd-loader", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: configMap}, DefaultMode: ptr(int32(0o555)),
		}}},
		{Name: "kubectl-etcd-bin", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{
			SizeLimit: ptr(resource.MustParse("64Mi")),
		}}},
	}
}

func ownMounts() []corev1.VolumeMount {
	return []corev1.VolumeMount{
		{Name: "kubectl-etcd-loader", MountPath: loaderDir, ReadOnly: true},
		{Name: "kubectl-etcd-bin", MountPath: agentDir},
	}
}

// running tells whether our containers of a pod run. Admission may have given it others.
func running(p *corev1.Pod) bool {
	return !slices.ContainsFunc(p.Spec.Containers, func(c corev1.Container) bool {
		ours := c.Name == container || c.Name == apiContainer
		return ours && !slices.ContainsFunc(p.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool { return s.Name == c.Name && s.State.Running != nil })
	})
}

func ptr[T any](v T) *T { return &v }

// podTrouble says why a pod will not start by itself, or "" while it may.
func podTrouble(p *corev1.Pod) string {
	if p.Status.Phase == corev1.PodFailed {
		return strings.TrimSpace(fmt.Sprintf("%s: %s", p.Status.Reason, p.Status.Message))
	}
	for _, s := range p.Status.ContainerStatuses {
		if t := s.State.Terminated; t != nil {
			return fmt.Sprintf("its container ended with exit code %d: %s %s", t.ExitCode, t.Reason, t.Message)
		}
		w := s.State.Waiting
		if w == nil {
			continue
		}
		switch w.Reason {
		case "ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "CreateContainerConfigError",
			"CreateContainerError", "RunContainerError", "CrashLoopBackOff":
			return w.Reason + ": " + w.Message
		}
	}
	return ""
}
