package controlplane

import (
	corev1 "k8s.io/api/core/v1"
	appsv1client "k8s.io/client-go/kubernetes/typed/apps/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
)

// Client is what Find reads from. The typed clients are taken one by one,
// because the clientset of all groups makes a binary tens of megabytes larger.
// Apps may be nil: then members that have no pod are not found.
type Client struct {
	Core corev1client.CoreV1Interface
	Apps appsv1client.AppsV1Interface
}

// Query says where to look.
type Query struct {
	// Namespace is the only namespace looked at; "" is all of them.
	Namespace string
}

// Layout names the product whose habits a control plane follows.
type Layout string

// The layouts that are told apart. Generic is every other pod that runs etcd;
// External is an etcd that no pod runs, known from its API servers only.
const (
	Kubeadm     Layout = "kubeadm"
	Kubeception Layout = "kubeception"
	HyperShift  Layout = "hypershift"
	OpenShift   Layout = "openshift"
	Gardener    Layout = "gardener"
	Kamaji      Layout = "kamaji"
	VCluster    Layout = "vcluster"
	Karmada     Layout = "karmada"
	RKE2        Layout = "rke2"
	Kubermatic  Layout = "kubermatic"
	Generic     Layout = "generic"
	External    Layout = "external"
)

// ControlPlane is one etcd cluster and what writes to it.
type ControlPlane struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Layout    Layout `json:"layout"`
	// Owner is what runs the pods: a StatefulSet, "StaticPod" for pods that
	// the kubelets run from files, "Pod" for pods that nothing owns. Where an
	// operator gives each pod an owner of its own, it is what owns these all.
	Owner Owner `json:"owner"`
	// Beside are other control planes whose etcds run in the same pods: they
	// start and stop together.
	Beside []string `json:"beside,omitempty"`
	// Manager is the owner's own controller, if any (a HostedControlPlane, an
	// Etcd): it puts back what is changed.
	Manager *Owner `json:"manager,omitempty"`
	// Members are sorted by name. An External control plane has none.
	Members []Member `json:"members"`
	// APIServers are the API servers, of those looked at, that use this etcd.
	APIServers []APIServer `json:"apiServers,omitempty"`
	// Endpoints and ClientTLS are set for External only: as the API server
	// has them; the paths are inside its container.
	Endpoints []string  `json:"endpoints,omitempty"`
	ClientTLS *TLSFiles `json:"clientTLS,omitempty"`
	// Place is set for an External one that has no endpoint to reach it by.
	Place *Place `json:"place,omitempty"`
	// Notes are facts that could not be read, and what was assumed instead.
	Notes []string `json:"notes,omitempty"`

	owners    []Owner // of its pods, each once
	container string  // of etcd, where its pods run several
	base      string  // the name of what owns the owners
}

// ID is how a user names the control plane on the command line.
func (c ControlPlane) ID() string { return c.Namespace + "/" + c.Name }

// Pods are those of its members and of the API servers that use it, each once, as they were found.
func (c ControlPlane) Pods() (out []*corev1.Pod) {
	seen := map[string]bool{}
	add := func(p *corev1.Pod) {
		if p != nil && !seen[p.Namespace+"/"+p.Name] {
			seen[p.Namespace+"/"+p.Name] = true
			out = append(out, p)
		}
	}
	for _, m := range c.Members {
		add(m.Object)
	}
	for _, a := range c.APIServers {
		add(a.object)
	}
	return out
}

// Static says that kubelets run it from files.
func (c ControlPlane) Static() bool { return c.Owner.Kind == ownerStatic }

// External says that no pod runs this etcd.
func (c ControlPlane) External() bool { return c.Layout == External }

// Ready counts the members whose etcd container is ready.
func (c ControlPlane) Ready() int {
	n := 0
	for _, m := range c.Members {
		if m.Ready {
			n++
		}
	}
	return n
}

// Member returns the member with that etcd name or pod name.
func (c ControlPlane) Member(name string) (Member, bool) {
	for _, m := range c.Members {
		if m.Name == name {
			return m, true
		}
	}
	for _, m := range c.Members {
		if m.Pod != "" && m.Pod == name {
			return m, true
		}
	}
	return Member{}, false
}

// Owner names an object.
type Owner struct {
	APIVersion string `json:"apiVersion,omitempty"`
	Kind       string `json:"kind"`
	Name       string `json:"name"`
	UID        string `json:"uid,omitempty"`
}

