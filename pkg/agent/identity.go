package agent

import (
	"context"
	"strings"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/agentapi"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/answer"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify"
)

const (
	kubeSystemKey = "/namespaces/kube-system"
	// maxPlanes bounds beneath how many first parts of keys a control plane is looked for.
	maxPlanes = 256
	// maxOthers bounds how many keys of one part, which are no control plane's, are passed over for that.
	maxOthers = 4096
)

func identity(ctx context.Context, s *Session) error {
	var req agentapi.IdentityRequest
	if err := s.Decode(&req); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, answer.QueryTimeout)
	defer cancel()
	return with(ctx, req.Endpoint, func(c *etcd.Conn) error {
		uids, err := KubeSystemUIDs(ctx, c, req.Prefixes)
		if err != nil {
			return err
		}
		return s.End(agentapi.IdentityReply{KubeSystemUIDs: uids})
	})
}

// KubeSystemUIDs is what RequestIdentity does. It finds every prefix of one part by itself, reading one key for each: several
// control planes may share an etcd.
func KubeSystemUIDs(ctx context.Context, c *etcd.Conn, prefixes []string) (map[string]string, error) {
	uids := map[string]string{}
	look := func(prefix string) error {
		value, err := c.Value(ctx, prefix+kubeSystemKey)
		if err != nil {
			return err
		}
		if uid, ok := verify.NamespaceUID(value); ok {
			uids[prefix] = uid
		}
		return nil
	}
	for _, p := range prefixes {
		if err := look(p); err != nil {
			return nil, err
		}
	}
	from := "/"
	for planes, others := 0, 0; planes < maxPlanes && others < maxOthers; {
		key, err := c.FirstKey(ctx, from)
		if err != nil {
			return nil, err
		}
		if !strings.HasPrefix(key, "/") {
			break
		}
		part, _, below := strings.Cut(key[1:], "/")
		if !below { // a key of one part, such as /a
			from = key + "\x00"
			others++
			continue
		}
		if err := look("/" + part); err != nil {
			return nil, err
		}
		planes++
		from = "/" + part + "0" // what follows all that begins with /part/
	}
	return uids, nil
}
