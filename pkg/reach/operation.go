package reach

import (
	"context"
	"errors"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/agentapi"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/datadir"
)

// Alive tells whether the utility pod still runs: a node that was restarted
// takes it along. When nobody answers it is taken to live; what is asked next says more.
func (s *Stage) Alive(ctx context.Context) bool {
	pod, err := s.link.clients.Core.Pods(s.link.target.Namespace).Get(ctx, s.link.target.Pod, metav1.GetOptions{})
	if err != nil {
		return !apierrors.IsNotFound(err)
	}
	return pod.DeletionTimestamp == nil && len(pod.Status.ContainerStatuses) > 0 && pod.Status.ContainerStatuses[0].State.Running != nil &&
		pod.Status.ContainerStatuses[0].RestartCount == 0
}

// Follow takes note that the member has another pod now, with another address.
func (s *Stage) Follow(m controlplane.Member) {
	s.link.member, s.link.endpoint = m, agentEndpoint(m, s.link.opts)
}

// Puts watches the member's etcd, and returns the first key that was written and at which revision.
func (s *Stage) Puts(ctx context.Context, during time.Duration) (string, int64, error) {
	r, err := ask[agentapi.PutsReply](ctx, s, agentapi.RequestPuts, agentapi.PutsRequest{Endpoint: s.link.endpoint, Seconds: during.Seconds()}, nil)
	if err != nil {
		return "", 0, err
	}
	return r.Key, r.Revision, nil
}

// KubeSystemUIDs asks the member's etcd whose data it holds, by prefix; nothing where that cannot be told. The prefixes are
// looked at besides those that it finds itself.
func (s *Stage) KubeSystemUIDs(ctx context.Context, prefixes []string) (map[string]string, error) {
	r, err := ask[agentapi.IdentityReply](ctx, s, agentapi.RequestIdentity, agentapi.IdentityRequest{Endpoint: s.link.endpoint, Prefixes: prefixes}, nil)
	if err != nil {
		return nil, err
	}
	return r.KubeSystemUIDs, nil
}

// Disarm takes back alarms, NOSPACE after making room where that is needed, CORRUPT where that came with the data.
func (s *Stage) Disarm(ctx context.Context, corrupt bool) (*agentapi.DisarmReply, error) {
	return ask[agentapi.DisarmReply](ctx, s, agentapi.RequestDisarm, agentapi.DisarmRequest{Endpoint: s.link.endpoint, Corrupt: corrupt}, nil)
}

// RemoveOperation deletes all utility pods of an operation, whoever made them.
func RemoveOperation(ctx context.Context, c *Clients, namespace, id string) error {
	list, err := c.Core.ConfigMaps(namespace).List(ctx, metav1.ListOptions{LabelSelector: labelOperationID + "=" + id})
	if err != nil {
		return err
	}
	var errs []error
	for _, cm := range list.Items {
		errs = append(errs, Remove(ctx, c, namespace, cm.Name))
	}
	return errors.Join(errs...)
}

// Seed makes data beside the member's that says only who it will be; the request's Place is set here.
func (s *Stage) Seed(ctx context.Context, r datadir.SeedRequest) (*datadir.Built, error) {
	r.Place = s.place
	return ask[datadir.Built](ctx, s, agentapi.RequestSeed, r, nil)
}

// Membership asks another member of the cluster to change its members; the
// request's Endpoint is set here. Members of one StatefulSet have their TLS files
// at the same paths, so those in this pod do.
func (s *Stage) Membership(ctx context.Context, of controlplane.Member, r agentapi.MembershipRequest) (*agentapi.MembershipReply, error) {
	r.Endpoint = agentEndpoint(of, s.link.opts)
	return ask[agentapi.MembershipReply](ctx, s, agentapi.RequestMembership, r, nil)
}
