package reach

import (
	"context"
	"fmt"
	"strings"

	authv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Right is a verb on a resource of the member's namespace.
type Right struct{ Verb, Group, Resource, Subresource string }

func (r Right) String() string {
	name := r.Resource
	if r.Subresource != "" {
		name += "/" + r.Subresource
	}
	if r.Group != "" {
		name += "." + r.Group
	}
	return r.Verb + " " + name
}

// Rights lists what a way needs besides reading pods. Both verbs of a
// streaming subresource are asked for: since Kubernetes 1.35 a WebSocket needs
// "create", before it needed "get".
func Rights(w Way) []Right {
	switch w {
	case Agent:
		return []Right{
			{Verb: "create", Resource: "configmaps"}, {Verb: "delete", Resource: "configmaps"},
			{Verb: "create", Resource: "pods"}, {Verb: "delete", Resource: "pods"}, {Verb: "get", Resource: "pods"},
			{Verb: "create", Resource: "pods", Subresource: "exec"}, {Verb: "get", Resource: "pods", Subresource: "exec"},
		}
	case Forward:
		return []Right{
			{Verb: "create", Resource: "pods", Subresource: "portforward"}, {Verb: "get", Resource: "pods", Subresource: "portforward"},
			{Verb: "get", Resource: "secrets"},
		}
	case Exec:
		return []Right{
			{Verb: "create", Resource: "pods", Subresource: "exec"}, {Verb: "get", Resource: "pods", Subresource: "exec"},
		}
	}
	return nil
}

// MissingRightsError names what the user may not do.
type MissingRightsError struct {
	Namespace string
	Missing   []Right
}

func (e *MissingRightsError) Error() string {
	names := make([]string, len(e.Missing))
	for i, r := range e.Missing {
		names[i] = r.String()
	}
	where := "the whole cluster"
	if e.Namespace != "" {
		where = fmt.Sprintf("namespace %q", e.Namespace)
	}
	return fmt.Sprintf("forbidden in %s: %s", where, strings.Join(names, ", "))
}

// Require asks the API server which of these rights the user has, before
// anything is made. A server that cannot say is taken for a yes: the action
// itself will then answer.
func (c *Clients) Require(ctx context.Context, namespace string, rs []Right) error {
	var missing []Right
	for _, r := range rs {
		review, err := c.Auth.SelfSubjectAccessReviews().Create(ctx, &authv1.SelfSubjectAccessReview{
			Spec: authv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authv1.ResourceAttributes{
				Namespace: namespace, Verb: r.Verb, Group: r.Group, Resource: r.Resource, Subresource: r.Subresource,
			}},
		}, metav1.CreateOptions{})
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			continue
		}
		if !review.Status.Allowed {
			missing = append(missing, r)
		}
	}
	if len(missing) > 0 {
		return &NotPossible{Err: &MissingRightsError{Namespace: namespace, Missing: missing}}
	}
	return nil
}
