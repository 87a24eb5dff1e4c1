package controlplane

import (
	"path"
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/program"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/shell"
)

// memberOf describes the etcd in one container; false when it runs none.
func memberOf(r *program.Reader, pod *corev1.Pod, c *corev1.Container, owner Owner, manager *Owner) (Member, Layout, bool) {
	if !mentionsEtcd(c) {
		return Member{}, "", false
	}
	var n program.Notes
	env := program.NewEnvironment(r, pod, c, &n)
	around := program.PodHost(pod, env)
	inv, known, ok := program.EtcdProcess(c, around)
	var signs []string
	if !ok {
		var starter string
		if starter, signs = program.Launched(pod, c, around, ownerOf(pod).Kind == "StatefulSet"); len(signs) == 0 {
			return Member{}, "", false
		}
		n.Add("%s starts it, in a way that cannot be read; found by its %s", readable([]string{starter})[0], strings.Join(signs, ", "))
	}
	layout := detectLayout(pod, c, owner, manager)
	m := Member{
		Namespace: pod.Namespace, PodName: pod.Name, Node: pod.Spec.NodeName, Container: c.Name, Image: c.Image,
		Version: ImageVersion(c.Image), Security: securityOf(pod, c), HostNetwork: pod.Spec.HostNetwork,
		PodIP: pod.Status.PodIP, HostIP: pod.Status.HostIP, Hostname: pod.Spec.Hostname, Subdomain: pod.Spec.Subdomain,
		ServiceAccount: pod.Spec.ServiceAccountName, Command: readable(inv.Argv), FoundBy: signs, Object: pod,
	}
	for _, s := range pod.Spec.ImagePullSecrets {
		m.ImagePullSecrets = append(m.ImagePullSecrets, s.Name)
	}
	if pod.Spec.RuntimeClassName != nil {
		m.RuntimeClass = *pod.Spec.RuntimeClassName
	}
	m.setStatus(pod)
	m.configure(r, inv, known, layout, env, c)
	for _, mount := range c.VolumeMounts {
		m.Mounts = append(m.Mounts, volumeRef(pod, mount, env.Lookup))
	}
	m.setVolumes(&n)
	if mount := program.DataMount(pod, c); len(signs) > 0 && m.DataDir == "" && mount != nil {
		m.DataVolume = volumeFor(m.Mounts, mount.MountPath)
	}
	m.setEndpoints()
	m.Notes = n.List
	return m, layout, true
}

func mentionsEtcd(c *corev1.Container) bool {
	if strings.Contains(c.Image, "etcd") || strings.Contains(c.Name, "etcd") {
		return true
	}
	for _, p := range c.Ports {
		if p.ContainerPort == 2379 || p.ContainerPort == 2380 {
			return true
		}
	}
	return mentions(c, "etcd")
}

func readable(argv []string) []string {
	out := make([]string, len(argv))
	for i, a := range argv {
		out[i] = strings.ReplaceAll(a, shell.Unknown, "…")
	}
	return out
}

var versionTag = regexp.MustCompile(`^v?([2-4]\.\d+\.\d+)(?:$|[-+._])`)

// ImageVersion reads etcd's version from the image's tag. Images that wrap
// etcd in a program of their own count their own versions.
func ImageVersion(image string) string {
	if program.ImageBase(image) == "etcd-wrapper" {
		return ""
	}
	image, _, _ = strings.Cut(image, "@")
	_, tag, ok := strings.Cut(path.Base(image), ":")
	if m := versionTag.FindStringSubmatch(tag); ok && m != nil {
		return m[1]
	}
	return ""
}

func securityOf(pod *corev1.Pod, c *corev1.Container) Security {
	var s Security
	if p := pod.Spec.SecurityContext; p != nil {
		s = Security{RunAsUser: p.RunAsUser, RunAsGroup: p.RunAsGroup, RunAsNonRoot: p.RunAsNonRoot, FSGroup: p.FSGroup,
			SupplementalGroups: p.SupplementalGroups, SELinux: p.SELinuxOptions}
		if p.FSGroupChangePolicy != nil {
			s.FSGroupChangePolicy = string(*p.FSGroupChangePolicy)
		}
	}
	if k := c.SecurityContext; k != nil {
		if k.RunAsUser != nil {
			s.RunAsUser = k.RunAsUser
		}
		if k.RunAsGroup != nil {
			s.RunAsGroup = k.RunAsGroup
		}
		if k.RunAsNonRoot != nil {
			s.RunAsNonRoot = k.RunAsNonRoot
		}
		if k.SELinuxOptions != nil {
			s.SELinux = k.SELinuxOptions
		}
	}
	return s
}

func (m *Member) setStatus(pod *corev1.Pod) {
	if pod.UID == "" {
		m.Phase = PhaseMissing
		return
	}
	m.Pod, m.PodUID = pod.Name, string(pod.UID)
	m.Phase, m.Reason = string(pod.Status.Phase), pod.Status.Reason
	if s := program.StatusOf(pod, m.Container); s != nil {
		m.Ready, m.Restarts, m.ImageID = s.Ready, s.RestartCount, s.ImageID
		switch {
		case s.State.Waiting != nil:
			m.Reason = s.State.Waiting.Reason
		case s.State.Terminated != nil:
			m.Reason = s.State.Terminated.Reason
		}
	}
	for _, cond := range pod.Status.Conditions {
		if m.Reason == "" && cond.Type == corev1.PodScheduled && cond.Status == corev1.ConditionFalse {
			m.Reason = cond.Reason
		}
	}
	if pod.DeletionTimestamp != nil {
		m.Reason = "Terminating"
	}
}

