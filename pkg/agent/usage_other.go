//go:build !linux

package agent

// usage is known on Linux only, where agents run; a client that takes a
// snapshot itself does not report it.
func usage() Usage { return Usage{} }
