// Package e2e drives the built plugin against real kind clusters, as a user would: `kubectl etcd …`, and what it prints,
// leaves and returns. Build tag e2e; see README.md.
package e2e