// configure reads etcd's settings from wherever they are.
func (m *Member) configure(r *program.Reader, inv shell.Invocation, known bool, layout Layout, env *program.Environment, c *corev1.Container) {
	n, pod := env.Notes, env.Pod
	raw := program.RawSettings(inv, env.Lookup)
	if layout == Gardener && raw["config-file"] == "" {
		raw["config-file"] = gardenerConfig
	}
	program.DropUnknown(raw, n)
	file := raw["config-file"]
	complete := known
	if file != "" {
		complete = readConfigFile(r, raw, pod, c, n)
	}
	if layout == Gardener {
		gardenerQuirks(pod, raw)
	}
	if !complete {
		fillFromLayout(layout, pod, c, raw, n)
	}
	if len(m.FoundBy) > 0 {
		program.Assume(raw, c, env)
	}
	m.Name = raw["name"]
	m.Settings = settingsOf(raw)
	m.ConfigFile = file
	m.defaults(complete, n)
	if len(m.AdvertisePeerURLs) == 0 { // its entry there says the same, and the list has to agree with the flag
		m.AdvertisePeerURLs = clusterPeers(m.InitialCluster)[m.Name]
	}
	tls := clientTLS(layout, m.Settings, pod, c, env.Lookup)
	if len(tls) > 0 {
		m.ClientTLS, m.ClientTLSAlternatives = tls[0], tls[1:]
	}
}

// defaults are etcd's own for what nothing sets. Where the settings could not
// all be read a default would be a guess; only the name is guessed, since a
// member must be called something.
func (m *Member) defaults(complete bool, n *program.Notes) {
	if m.Name == "" && complete && !noted(n, "--name is not known") {
		m.Name = "default"
	}
	if m.Name == "" {
		m.Name = m.PodName
		n.Add("the member's name is not known; its pod's name is used")
	}
	if !complete {
		if m.DataDir == "" {
			n.Add("the data directory is not known")
		}
		if len(m.ListenClientURLs) == 0 {
			n.Add("the client URLs are not known")
		}
		return
	}
	if m.DataDir == "" && !noted(n, "--data-dir is not known") {
		m.DataDir = m.Name + ".etcd"
		n.Add("no --data-dir: etcd uses %s in its working directory", m.DataDir)
	}
	if len(m.ListenClientURLs) == 0 && !noted(n, "--listen-client-urls is not known") {
		m.ListenClientURLs = []string{"http://localhost:2379"}
	}
	if len(m.ListenPeerURLs) == 0 && !noted(n, "--listen-peer-urls is not known") {
		m.ListenPeerURLs = []string{"http://localhost:2380"}
	}
}

func noted(n *program.Notes, prefix string) bool {
	for _, s := range n.List {
		if strings.HasPrefix(s, prefix) {
			return true
		}
	}
	return false
}

// readConfigFile replaces raw by the file's content and reports whether it
// could. The file is looked for in the pod's other containers too: Gardener's
// etcd gets it from its sidecar.
func readConfigFile(r *program.Reader, raw map[string]string, pod *corev1.Pod, c *corev1.Container, n *program.Notes) bool {
	file := raw["config-file"]
	ref, why := configSource(pod, c, file)
	if why != "" {
		n.Add("configuration file %s cannot be read: %s", file, why)
		return false
	}
	data, err := r.Get(ref.Kind, ref.Namespace, ref.Name)
	if err != nil {
		n.Add("configuration file %s cannot be read: %v", file, err)
		return false
	}
	text, ok := data[ref.Key]
	if !ok {
		n.Add("configuration file %s cannot be read: %s %s has no key %q", file, ref.Kind, ref.Name, ref.Key)
		return false
	}
	fromFile, err := program.ParseConfigFile(text, pod.Name)
	if err != nil {
		n.Add("configuration file %s: %v", file, err)
		return false
	}
	clear(raw)
	for k, v := range fromFile {
		raw[k] = v
	}
	program.DropUnknown(raw, n)
	return true
}

func configSource(pod *corev1.Pod, c *corev1.Container, file string) (program.FileRef, string) {
	why := "no volume is mounted there"
	for _, k := range append([]*corev1.Container{c}, program.Containers(&pod.Spec)...) {
		mount := program.MountOf(k, file)
		if mount == nil {
			continue
		}
		v := program.VolumeOf(pod, mount.Name)
		if v == nil {
			continue
		}
		if ref, ok := program.FileSource(pod.Namespace, *v, *mount, file); ok {
			return ref, ""
		}
		if v.HostPath != nil {
			why = "it is on the node"
		} else {
			why = "volume " + v.Name + " is neither a ConfigMap nor a Secret"
		}
	}
	return program.FileRef{}, why
}

func (m *Member) setVolumes(n *program.Notes) {
	m.DataVolume = volumeFor(m.Mounts, m.DataDir)
	if m.DataDir != "" && m.DataVolume == nil {
		n.Add("no volume is mounted at the data directory: the data dies with the container")
	} else if m.DataVolume != nil && m.DataVolume.Kind == "emptyDir" {
		n.Add("the data is in an emptyDir: it dies with the pod")
	}
	if m.WALDir != "" {
		if v := volumeFor(m.Mounts, m.WALDir); v != nil && (m.DataVolume == nil || v.MountPath != m.DataVolume.MountPath) {
			m.WALVolume = v
		}
	}
	seen := map[string]bool{}
	for _, file := range m.files() {
		if v := volumeFor(m.Mounts, file); v != nil && !seen[v.MountPath] {
			seen[v.MountPath] = true
			m.TLSVolumes = append(m.TLSVolumes, *v)
		}
	}
}
