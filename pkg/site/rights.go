package site

import (
	"slices"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
)

// JournalRights are what journals and locks need besides an agent's.
var JournalRights = []reach.Right{
	{Verb: "list", Resource: "configmaps"}, {Verb: "update", Resource: "configmaps"},
	{Verb: "create", Group: "coordination.k8s.io", Resource: "leases"}, {Verb: "get", Group: "coordination.k8s.io", Resource: "leases"},
	{Verb: "update", Group: "coordination.k8s.io", Resource: "leases"}, {Verb: "delete", Group: "coordination.k8s.io", Resource: "leases"},
}

// Rights are what a replacement needs besides an agent's; a restore needs them, too.
var Rights = slices.Concat(JournalRights, []reach.Right{
	{Verb: "get", Group: "apps", Resource: "statefulsets"},
	{Verb: "get", Group: "apps", Resource: "statefulsets", Subresource: "scale"},
})
