package inside

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify"
)

// Memory is about what etcd and the API server take together, in bytes: etcd maps its database, and the API server, which keeps no
// objects, has about 400 MiB for itself.
func Memory(r *verify.Report) int64 { return 450<<20 + r.DBSize }

// Warnings say what cannot be seen as it was: kinds that are encrypted, and another version of Kubernetes.
func (s *Server) Warnings(ctx context.Context) []string {
	var out []string
	for _, e := range s.Report.Encrypted {
		switch {
		case e.Prefix != s.Prefix:
		case e.Provider == "kms" && !s.decrypts:
			out = append(out, fmt.Sprintf("%s: %d are encrypted by the KMS plugin %s, which has to run here to read them", e.Kind, e.Objects, e.KeyName))
		case !s.decrypts:
			out = append(out, fmt.Sprintf("%s: %d are encrypted with %s, key %s, and cannot be read without --encryption-config", e.Kind, e.Objects, e.Provider, e.KeyName))
		}
	}
	if was := s.kubelet(ctx); was != "" && minor(was) != minor(s.Version) {
		out = append(out, fmt.Sprintf("the nodes of the snapshot run Kubernetes %s, and this API server is %s: what it shows may be called otherwise", was, s.Version))
	}
	return out
}

// kubelet is the version of a node in the snapshot; empty where there is none.
func (s *Server) kubelet(ctx context.Context) string {
	body, err := s.client.Get(ctx, "/api/v1/nodes?limit=1")
	if err != nil {
		return ""
	}
	var nodes struct {
		Items []struct {
			Status struct {
				NodeInfo struct{ KubeletVersion string }
			}
		}
	}
	if json.Unmarshal(body, &nodes) != nil || len(nodes.Items) == 0 {
		return ""
	}
	return strings.TrimPrefix(nodes.Items[0].Status.NodeInfo.KubeletVersion, "v")
}

// minor is 1.36 of 1.36.3.
func minor(version string) string {
	parts := strings.SplitN(version, ".", 3)
	return strings.Join(parts[:min(2, len(parts))], ".")
}