// TLSFiles are paths inside a container; "" where there is none.
type TLSFiles struct {
	CA   string `json:"ca,omitempty"`
	Cert string `json:"cert,omitempty"`
	Key  string `json:"key,omitempty"`
}

// Empty says that no file is named.
func (t TLSFiles) Empty() bool { return t == TLSFiles{} }

// PhaseMissing is the phase of a member whose pod does not exist, known from
// the template of its StatefulSet.
const PhaseMissing = "Missing"

// Member is one member of an etcd cluster, as its pod describes it. etcd
// itself was not asked: the members' own list may differ.
type Member struct {
	// Name is the etcd member's name, not the pod's.
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
	// Pod is "" when the pod does not exist; PodName is then what its
	// StatefulSet would call it.
	Pod       string `json:"pod"`
	PodName   string `json:"podName"`
	PodUID    string `json:"podUID,omitempty"`
	Node      string `json:"node,omitempty"`
	NodeReady *bool  `json:"nodeReady,omitempty"` // nil: not known
	Container string `json:"container"`
	Image     string `json:"image"`
	ImageID   string `json:"imageID,omitempty"`
	// Version is read from the image's tag; "" when that is no etcd version.
	Version  string `json:"version,omitempty"`
	Ready    bool   `json:"ready"`
	Phase    string `json:"phase"`
	Reason   string `json:"reason,omitempty"`
	Restarts int32  `json:"restarts"`

	Security
	HostNetwork      bool     `json:"hostNetwork,omitempty"`
	PodIP            string   `json:"podIP,omitempty"`
	HostIP           string   `json:"hostIP,omitempty"`
	Hostname         string   `json:"hostname,omitempty"`
	Subdomain        string   `json:"subdomain,omitempty"`
	ServiceAccount   string   `json:"serviceAccount,omitempty"`
	ImagePullSecrets []string `json:"imagePullSecrets,omitempty"`
	RuntimeClass     string   `json:"runtimeClass,omitempty"`

	// FoundBy is what told that this is a member, where a program that cannot
	// be looked into starts it. Its settings are then assumed.
	FoundBy []string `json:"foundBy,omitempty"`
	// Command is etcd's own command line, out of any shell around it, with
	// variables put in. It is empty when the image's entrypoint starts etcd.
	Command []string `json:"command,omitempty"`
	Settings

	// ClientTLS is what a client inside the pod should use first, and
	// ClientTLSAlternatives what next, in order, when those files are not
	// there or not accepted. All empty when clients are served without TLS.
	ClientTLS             TLSFiles   `json:"clientTLS"`
	ClientTLSAlternatives []TLSFiles `json:"clientTLSAlternatives,omitempty"`
	// APIServerTLS is what the API servers of the member's namespace reach it with, where that is in Secrets or ConfigMaps.
	APIServerTLS []TLSRefs `json:"-"`
	// Endpoint is for a client in the member's network namespace, PodEndpoint
	// for one elsewhere ("" when etcd listens on the loopback only or the
	// pod's address is not known yet).
	Endpoint    string `json:"endpoint,omitempty"`
	PodEndpoint string `json:"podEndpoint,omitempty"`
	// LoopbackPort is what a port-forward into the pod reaches; 0 when etcd
	// does not listen on the loopback.
	LoopbackPort int `json:"loopbackPort,omitempty"`
	// ServerName is the name to verify in etcd's certificate; "" means the
	// host that is dialled.
	ServerName string `json:"serverName,omitempty"`

	// DataVolume holds DataDir, WALVolume holds WALDir where that is another
	// mount; nil when no volume is mounted there (the data is in the
	// container's own file system).
	DataVolume *VolumeRef  `json:"dataVolume,omitempty"`
	WALVolume  *VolumeRef  `json:"walVolume,omitempty"`
	TLSVolumes []VolumeRef `json:"tlsVolumes,omitempty"`
	Mounts     []VolumeRef `json:"mounts,omitempty"`
	Notes      []string    `json:"notes,omitempty"`

	// Object is the pod; for a missing one, as its StatefulSet would make it.
	Object *corev1.Pod `json:"-"`
}

// Missing says that the member has no pod.
func (m Member) Missing() bool { return m.Pod == "" }

// NodeSilent reports that the kubelet of the member's node is known not to answer:
// no pod starts there, whatever the member itself says.
func (m Member) NodeSilent() bool { return m.NodeReady != nil && !*m.NodeReady }

