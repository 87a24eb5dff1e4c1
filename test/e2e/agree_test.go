//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/snapshot"
)

// minor is "3.6" of "3.6.8-0-sh".
func minor(tag string) string {
	parts := strings.SplitN(tag, ".", 3)
	return parts[0] + "." + parts[1]
}

// tool is one of etcd's own programs.
func tool(minor, name string) string { return filepath.Join(testbed, "bin", "etcd-"+minor, name) }

// agree asks the public etcdutl of a minor what is in a snapshot, and compares that with our sidecar and with `verify`.
func agree(ctx context.Context, file, minor string) error {
	side, err := snapshot.ReadSidecar(file)
	if err != nil {
		return err
	}
	if side.Proof != snapshot.ProofFull || side.Content == nil {
		return fmt.Errorf("sidecar of %s: proof is %q", file, side.Proof)
	}
	plain, err := unpacked(file)
	if err != nil {
		return err
	}
	defer os.RemoveAll(filepath.Dir(plain))
	out, err := output(ctx, nil, tool(minor, "etcdutl"), "snapshot", "status", plain, "-w", "json")
	if err != nil {
		return err
	}
	var theirs struct {
		Hash      uint32 `json:"hash"`
		Revision  int64  `json:"revision"`
		TotalKey  int64  `json:"totalKey"`
		TotalSize int64  `json:"totalSize"`
	}
	if err := json.Unmarshal([]byte(out), &theirs); err != nil {
		return fmt.Errorf("read output of etcdutl: %w: %s", err, out)
	}
	want := side.LiveKeys
	if minor == "3.5" { // counts the entries of all buckets, which the sidecar leaves out and verify tells
		report, err := output(ctx, nil, "kubectl", "etcd", "verify", file, "-o", "jsonpath={.entries}")
		if err != nil {
			return err
		}
		if _, err := fmt.Sscan(report, &want); err != nil {
			return err
		}
	}
	if theirs.Hash != side.Hash || theirs.Revision != side.Revision || theirs.TotalKey != want || theirs.TotalSize != side.DBSize {
		return fmt.Errorf("etcdutl %s says %+v; we say hash %d, revision %d, keys %d, size %d", minor, theirs, side.Hash, side.Revision, want, side.DBSize)
	}
	return nil
}

// unpacked is a copy of the snapshot without compression, in a folder of its own.
func unpacked(file string) (path string, err error) {
	in, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer in.Close()
	dir, err := os.MkdirTemp("", "e2e")
	if err != nil {
		return "", err
	}
	out, err := os.OpenFile(filepath.Join(dir, "snapshot.db"), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return "", err
	}
	defer out.Close()
	var src io.Reader = in
	if strings.HasSuffix(file, ".zst") {
		z, err := zstd.NewReader(in)
		if err != nil {
			return "", err
		}
		defer z.Close()
		src = z
	}
	_, err = io.Copy(out, src)
	return out.Name(), err
}
