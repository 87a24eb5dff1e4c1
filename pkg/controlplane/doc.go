// Package controlplane finds the etcd of a Kubernetes control plane from live
// objects: which pods run etcd, how each member was told to run (name, data
// directory, URLs, certificates), which volumes hold its data and its keys,
// and which members form one cluster.
//
// It reads only the API of the cluster that hosts the pods and changes
// nothing. What pods say about themselves (command line, environment,
// configuration file, volumes) decides; what is known of a product's layout
// only fills the gaps, and every gap and every guess is written down in Notes.
package controlplane
