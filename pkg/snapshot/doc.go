// Package snapshot knows what an etcd snapshot file is: how its trailer proves it, how it is named and
// compressed, and what the JSON file beside it (the sidecar) says about it.
//
// It imports nothing of the project, so that both the client and the agent can use it.
package snapshot
