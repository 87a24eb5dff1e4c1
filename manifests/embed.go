// Package manifests holds what is applied to a cluster or carried into its
// pods: RBAC, the loader and the agents. It is at the top of the tree because
// files are embedded from their package's own folder or below.
package manifests

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"

	"github.com/klauspost/compress/zstd"
)

//go:embed loader/loader-amd64 loader/loader-arm64
var loaders embed.FS

// agents holds agent-linux-ARCH.zst, which `make agents` builds; a README keeps
// the folder there when none was built.
//
//go:embed agents
var agents embed.FS

// RBAC is what `kubectl etcd backup` needs in a namespace: a Role for all, one that only --via=forward needs, and a
// ClusterRole that can be left out.
//
//go:embed rbac-backup.yaml
var RBAC string

// RestoreRBAC is what `kubectl etcd restore` needs: a Role, and a ClusterRole that can be left out.
//
//go:embed rbac-restore.yaml
var RestoreRBAC string

// Loader returns the loader for a Linux node of that architecture (GOARCH).
func Loader(arch string) ([]byte, error) {
	b, err := loaders.ReadFile("loader/loader-" + arch)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no loader for nodes of architecture %q", arch)
	}
	return b, err
}

// Agent returns the agent for a Linux node of that architecture and the hex
// sha256 that it has to have when it runs.
func Agent(arch string) ([]byte, string, error) {
	z, err := agents.ReadFile("agents/agent-linux-" + arch + ".zst")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "", fmt.Errorf("this build carries no agent for nodes of architecture %q; build with: make build", arch)
	}
	if err != nil {
		return nil, "", err
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, "", err
	}
	defer dec.Close()
	b, err := dec.DecodeAll(z, nil)
	if err != nil {
		return nil, "", fmt.Errorf("unpack agent for %s: %w", arch, err)
	}
	sum := sha256.Sum256(b)
	return b, hex.EncodeToString(sum[:]), nil
}
