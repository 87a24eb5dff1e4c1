package reach

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
)

func hostPath(name, path string, kind corev1.HostPathType) controlplane.VolumeRef {
	return controlplane.VolumeRef{Kind: "hostPath", Name: name, Source: []string{path}, MountPath: path,
		Volume: corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: path, Type: &kind}}},
		Mount:  corev1.VolumeMount{Name: name, MountPath: path}}
}

// kubeadm is a member as kubeadm makes it.
func kubeadm() controlplane.Member {
	data := hostPath("etcd-data", "/var/lib/etcd", corev1.HostPathDirectoryOrCreate)
	return controlplane.Member{
		Name: "node-1", Namespace: "kube-system", Pod: "etcd-node-1", PodName: "etcd-node-1", Node: "node-1", Container: "etcd",
		Image: "registry.example/etcd:3.6.8-0", HostNetwork: true,
		Settings:  controlplane.Settings{DataDir: "/var/lib/etcd"},
		ClientTLS: controlplane.TLSFiles{CA: "/etc/kubernetes/pki/etcd/ca.crt", Cert: "/etc/kubernetes/pki/etcd/server.crt", Key: "/etc/kubernetes/pki/etcd/server.key"},
		Endpoint:  "https://127.0.0.1:2379", PodEndpoint: "https://10.0.0.1:2379", LoopbackPort: 2379,
		DataVolume: &data, TLSVolumes: []controlplane.VolumeRef{hostPath("etcd-certs", "/etc/kubernetes/pki/etcd", corev1.HostPathDirectoryOrCreate)},
	}
}

// hosted is a member of a StatefulSet whose certificates are in Secrets.
func hosted() controlplane.Member {
	user, group, nonRoot := int64(1001), int64(2001), true
	secret := controlplane.VolumeRef{Kind: "secret", Name: "tls", Source: []string{"etcd-client"}, MountPath: "/tls", ReadOnly: true,
		Volume: corev1.Volume{Name: "tls", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "etcd-client"}}},
		Mount:  corev1.VolumeMount{Name: "tls", MountPath: "/tls"}}
	other := hostPath("unrelated", "/unrelated", corev1.HostPathDirectory)
	pvc := controlplane.VolumeRef{Kind: "pvc", Name: "data", Source: []string{"data-etcd-0"}, MountPath: "/data",
		Volume: corev1.Volume{Name: "data", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data-etcd-0"}}},
		Mount:  corev1.VolumeMount{Name: "data", MountPath: "/data", SubPath: "etcd"}}
	return controlplane.Member{
		Mounts: []controlplane.VolumeRef{other, secret, pvc},
		Name:   "etcd-0", Namespace: "team-a", Pod: "etcd-0", PodName: "etcd-0", Node: "worker-1", Container: "etcd", Image: "registry.example/etcd:3.5.35-0",
		Security: controlplane.Security{RunAsUser: &user, RunAsGroup: &group, RunAsNonRoot: &nonRoot, FSGroup: &group, FSGroupChangePolicy: "OnRootMismatch",
			SupplementalGroups: []int64{7}, SELinux: &corev1.SELinuxOptions{Level: "s0:c1,c2"}},
		ImagePullSecrets: []string{"pull"}, RuntimeClass: "gvisor",
		Settings:  controlplane.Settings{DataDir: "/data"},
		ClientTLS: controlplane.TLSFiles{CA: "/tls/ca.crt", Cert: "/tls/tls.crt", Key: "/tls/tls.key"},
		Endpoint:  "https://127.0.0.1:2379", PodEndpoint: "https://10.1.0.1:2379", LoopbackPort: 2379, ServerName: "etcd-0.etcd.team-a.svc",
		DataVolume: &pvc, TLSVolumes: []controlplane.VolumeRef{other, secret},
	}
}

