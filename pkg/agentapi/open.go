package agentapi

import "github.com/kubectl-etcd/kubectl-etcd/pkg/apiserver"

// What is open on a snapshot in a utility pod lasts as long as the conversation that opened it: its progress are Servings, and there
// is no reply but the error that says why it ended.
const (
	RequestHold      = "hold"       // nothing → Serving[struct{}], at once: it keeps a container from ending
	RequestServeEtcd = "serve-etcd" // ServeEtcdRequest → Serving[ServedEtcd]
	RequestServeAPI  = "serve-api"  // ServeAPIRequest → Serving[ServedAPI]
)

// Serving is how far it is.
type Serving[T any] struct {
	Step   string `json:"step,omitempty"`
	Served *T     `json:"served,omitempty"` // it is ready
}

// ServeEtcdRequest asks for an etcd on a snapshot in the agent's pod, with the programs of the agent's image. The snapshot has been proven
// where it comes from, and its upload, too.
type ServeEtcdRequest struct {
	Path        string `json:"path"`
	Raw         bool   `json:"raw,omitempty"`
	AuthEnabled bool   `json:"authEnabled,omitempty"` // its etcd has users
	DBSize      int64  `json:"dbSize"`                // of its database, in bytes
}

// ServedEtcd is how another container of the pod reaches it: a socket, and files, in a folder that both see.
type ServedEtcd struct {
	Dir      string `json:"dir"`
	Endpoint string `json:"endpoint"`
	Version  string `json:"version"`
	CA       string `json:"ca,omitempty"`
	Cert     string `json:"cert,omitempty"`
	Key      string `json:"key,omitempty"`
}

// ServeAPIRequest asks for an API server on that etcd.
type ServeAPIRequest struct {
	Etcd   ServedEtcd `json:"etcd"`
	Prefix string     `json:"prefix"`
	// EncryptionConfig is the path of a file in the pod.
	EncryptionConfig string `json:"encryptionConfig,omitempty"`
}

// ServedAPI is how its reader reaches it, on the pod's loopback.
type ServedAPI struct {
	apiserver.Access
	Version string `json:"version"`
}