// Security is what a second pod must have alike to share the member's files.
type Security struct {
	RunAsUser           *int64                 `json:"runAsUser,omitempty"`
	RunAsGroup          *int64                 `json:"runAsGroup,omitempty"`
	RunAsNonRoot        *bool                  `json:"runAsNonRoot,omitempty"`
	FSGroup             *int64                 `json:"fsGroup,omitempty"`
	FSGroupChangePolicy string                 `json:"fsGroupChangePolicy,omitempty"`
	SupplementalGroups  []int64                `json:"supplementalGroups,omitempty"`
	SELinux             *corev1.SELinuxOptions `json:"seLinux,omitempty"`
}

// Settings are etcd's own settings, from its command line, its environment or
// its configuration file; etcd's defaults where nothing says otherwise.
type Settings struct {
	ConfigFile          string   `json:"configFile,omitempty"`
	DataDir             string   `json:"dataDir,omitempty"`
	WALDir              string   `json:"walDir,omitempty"`
	ListenClientURLs    []string `json:"listenClientURLs,omitempty"`
	AdvertiseClientURLs []string `json:"advertiseClientURLs,omitempty"`
	ListenPeerURLs      []string `json:"listenPeerURLs,omitempty"`
	AdvertisePeerURLs   []string `json:"advertisePeerURLs,omitempty"`
	// InitialCluster is as written (NAME=URL,…). It lists the members known
	// when this one was started for the first time.
	InitialCluster      string `json:"initialCluster,omitempty"`
	InitialClusterState string `json:"initialClusterState,omitempty"`
	InitialClusterToken string `json:"initialClusterToken,omitempty"`
	QuotaBytes          int64  `json:"quotaBytes,omitempty"` // 0: etcd's default (2 GiB)
	SnapshotCount       int64  `json:"snapshotCount,omitempty"`
	ClientCertAuth      bool   `json:"clientCertAuth,omitempty"`
	// ServerTLS and PeerTLS: CA verifies the other side's certificate.
	ServerTLS TLSFiles `json:"serverTLS"`
	PeerTLS   TLSFiles `json:"peerTLS"`
}

// EncryptionFlag names the file with an API server's EncryptionConfiguration.
const EncryptionFlag = "encryption-provider-config"

// APIServer is a process that was told to use an etcd.
type APIServer struct {
	Namespace   string   `json:"namespace"`
	Pod         string   `json:"pod"`
	Node        string   `json:"node,omitempty"`
	Container   string   `json:"container"`
	Image       string   `json:"image"`
	Ready       bool     `json:"ready"`
	EtcdServers []string `json:"etcdServers"`
	// Overrides are --etcd-servers-overrides: resources kept in another etcd.
	Overrides  []Override `json:"overrides,omitempty"`
	EtcdPrefix string     `json:"etcdPrefix"`
	TLS        TLSFiles   `json:"tls"`
	// Encryption is the path of its EncryptionConfiguration, inside its container; "" where it encrypts nothing at rest.
	Encryption string `json:"encryption,omitempty"`
	// For is set when this API server uses the control plane for these
	// resources only ("/events").
	For []string `json:"for,omitempty"`

	object *corev1.Pod
}

// Override sends one resource ("group/resource") to other servers.
type Override struct {
	Resource string   `json:"resource"`
	Servers  []string `json:"servers"`
}

// VolumeRef is a volume and where the member's container mounts it.
type VolumeRef struct {
	// Kind is hostPath, pvc, secret, configMap, projected, emptyDir, csi, nfs
	// or other.
	Kind string `json:"kind"`
	// Name is the volume's name in the pod.
	Name string `json:"name"`
	// Source is the host's path, the claim, or the Secrets and ConfigMaps
	// (a projected volume may have several).
	Source    []string `json:"source,omitempty"`
	MountPath string   `json:"mountPath"`
	SubPath   string   `json:"subPath,omitempty"`
	ReadOnly  bool     `json:"readOnly,omitempty"`

	// Volume and Mount put into another pod of the same namespace and node
	// mount the same files there, when Shareable.
	Volume corev1.Volume      `json:"-"`
	Mount  corev1.VolumeMount `json:"-"`
}

// Shareable says whether a second pod can mount the same files: an emptyDir
// belongs to its pod alone.
func (v VolumeRef) Shareable() bool { return v.Kind != "emptyDir" && v.Kind != "other" }