// TestUtilityPod guards the whole pod: what it may do on a node is nothing to change by accident.
func TestUtilityPod(t *testing.T) {
	t.Parallel()
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "kubectl-etcd-x", UID: "uid-1"}}
	base := Options{Operation: "backup", Lifetime: 2 * time.Hour}
	raw, scratch := base, base
	raw.Data = true
	scratch.scratch = 1 << 30
	files := Options{Operation: "keys", Lifetime: time.Hour, hostPaths: []HostPath{{"/etc/kubernetes/manifests", corev1.HostPathDirectory}, {"/etc/kubernetes/pki", corev1.HostPathDirectoryOrCreate}}}
	apiServer := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "kube-apiserver-node-1"}, Spec: corev1.PodSpec{NodeName: "node-1",
		RuntimeClassName: ptr("gvisor"), ImagePullSecrets: []corev1.LocalObjectReference{{Name: "pull"}},
		SecurityContext: &corev1.PodSecurityContext{RunAsUser: ptr(int64(1001)), SELinuxOptions: &corev1.SELinuxOptions{Type: "spc_t"}},
		Containers:      []corev1.Container{{Image: "registry.example/kube-apiserver:v1.36.0", Env: []corev1.EnvVar{{Name: "A", Value: "secret-password"}}}}}}
	for name, pod := range map[string]*corev1.Pod{
		"kubeadm":      utilityPod("kubectl-etcd-x", cm, kubeadm(), base),
		"kubeadm-raw":  utilityPod("kubectl-etcd-x", cm, kubeadm(), raw),
		"hosted":       utilityPod("kubectl-etcd-x", cm, hosted(), base),
		"hosted-raw":   utilityPod("kubectl-etcd-x", cm, hosted(), raw),
		"files":        utilityPod("kubectl-etcd-x", cm, besideOf(apiServer), files),
		"with-scratch": utilityPod("kubectl-etcd-x", cm, controlplane.Member{Namespace: "n", PodName: "p", Image: "i", Node: "w"}, scratch),
	} {
		got, err := yaml.Marshal(pod)
		if err != nil {
			t.Fatal(err)
		}
		golden := filepath.Join("testdata", "pod-"+name+".yaml")
		if os.Getenv("UPDATE_GOLDEN") != "" {
			if err := os.WriteFile(golden, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != string(want) {
			t.Errorf("%s: the pod is now\n%s(UPDATE_GOLDEN=1 accepts it)", name, got)
		}
		safe(t, name, pod)
	}
}

// safe checks what holds for every utility pod.
func safe(t *testing.T, name string, pod *corev1.Pod) {
	t.Helper()
	c := pod.Spec.Containers[0]
	if *c.SecurityContext.AllowPrivilegeEscalation || !*c.SecurityContext.ReadOnlyRootFilesystem || len(c.SecurityContext.Capabilities.Add) > 0 && name != "files" ||
		*pod.Spec.AutomountServiceAccountToken || pod.Spec.HostPID || len(c.Env) > 0 || pod.Spec.ActiveDeadlineSeconds == nil {
		t.Errorf("%s: it may more than it should", name)
	}
	mounts := map[string]bool{}
	for _, m := range c.VolumeMounts {
		mounts[m.Name] = true
		own := strings.HasPrefix(m.MountPath, "/kubectl-etcd/") && !strings.HasPrefix(m.MountPath, hostDir)
		if !own && (!m.ReadOnly || m.MountPropagation != nil) {
			t.Errorf("%s: %s can be written", name, m.MountPath)
		}
	}
	for _, v := range pod.Spec.Volumes {
		if !mounts[v.Name] {
			t.Errorf("%s: volume %s is not used", name, v.Name)
		}
		if v.HostPath != nil && v.HostPath.Type != nil && *v.HostPath.Type == corev1.HostPathDirectoryOrCreate {
			t.Errorf("%s: volume %s can be created on the host", name, v.Name)
		}
	}
	// A password travels on stdin; nothing secret is in the object.
	b, _ := json.Marshal(pod)
	if strings.Contains(string(b), "secret-password") {
		t.Errorf("%s: a password is in the pod", name)
	}
}

func TestMemberMounts(t *testing.T) {
	t.Parallel()
	shared := hosted() // data and TLS in one volume, by two mounts
	shared.TLSVolumes[1].Volume = shared.DataVolume.Volume
	shared.TLSVolumes[1].Name, shared.TLSVolumes[1].Mount.Name = "data", "data"
	empty := hosted()
	empty.TLSVolumes[1].Kind = "emptyDir"
	bi := corev1.MountPropagationBidirectional
	propagated := kubeadm()
	propagated.DataVolume.Mount.MountPropagation = &bi
	for name, c := range map[string]struct {
		m               controlplane.Member
		data            bool
		mounts, volumes string
	}{
		"TLS only":           {kubeadm(), false, "/etc/kubernetes/pki/etcd", "etcd-certs"},
		"data too":           {kubeadm(), true, "/etc/kubernetes/pki/etcd /var/lib/etcd", "etcd-certs etcd-data"},
		"propagated":         {propagated, true, "/etc/kubernetes/pki/etcd /var/lib/etcd", "etcd-certs etcd-data"},
		"nothing else":       {hosted(), false, "/tls", "tls"},
		"one volume, twice":  {shared, true, "/tls /data", "data"},
		"not to be shared":   {empty, false, "", ""},
		"no TLS":             {controlplane.Member{TLSVolumes: kubeadm().TLSVolumes}, false, "", ""},
		"no volume for data": {controlplane.Member{}, true, "", ""},
	} {
		set := memberMounts(c.m, Options{Data: c.data})
		var mounts, volumes []string
		for _, m := range set.mounts {
			mounts = append(mounts, m.MountPath)
			if !m.ReadOnly || m.MountPropagation != nil {
				t.Errorf("%s: %+v", name, m)
			}
		}
		for _, v := range set.volumes {
			volumes = append(volumes, v.Name)
		}
		if strings.Join(mounts, " ") != c.mounts || strings.Join(volumes, " ") != c.volumes {
			t.Errorf("%s: mounts %q, volumes %q", name, mounts, volumes)
		}
	}
	// The member's own description stays as it is.
	m := kubeadm()
	memberMounts(m, Options{Data: true})
	if *m.DataVolume.Volume.HostPath.Type != corev1.HostPathDirectoryOrCreate || m.DataVolume.Mount.ReadOnly {
		t.Error("the member was changed")
	}
}

func TestHoldsAny(t *testing.T) {
	t.Parallel()
	tls := controlplane.TLSFiles{CA: "/pki/etcd/ca.crt"}
	for dir, want := range map[string]bool{"/pki/etcd": true, "/pki/etcd/": true, "/pki": true, "/": true, "/pki/etcd/ca.crt": true, "/pki/et": false, "/etc": false} {
		if holdsAny(dir, tls) != want {
			t.Errorf("%s: %t", dir, !want)
		}
	}
}

func TestAgentEndpoint(t *testing.T) {
	t.Parallel()
	loopbackOnly := hosted()
	loopbackOnly.PodEndpoint = ""
	for name, c := range map[string]struct {
		m         controlplane.Member
		o         Options
		url, host string
	}{
		"host network":  {kubeadm(), Options{}, "https://127.0.0.1:2379", ""},
		"pod network":   {hosted(), Options{}, "https://10.1.0.1:2379", "etcd-0.etcd.team-a.svc"},
		"as told":       {hosted(), Options{ServerName: "other"}, "https://10.1.0.1:2379", "other"},
		"loopback only": {loopbackOnly, Options{}, "https://127.0.0.1:2379", "etcd-0.etcd.team-a.svc"},
		"with a user":   {kubeadm(), Options{Username: "u", Password: "p"}, "https://127.0.0.1:2379", ""},
	} {
		e := agentEndpoint(c.m, c.o)
		if e.URL != c.url || e.ServerName != c.host || e.CA != c.m.ClientTLS.CA || e.Username != c.o.Username || e.Password != c.o.Password {
			t.Errorf("%s: %+v", name, e)
		}
	}
}

func TestShareable(t *testing.T) {
	t.Parallel()
	emptyTLS, emptyData, noData, otherEmpty := hosted(), hosted(), hosted(), hosted()
	emptyTLS.TLSVolumes[1].Kind = "emptyDir"
	emptyData.DataVolume.Kind = "emptyDir"
	noData.DataVolume = nil
	otherEmpty.TLSVolumes[0].Kind = "emptyDir"
	for name, c := range map[string]struct {
		m    controlplane.Member
		data bool
		want string
	}{
		"kubeadm":               {kubeadm(), true, ""},
		"TLS in an emptyDir":    {emptyTLS, false, "TLS files are in a volume (emptyDir tls)"},
		"another emptyDir":      {otherEmpty, false, ""},
		"data not asked for":    {noData, false, ""},
		"data in the container": {noData, true, "/data is in no volume"},
		"data in an emptyDir":   {emptyData, true, "/data is in no volume"},
	} {
		err := shareable(c.m, Options{Data: c.data})
		if (err == nil) != (c.want == "") || err != nil && (!strings.Contains(err.Error(), c.want) || !fallsBack(err)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestForwardable(t *testing.T) {
	t.Parallel()
	noLoopback, noTLS := hosted(), hosted()
	noLoopback.LoopbackPort = 0
	noTLS.ClientTLS = controlplane.TLSFiles{}
	for name, c := range map[string]struct {
		m    controlplane.Member
		want bool
	}{"certificates on the node": {kubeadm(), false}, "certificates in a Secret": {hosted(), true}, "not on its loopback": {noLoopback, false}, "no TLS": {noTLS, true}} {
		if forwardable(c.m, Options{}) != c.want {
			t.Errorf("%s: %t", name, !c.want)
		}
	}
}

func TestPlan(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		m       controlplane.Member
		way     Way
		o       Options
		want    Way
		creates int
	}{
		"kubeadm":        {kubeadm(), Auto, Options{}, Agent, 2},
		"hosted":         {hosted(), Auto, Options{}, Forward, 0},
		"hosted, raw":    {hosted(), Auto, Options{Data: true}, Agent, 2},
		"hosted, large":  {hosted(), Auto, Options{PreferAgent: true}, Agent, 2},
		"agent asked":    {hosted(), Agent, Options{}, Agent, 2},
		"exec asked for": {kubeadm(), Exec, Options{}, Exec, 0},
	} {
		way, creates := Plan(c.m, c.way, c.o)
		if way != c.want || len(creates) != c.creates {
			t.Errorf("%s: %s, %q", name, way, creates)
		}
	}
}

func TestObjectName(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, pod := range []string{"etcd-0", "etcd-node.with.dots.example.com", strings.Repeat("long-", 40), strings.Repeat("a", 39) + "-b", "etcd-0"} {
		m := controlplane.Member{PodName: pod}
		name := objectName(m)
		if errs := validation.IsDNS1123Label(name); len(errs) > 0 || len(name) > 63 || seen[name] {
			t.Errorf("%s: %s: %v", pod, name, errs)
		}
		seen[name] = true
		for k, v := range objectLabels(m, Options{Operation: "backup"}) {
			if errs := validation.IsValidLabelValue(v); len(errs) > 0 {
				t.Errorf("label %s=%s: %v", k, v, errs)
			}
		}
	}
}

func TestPodTrouble(t *testing.T) {
	t.Parallel()
	status := func(s corev1.ContainerState) *corev1.Pod {
		return &corev1.Pod{Status: corev1.PodStatus{Phase: corev1.PodPending, ContainerStatuses: []corev1.ContainerStatus{{State: s}}}}
	}
	waiting := func(reason string) *corev1.Pod {
		return status(corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: "why"}})
	}
	for _, c := range []struct {
		pod  *corev1.Pod
		want string
	}{
		{&corev1.Pod{}, ""},
		{waiting("ContainerCreating"), ""},
		{waiting("PodInitializing"), ""},
		{waiting("ErrImagePull"), "ErrImagePull: why"},
		{waiting("ImagePullBackOff"), "ImagePullBackOff: why"},
		{waiting("CreateContainerConfigError"), "CreateContainerConfigError: why"},
		{waiting("CrashLoopBackOff"), "CrashLoopBackOff: why"},
		{status(corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}), ""},
		{status(corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 139, Reason: "Error", Message: "m"}}), "its container ended with exit code 139: Error m"},
		{&corev1.Pod{Status: corev1.PodStatus{Phase: corev1.PodFailed, Reason: "Evicted", Message: "the node was low on memory"}}, "Evicted: the node was low on memory"},
	} {
		if got := podTrouble(c.pod); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
	if got := describe(waiting("ContainerCreating")); got != "ContainerCreating why" {
		t.Errorf("%q", got)
	}
	if got := describe(&corev1.Pod{Status: corev1.PodStatus{Phase: corev1.PodPending}}); got != "phase Pending" {
		t.Errorf("%q", got)
	}
}

