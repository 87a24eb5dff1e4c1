//go:build !linux

package agent

import "github.com/kubectl-etcd/kubectl-etcd/pkg/agentapi"

// usage is known on Linux only, where agents run; a client that takes a
// snapshot itself does not report it.
func usage() agentapi.Usage { return agentapi.Usage{} }