func TestRights(t *testing.T) {
	t.Parallel()
	for _, r := range Rights(Agent) {
		if r.Verb == "*" || r.Resource == "*" {
			t.Errorf("%s", r)
		}
	}
	if Rights(Direct) != nil {
		t.Error("the direct way needs no rights in a cluster")
	}
	err := error(&MissingRightsError{Namespace: "kube-system", Missing: []Right{
		{Verb: "create", Resource: "pods", Subresource: "exec"}, {Verb: "get", Resource: "statefulsets", Group: "apps"}}})
	if got, want := err.Error(), `forbidden in namespace "kube-system": create pods/exec, get statefulsets.apps`; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestRightsAreInTheManifest keeps what is asked for and what --print-rbac prints the same.
func TestRightsAreInTheManifest(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile(filepath.Join("..", "..", "manifests", "rbac-backup.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []Way{Agent, Forward, Exec} {
		for _, r := range Rights(w) {
			resource := r.Resource
			if r.Subresource != "" {
				resource += "/" + r.Subresource
			}
			rule := regexp.MustCompile(`resources: \[[^\]]*\b` + regexp.QuoteMeta(resource) + `(?:,[^\]]*)?\]\n  verbs: \[[^\]]*\b` + r.Verb + `\b`)
			if !rule.Match(b) {
				t.Errorf("%s of way %s is not in the manifest", r, w)
			}
		}
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	pods := schema.GroupResource{Resource: "pods"}
	for _, c := range []struct {
		err   error
		other bool // another way may work
	}{
		{apierrors.NewForbidden(pods, "p", errors.New("violates PodSecurity")), true},
		{apierrors.NewInvalid(schema.GroupKind{Kind: "Pod"}, "p", nil), true},
		{apierrors.NewServiceUnavailable("down"), false},
		{errors.New("connection refused"), false},
	} {
		if err := refused("create utility pod", c.err); fallsBack(err) != c.other || !errors.Is(err, c.err) || !strings.HasPrefix(err.Error(), "create utility pod: ") {
			t.Errorf("%v", err)
		}
	}
}

func TestOpenWithoutPod(t *testing.T) {
	t.Parallel()
	gone := hosted()
	gone.Pod = ""
	for _, open := range []func() (Link, error){
		func() (Link, error) { return OpenQuery(t.Context(), nil, gone, Options{}) },
		func() (Link, error) { return Open(t.Context(), nil, gone, Auto, Options{}) },
	} {
		if _, err := open(); err == nil || !strings.Contains(err.Error(), "its pod does not exist") {
			t.Errorf("%v", err)
		}
	}
	if _, err := Open(t.Context(), nil, hosted(), Direct, Options{}); err == nil || !strings.Contains(err.Error(), "--endpoint") {
		t.Errorf("%v", err)
	}
	if _, err := Open(t.Context(), nil, kubeadm(), Forward, Options{}); !fallsBack(err) {
		t.Errorf("%v", err)
	}
	if _, err := Open(t.Context(), nil, kubeadm(), Exec, Options{Username: "u"}); !fallsBack(err) {
		t.Errorf("%v", err)
	}
	unscheduled := hosted()
	unscheduled.Node = ""
	if _, err := Open(t.Context(), nil, unscheduled, Agent, Options{}); err == nil || !strings.Contains(err.Error(), "on no node") {
		t.Errorf("%v", err)
	}
}
